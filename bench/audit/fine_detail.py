"""Whether the finest detail is there that a lossy codec, or a resize after one, would have taken: evidence for absence.

JPEG, WebP and AVIF quantise the highest frequencies most coarsely, and a resize filters or leaves them empty. Grain in
the quietest parts of an image, and detail up to the highest frequency in luma and chroma, speak against both. The
operator is Immerkaer's (1996, *Fast noise variance estimation*, equation 2), the second difference in both directions,
which takes out whatever is smooth. Resampling shows as a period of the second differences along lines (Gallagher 2005,
*Detection of linear and cubic interpolation in JPEG compressed images*; Popescu and Farid 2005, *Exposing digital
forgeries by detecting traces of resampling*), and so does a grid of blocks that was resized.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]

FEATURES = (
    "luma", "quiet luma", "quietest luma", "chroma", "quiet chroma", "quietest chroma", "middle", "lines", "colour",
    "cells", "period",
)  # fmt: skip
"""What `fine_detail` measures, in order; base-2 logarithms all."""

_PLANES = np.array([[0.299, -0.168736, 0.5], [0.587, -0.331264, -0.418688], [0.114, 0.5, -0.081312]], np.float32)
_CELL = 5  # pixels
_FLOOR = 0.25  # of mean magnitudes, well under what rounding to bytes leaves
_LEAST_CELLS = 4
_LOWEST = 0.06  # cycles per pixel; below it is the picture itself
_BESIDE = 0.02  # cycles per pixel around the multiples of 1/8, which are those of a JPEG grid that is still there
_LONGEST = 1024  # pixels of a line


def fine_detail(rgb: Bytes, spoilt: Bools, period: npt.NDArray[np.floating], groups: int = 1) -> Floats:
    """Measure how much of the finest detail there is, float32 [N, len(FEATURES)].

    The mean magnitude of the operator's response in cells of luma and of chroma, its mean over the cells ("luma"), its
    geometric mean ("quiet") and its harmonic mean, which the cells with the least rule ("quietest"); the same of
    differences over two pixels, of third differences along lines, and of differences of chroma between neighbours; the
    number of cells.

    Args:
        rgb: uint8 [N * groups, H, W, 3], at least 16 x 16.
        spoilt: Pixels with a clipped channel, bool [N * groups, H, W].
        period: Of `periods`, of the whole images [N].
        groups: Consecutive tiles that are parts of one image.
    """
    images = len(rgb) // groups
    planes = np.moveaxis(rgb.astype(np.float32) @ _PLANES, -1, 0)
    planes[0] = np.rint(planes[0])
    good = _cells(1.0 - _any_of_nine(spoilt), images) == 1
    few = good.sum(1) < _LEAST_CELLS
    good[few] = True
    count = good.sum(1)

    def means(responses: Floats) -> list[Floats]:
        values = _cells(responses, images) + _FLOOR
        arithmetic = np.where(good, values, 0).sum(1) / count
        geometric = np.where(good, np.log2(values), 0).sum(1) / count
        harmonic = count / np.where(good, 1 / values, 0).sum(1)
        return [np.log2(arithmetic), geometric, np.log2(harmonic)]

    def mean(*responses: Floats) -> Floats:
        parts = [part.reshape(images, -1).mean(1) for part in responses]
        return np.asarray(np.log2(sum(parts) / len(parts) + _FLOOR))

    luma = planes[0]
    middle = (_difference(luma, axis, (1, 0, -2, 0, 1)) for axis in (1, 2))
    lines = (_difference(luma, axis, (-1, 3, -3, 1)) for axis in (1, 2))
    colour = (_difference(plane, axis, (-1, 1)) for plane in planes[1:] for axis in (1, 2))
    chroma = np.maximum(_response(planes[1]), _response(planes[2]))
    columns = [*means(_response(luma)), *means(chroma), mean(*middle), mean(*lines), mean(*colour)]
    return np.stack([*columns, np.log2(count), period], 1).astype(np.float32)


def periods(pixels: Floats) -> Floats:
    """How far the strongest period of second differences stands out, log2 of power over the median's, float32 [N].

    Args:
        pixels: Luma of whole images, float32 [N, H, W]; of lines longer than 1024 pixels the beginning is taken.
    """
    strongest = np.zeros(len(pixels), np.float32)
    pixels = pixels[:, :_LONGEST, :_LONGEST]
    for axis in (1, 2):
        size = np.minimum(_difference(pixels, axis, (1, -2, 1)), 32)  # a strong edge is no period
        line = np.log2(size.mean(3 - axis) + _FLOOR)
        length = line.shape[1]
        frequency = np.fft.rfftfreq(length)
        power = np.abs(np.fft.rfft((line - line.mean(1, keepdims=True)) * np.hanning(length + 2)[1:-1], axis=1)) ** 2
        free = (frequency >= _LOWEST) & (np.abs(frequency * 8 - np.rint(frequency * 8)) > 8 * _BESIDE)
        if free.any():
            found = power[:, free]
            ratio = found.max(1) / np.maximum(np.median(found, 1), 1e-6)
            strongest = np.maximum(strongest, np.log2(np.maximum(ratio, 1)))
    return np.asarray(strongest, np.float32)


def repeats(rgb: Bytes) -> Bools:
    """Whether a third of an image's rows or columns that are not flat repeat their neighbour, bool [N].

    So they do after an enlargement by repetition, whose coefficients are those of few patterns and look like a lattice.

    Args:
        rgb: uint8 [N, H, W, 3].
    """
    found = np.zeros(len(rgb), bool)
    for axes in ((0, 1, 2, 3), (0, 2, 1, 3)):
        lines = np.ascontiguousarray(rgb.transpose(axes)).reshape(len(rgb), rgb.shape[axes[1]], -1, 3)
        uneven = (lines[:, :, 1:] != lines[:, :, :-1]).any((2, 3))
        same = (lines[:, 1:] == lines[:, :-1]).all((2, 3)) & uneven[:, 1:]
        found |= (same.sum(1) * 3 >= uneven.sum(1)) & uneven.any(1)
    return found


def _difference(pixels: Floats, axis: int, weights: tuple[int, ...]) -> Floats:
    """Magnitude of a difference along an axis, [N, H, W] less its ends."""
    lines = np.moveaxis(pixels, axis, 1)
    length = lines.shape[1] - len(weights) + 1
    total = sum(weight * lines[:, place : place + length] for place, weight in enumerate(weights) if weight)
    return np.asarray(np.abs(np.moveaxis(np.asarray(total), 1, axis)))


def _response(pixels: Floats) -> Floats:
    """Magnitude of the second difference in both directions, [N, H - 2, W - 2]."""
    down = pixels[:, 2:] - 2 * pixels[:, 1:-1] + pixels[:, :-2]
    return np.asarray(np.abs(down[:, :, 2:] - 2 * down[:, :, 1:-1] + down[:, :, :-2]))


def _any_of_nine(values: Bools) -> Floats:
    across = values[:, :, 2:] | values[:, :, 1:-1] | values[:, :, :-2]
    return (across[:, 2:] | across[:, 1:-1] | across[:, :-2]).astype(np.float32)


def _cells(values: npt.NDArray[np.floating], images: int) -> Floats:
    """Means over cells, [N, cells of all its tiles]."""
    tiles, height, width = values.shape
    rows, columns = height // _CELL, width // _CELL
    cut = values[:, : rows * _CELL, : columns * _CELL].reshape(tiles, rows, _CELL, columns, _CELL)
    return np.asarray(cut.mean((2, 4)).reshape(images, -1), np.float32)
