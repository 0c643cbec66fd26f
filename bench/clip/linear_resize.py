"""The resize of `bench.clip.preprocess` without its rounding and clipping, and its transpose.

The coefficients are Pillow's own in fixed point, as there; what is left out is that bytes are rounded and clipped
after each of the two passes.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from bench.clip.preprocess import FRACTION_BITS, Axis, Preprocess, fixed_point_coefficients
from datamodules.geometry import Interpolation


def resize_linearly(preprocess: Preprocess, images: Tensor) -> Tensor:
    """Resize and crop without rounding or clipping: linear in the images, in whose unit the result is.

    Args:
        preprocess: Whose resize it is.
        images: float [..., H, W].

    Returns:
        float [..., image_size, image_size] of the same type.
    """
    rows, columns = _matrices(preprocess, *images.shape[-2:])
    return rows.to(images) @ images @ columns.to(images).T


def gradient_at_own_size(preprocess: Preprocess, gradient: Tensor, height: int, width: int) -> Tensor:
    """The gradient with respect to images of their own size, by the transpose of `resize_linearly`.

    Args:
        preprocess: Whose resize it is.
        gradient: float [..., image_size, image_size], with respect to the resized images.
        height: Of the images, in pixels.
        width: Of the images, in pixels.

    Returns:
        float [..., height, width] of the same type; 0 where the crop cuts pixels off.
    """
    rows, columns = _matrices(preprocess, height, width)
    return rows.to(gradient).T @ gradient @ columns.to(gradient)


def _matrices(preprocess: Preprocess, height: int, width: int) -> tuple[Tensor, Tensor]:
    rows, columns = preprocess.axes(height, width)
    return _matrix(rows, preprocess.geometry.interpolation), _matrix(columns, preprocess.geometry.interpolation)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _matrix(axis: Axis, interpolation: Interpolation) -> Tensor:
    """What is kept of one side: float64 [last - first, size]."""
    if axis.size == axis.resized:
        return torch.from_numpy(np.eye(axis.last - axis.first, axis.size, axis.first))
    starts, weights = fixed_point_coefficients(axis.size, axis.resized, interpolation)
    kept = slice(axis.first, axis.last)  # few of many where an image is a thin strip
    taps = starts[kept, None] + np.arange(weights.shape[1])
    matrix = np.zeros((len(taps), max(axis.size, int(taps.max()) + 1)))
    np.put_along_axis(matrix, taps, weights[kept] / 2**FRACTION_BITS, axis=1)
    return torch.from_numpy(matrix[:, : axis.size])
