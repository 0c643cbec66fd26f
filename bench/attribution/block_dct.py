"""The transform of JPEG's 8 x 8 blocks, orthonormal, of planes of any size."""

from functools import cache
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from bench.attribution.coefficients import BLOCK


def block_dct(planes: Tensor, padding: Literal["edge", "zero"]) -> Tensor:
    """Orthonormal type-II DCT of every 8 x 8 block, the one of ITU-T T.81 (1992), A.3.3.

    Sides that are no multiple of 8 are filled up at the right and at the bottom: pixels and their differences with
    copies of the "edge", as libjpeg does; gradients with "zero", since nothing depends on what is filled in. Then the
    inner product of a difference and a gradient is that of their coefficients.

    Args:
        planes: float [..., H, W], in any unit, which is also that of the coefficients.
        padding: What sides are filled up with.

    Returns:
        float [..., ceil(H / 8), ceil(W / 8), 8, 8] of the same type: per block the coefficient [v, u] of the vertical
        frequency v and the horizontal frequency u, in half periods per block; [0, 0] is 8 times the block's mean.

    >>> block_dct(torch.ones(3, 8, 16), "edge")[..., 0, 0].round(decimals=4).tolist()
    [[[8.0, 8.0]], [[8.0, 8.0]], [[8.0, 8.0]]]
    """
    height, width = planes.shape[-2:]
    fill = (0, -width % BLOCK, 0, -height % BLOCK)
    flat = planes.reshape(1, -1, height, width)
    filled = functional.pad(flat, fill, mode="replicate") if padding == "edge" else functional.pad(flat, fill)
    basis = _basis().to(planes)
    return basis @ split_blocks(filled.reshape(*planes.shape[:-2], *filled.shape[2:])) @ basis.T


def inverse_block_dct(coefficients: Tensor, height: int, width: int) -> Tensor:
    """The planes that `block_dct` was taken of; what sides were filled up with is cut off.

    Args:
        coefficients: float [..., ceil(H / 8), ceil(W / 8), 8, 8].
        height: H, in pixels.
        width: W, in pixels.

    Returns:
        float [..., H, W] of the same type.
    """
    basis = _basis().to(coefficients)
    blocks = basis.T @ coefficients @ basis
    return blocks.transpose(-3, -2).flatten(-2).flatten(-3, -2)[..., :height, :width]


def split_blocks(planes: Tensor) -> Tensor:
    """Blocks [..., H / 8, W / 8, 8, 8] of planes [..., H, W] whose sides are multiples of 8."""
    *front, height, width = planes.shape
    return planes.reshape(*front, height // BLOCK, BLOCK, width // BLOCK, BLOCK).transpose(-3, -2)


@cache
@torch.inference_mode(False)
def _basis() -> Tensor:
    """A row per frequency: float64 [8, 8]."""
    place = torch.arange(BLOCK, dtype=torch.float64)
    basis = torch.cos(torch.outer(place, 2 * place + 1) * (torch.pi / 16)) / 2
    basis[0] /= 2**0.5
    return basis
