"""The planes in which JPEG stores an image, as linear maps: luma, and chroma at half the resolution.

Bytes are rounded and clipped on their way through a codec; here they are not, and offsets are left out, so that
everything applies to differences of images and, transposed, to gradients.
"""

from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from bench.attribution.coefficients import LUMA

_RED, _, _BLUE = LUMA


def to_ycbcr(pixels: Tensor) -> Tensor:
    """Y, Cb and Cr of red, green and blue without the offset of chroma: ITU-T T.871 (2011), JFIF, clause 7.

    Args:
        pixels: float [..., 3, H, W] in any unit, which is also that of the result.

    >>> to_ycbcr(torch.tensor([1.0, 1.0, 0.0]).view(3, 1, 1)).flatten().tolist()
    [0.886..., -0.5..., 0.0813...]
    """
    return _mix(_to_ycbcr(), pixels)


def ycbcr_plane(pixels: Tensor, channel: int) -> Tensor:
    """One of the planes of `to_ycbcr`, float64 [..., H, W], of pixels of any type, without a copy of all of them.

    Args:
        pixels: [..., 3, H, W].
        channel: Which of `CHANNELS`.
    """
    red, green, blue = _to_ycbcr()[channel].tolist()
    plane: Tensor = red * pixels[..., 0, :, :].double()
    return plane.add_(pixels[..., 1, :, :], alpha=green).add_(pixels[..., 2, :, :], alpha=blue)


def from_ycbcr(planes: Tensor) -> Tensor:
    """Red, green and blue of Y, Cb and Cr, the inverse of `to_ycbcr`; float [..., 3, H, W] in and out."""
    return _mix(torch.linalg.inv(_to_ycbcr()), planes)


def gradient_in_ycbcr(gradient: Tensor) -> Tensor:
    """The gradient with respect to Y, Cb and Cr of a function whose gradient with respect to RGB is given.

    It is the transpose of the inverse of `to_ycbcr`, so that inner products with differences stay what they are.

    Args:
        gradient: float [..., 3, H, W].
    """
    return _mix(torch.linalg.inv(_to_ycbcr()).T, gradient)


def halve(planes: Tensor) -> Tensor:
    """Means of 2 x 2 pixels, libjpeg's way to make the chroma of 4:2:0; odd sides are filled up with their edge.

    Args:
        planes: float [..., H, W].

    Returns:
        float [..., ceil(H / 2), ceil(W / 2)].
    """
    height, width = planes.shape[-2:]
    flat = planes.reshape(1, -1, height, width)
    filled = functional.pad(flat, (0, width % 2, 0, height % 2), mode="replicate")
    halves = functional.avg_pool2d(filled, 2)
    return halves.reshape(*planes.shape[:-2], *halves.shape[2:])


def double(planes: Tensor, height: int, width: int) -> Tensor:
    """Full resolution by libjpeg's "fancy" way: per direction 3/4 of the nearer and 1/4 of the further neighbour.

    Args:
        planes: float [..., ceil(H / 2), ceil(W / 2)].
        height: H, in pixels.
        width: W, in pixels.

    Returns:
        float [..., H, W].
    """
    return _double_rows(_double_rows(planes.mT, width).mT, height)


def gradient_in_halves(gradient: Tensor) -> Tensor:
    """The gradient with respect to planes of half the size, of a function of what `double` makes of them.

    Args:
        gradient: float [..., H, W], with respect to the doubled planes.

    Returns:
        float [..., ceil(H / 2), ceil(W / 2)], by the transpose of `double`.
    """
    return _transposed_rows(_transposed_rows(gradient).mT).mT


def closest_halves(planes: Tensor) -> Tensor:
    """The planes of half the size that `double` turns into the given ones, or comes closest to them, in least squares.

    Args:
        planes: float [..., H, W].

    Returns:
        float [..., ceil(H / 2), ceil(W / 2)].
    """
    return _closest_rows(_closest_rows(planes).mT).mT


def _mix(matrix: Tensor, planes: Tensor) -> Tensor:
    return torch.einsum("ij,...jhw->...ihw", matrix.to(planes), planes)


@cache
@torch.inference_mode(False)
def _to_ycbcr() -> Tensor:
    luma = torch.tensor(LUMA, dtype=torch.float64)
    red, _, blue = torch.eye(3, dtype=torch.float64)
    return torch.stack([luma, (blue - luma) / (2 - 2 * _BLUE), (red - luma) / (2 - 2 * _RED)])


def _double_rows(planes: Tensor, height: int) -> Tensor:
    above = torch.cat([planes[..., :1, :], planes[..., :-1, :]], -2)
    below = torch.cat([planes[..., 1:, :], planes[..., -1:, :]], -2)
    pairs = torch.stack([3 * planes + above, 3 * planes + below], -2) / 4
    return pairs.flatten(-3, -2)[..., :height, :]


def _transposed_rows(gradient: Tensor) -> Tensor:
    even = functional.pad(gradient, (0, 0, 0, gradient.shape[-2] % 2))
    upper, lower = even[..., 0::2, :], even[..., 1::2, :]
    above = torch.cat([upper[..., 1:, :], lower[..., -1:, :]], -2)
    below = torch.cat([upper[..., :1, :], lower[..., :-1, :]], -2)
    return (3 * (upper + lower) + above + below) / 4


def _closest_rows(planes: Tensor) -> Tensor:
    """The normal equations of `_double_rows`, whose matrix has three diagonals."""
    from scipy.linalg import solveh_banded  # takes a moment

    columns = _transposed_rows(planes).detach().cpu().movedim(-2, 0)
    bands, right = _normal_bands(planes.shape[-2]), columns.flatten(1).numpy()
    found = solveh_banded(bands, right) if len(right) > 1 else right / bands[1]  # SciPy refuses one equation
    return torch.from_numpy(found).to(planes).view(columns.shape).movedim(0, -2)


@cache
def _normal_bands(length: int) -> npt.NDArray[np.float64]:
    """The diagonal above the main one and the main one, as SciPy wants them: float64 [2, ceil(length / 2)].

    Every third unit vector at once shows them: neighbours of a place are of other threes.
    """
    places = torch.arange((length + 1) // 2)
    threes = torch.stack([places % 3 == start for start in range(3)], 1).double()
    products = _transposed_rows(_double_rows(threes, length))
    above = products[places - 1, places % 3]
    return torch.stack([above, products[places, places % 3]]).numpy()
