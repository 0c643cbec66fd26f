"""What a view costs and what it keeps: bits per pixel, PSNR and SSIM, image by image."""

from collections import defaultdict
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from datamodules.views import NOT_ENCODED, Images

_PEAK = 255
_MARGIN = 5  # on each side of a pixel, of SSIM's window of 11 x 11
_SIGMA = 1.5  # pixels, of that window
_C1, _C2 = (0.01 * _PEAK) ** 2, (0.03 * _PEAK) ** 2
_PIECE = {"cpu": 2**14}  # pixels at once: the working set stays in the cache
_LARGEST_PIECE = 2**20  # on other devices, for their memory: a pixel takes about 250 bytes
_STRIP = 4  # pieces: a strip of a large image reads some rows of the next one as well


class Fidelity(NamedTuple):
    """How close views come to their originals; NaN where it is not defined.

    Attributes:
        psnr: float32 [B], peak signal-to-noise ratio in decibels over all samples of the 8-bit RGB image; infinite for
            equal images.
        ssim: float32 [B] in [-1, 1], structural similarity (Wang et al., 2004): Gaussian window of 11 x 11 with a
            standard deviation of 1.5 pixels, the mean over channels and all places where the window fits.
    """

    psnr: Tensor
    ssim: Tensor


def bits_per_pixel(encoded_bytes: Tensor, sizes: Tensor) -> Tensor:
    """Encoded bits per pixel of the source image, float32 as `encoded_bytes`; NaN where nothing was encoded.

    Args:
        encoded_bytes: int64 [..., B].
        sizes: int64 [B, 2], height and width of the source images in pixels.

    >>> bits_per_pixel(torch.tensor([32, NOT_ENCODED]), torch.tensor([[8, 4], [8, 4]]))
    tensor([8., nan])
    """
    return (8 * encoded_bytes / sizes.prod(1)).masked_fill(encoded_bytes == NOT_ENCODED, torch.nan)


def fidelity(originals: Images, views: Images) -> Fidelity:
    """Compare views with their originals on the device they are on; memory does not grow with the size of an image.

    Args:
        originals: uint8 [B, 3, H, W], or B tensors uint8 [3, H_i, W_i].
        views: uint8 as `originals`, in the same order, of the same part of each image. A view of another size than its
            original has no fidelity; an image with a side below 11 pixels has a PSNR only.
    """
    if isinstance(originals, Tensor) and isinstance(views, Tensor) and originals.shape == views.shape:
        return _compare(originals, views)
    groups: defaultdict[torch.Size, list[int]] = defaultdict(list)
    for row, (original, view) in enumerate(zip(originals, views, strict=True)):
        if original.shape == view.shape:
            groups[original.shape].append(row)
    device = views.device if isinstance(views, Tensor) else views[0].device
    result = Fidelity(*torch.full((2, len(views)), torch.nan, device=device))
    for rows in groups.values():
        pair = (_stack([images[row] for row in rows]) for images in (originals, views))
        for column, values in zip(result, _compare(*pair), strict=True):
            column[rows] = values
    return result


def _stack(images: list[Tensor]) -> Tensor:
    return images[0][None] if len(images) == 1 else torch.stack(images)  # one alone may be large


def _compare(originals: Tensor, views: Tensor) -> Fidelity:
    """Both uint8 [B, 3, H, W]; a piece of some images or some rows at a time."""
    count, channels, height, width = originals.shape
    squares = torch.zeros(count, dtype=torch.int64, device=views.device)
    similarity = torch.zeros(count, device=views.device)
    pixels = _PIECE.get(views.device.type, _LARGEST_PIECE)
    images, lines = max(1, pixels // (height * width)), max(4 * _MARGIN, _STRIP * pixels // width)
    for first in range(0, count, images):
        chosen = slice(first, first + images)
        for top in range(0, height, lines):
            rows = slice(top, top + lines)
            difference = originals[chosen, :, rows].int() - views[chosen, :, rows].int()
            squares[chosen] += difference.square().sum((1, 2, 3))
        for top in range(0, height - 2 * _MARGIN, lines):
            rows = slice(top, top + lines + 2 * _MARGIN)
            similarity[chosen] += _similarity(originals[chosen, :, rows], views[chosen, :, rows])
    psnr = 10 * torch.log10(_PEAK**2 * channels * height * width / squares)
    places = channels * (height - 2 * _MARGIN) * (width - 2 * _MARGIN)
    if min(height, width) <= 2 * _MARGIN:
        return Fidelity(psnr, torch.full_like(psnr, torch.nan))
    return Fidelity(psnr, (similarity / places).masked_fill(squares == 0, 1))


def _similarity(originals: Tensor, views: Tensor) -> Tensor:
    """Sum of SSIM over channels and the places where the window fits (Wang et al., 2004, Equation 13): float32 [B]."""
    if min(originals.shape[-2:]) <= 2 * _MARGIN:
        return originals.new_zeros(len(originals), dtype=torch.float32)
    with torch.autocast(views.device.type, enabled=False):
        first, second = originals.float(), views.float()
        # variances are differences of squares: about the mean they keep their digits in float32, on a white page too
        level = first.mean((2, 3), keepdim=True).round()
        x, y = first - level, second - level
        mean_x, mean_y, xx, yy, xy = _smooth(_smooth(torch.stack([x, y, x * x, y * y, x * y]), -2), -1)
        spread = 2 * (xy - mean_x * mean_y) + _C2, (xx - mean_x**2) + (yy - mean_y**2) + _C2
        mean_x, mean_y = mean_x + level, mean_y + level
        levels = 2 * mean_x * mean_y + _C1, mean_x**2 + mean_y**2 + _C1
        similarity: Tensor = spread[0] / spread[1] * (levels[0] / levels[1])
        return similarity.sum((1, 2, 3))


def _smooth(values: Tensor, side: int) -> Tensor:
    """Windowed means along one side; a sum of shifted copies is three times as fast on a CPU as a convolution is."""
    length, (first, *weights) = values.shape[side] - 2 * _MARGIN, _window()
    means = first * values.narrow(side, 0, length)
    for shift, weight in enumerate(weights, start=1):
        means.add_(values.narrow(side, shift, length), alpha=weight)
    return means


@cache
def _window() -> list[float]:
    """The Gaussian along one side, 11 weights of sum 1."""
    places = torch.arange(-_MARGIN, _MARGIN + 1, dtype=torch.float32)
    weights = torch.exp(-(places**2) / (2 * _SIGMA**2))
    return (weights / weights.sum()).tolist()
