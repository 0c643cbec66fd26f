"""Whether luma lies on the lattice that a JPEG save leaves: the likelihood of each standard table and grid offset.

A decoder puts each DCT coefficient of an 8 x 8 block to a multiple of its quantisation step and rounds the pixels, so
that the coefficients of the decoded block are multiples with a rounding noise of variance 1/12 (Fan and de Queiroz
2003, *Identification of bitmap compression history*; Neelamani, de Queiroz, Fan, Dash and Baraniuk 2006, *JPEG
compression history estimation for color images*). Other grids have no such lattice, which makes them the control of
the same image.
Conversion to RGB adds less than half a level to luma, so that rounding luma restores what the decoder had, unless a
channel was clipped: blocks with clipped pixels are left out.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.audit.jpeg_format import LARGEST_QUALITY, standard_tables, zigzag

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]

BLOCK = 8
OFFSETS = BLOCK * BLOCK
FREQUENCIES = 28
"""Of the 64, those in zigzag order whose coefficients are looked at: higher ones are mostly zero under any table."""

ORDER = 7
"""Of the coefficients in each direction that those have."""

_PER_UNIT = 8  # bins of a coefficient's magnitude
_BINS = 256 * _PER_UNIT
_LEVELS = 2.0 ** np.arange(-1, 7, dtype=np.float32)  # scales of the control
WORST_TOLD, BEST_TOLD = 5, 98
"""Qualities: under the first hardly a coefficient is left, above the second most steps are 1, which is no lattice."""

_FEW = 500  # blocks, of which the ratios themselves are had sooner than tables of them
_NOISE = 0.32  # standard deviation; 1/sqrt(12) and what a decoder's own arithmetic adds
_OUTLIERS = 0.004  # share of coefficients off the lattice for whatever reason


@dataclass(frozen=True)
class Lattice:
    """The best explanations of N images by an earlier JPEG save.

    Attributes:
        score: Log-likelihood ratio of the best table and offset against no save, in nats, float32 [N].
        quality: Its quality, `WORST_TOLD` to `BEST_TOLD`, int64 [N].
        offset: Its grid, 8 * rows + columns that lie before the first whole block, int64 [N].
        by_quality: The largest ratio of each quality at any offset that was tried, float32 [N, 100].
        blocks: Blocks that were of use there, int64 [N].
    """

    score: Floats
    quality: npt.NDArray[np.int64]
    offset: npt.NDArray[np.int64]
    by_quality: Floats
    blocks: npt.NDArray[np.int64]


def luma(rgb: Bytes) -> Floats:
    """Luma as the decoder had it before its conversion to RGB, minus 128, whole numbers, float32 [..., H, W].

    Args:
        rgb: uint8 [..., H, W, 3].
    """
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    return np.asarray(np.rint(rgb.astype(np.float32) @ weights) - 128, np.float32)


def clipped(rgb: Bytes) -> Bools:
    """Pixels that may have lain outside the range of bytes, bool [..., H, W]."""
    return np.asarray((rgb == 0).any(-1) | (rgb == 255).any(-1))


@cache
def dct_matrix() -> Floats:
    """The orthonormal DCT of eight samples, float32 [8, 8]."""
    k, n = np.mgrid[:BLOCK, :BLOCK]
    matrix = np.sqrt(2 / BLOCK) * np.cos(np.pi * k * (2 * n + 1) / (2 * BLOCK))
    matrix[0] /= np.sqrt(2)
    return np.asarray(matrix, np.float32)


@cache
def _transform(length: int) -> Floats:
    """From a line of samples to the lowest coefficients of all its windows, float32 [ORDER * (length - 7), length]."""
    places = length - BLOCK + 1
    matrix = np.zeros((ORDER, places, length), np.float32)
    for place in range(places):
        matrix[:, place, place : place + BLOCK] = dct_matrix()[:ORDER]
    return matrix.reshape(-1, length)


def window_magnitudes(pixels: Floats) -> npt.NDArray[np.int16]:
    """Magnitudes of the first `FREQUENCIES` coefficients of all 8 x 8 windows, in bins of 1/8.

    Args:
        pixels: float32 [N, H, W].

    Returns:
        int16 [FREQUENCIES, N, H - 7, W - 7].
    """
    images, height, width = pixels.shape
    down, across = _transform(height), _transform(width)
    both = np.matmul(down, pixels @ across.T)  # [N, ORDER * (H - 7), ORDER * (W - 7)]
    shaped = both.reshape(images, ORDER, height - BLOCK + 1, ORDER, width - BLOCK + 1)
    found = np.empty((FREQUENCIES, images, height - BLOCK + 1, width - BLOCK + 1), np.int16)
    for place, (row, column) in enumerate(_chosen()):
        magnitude = np.abs(shaped[:, row, :, column])
        magnitude *= _PER_UNIT
        np.minimum(magnitude, _BINS - 1, out=magnitude)
        np.rint(magnitude, out=magnitude)
        found[place] = magnitude
    return found


@cache
def _chosen() -> list[tuple[int, int]]:
    return [divmod(int(place), BLOCK) for place in zigzag()[:FREQUENCIES]]


def usable_windows(pixels: Floats, spoilt: Bools) -> Bools:
    """Windows without a clipped pixel that are not flat, bool [N, H - 7, W - 7]."""
    high, low = _over_windows(pixels, np.maximum), _over_windows(pixels, np.minimum)
    return np.asarray(~_over_windows(spoilt, np.logical_or) & (high > low))


def _over_windows(values: npt.NDArray[Any], combine: np.ufunc) -> npt.NDArray[Any]:
    """A reduction over all 8 x 8 windows, by doubling."""
    for step in (1, 2, 4):
        values = combine(values[:, step:], values[:, :-step])
        values = combine(values[:, :, step:], values[:, :, :-step])
    return values


def _ratios(bins: npt.NDArray[np.int64], steps: npt.NDArray[np.float32]) -> Floats:
    """Log-likelihood ratios of magnitudes under steps, float32 [K, S].

    A multiple other than 0 is compared with the uniform density over one step, which is what coefficients have that
    know nothing of it; 0 with the Laplacian of the control, which is steep itself where an image is smooth. A 0 never
    counts for a save: flat and periodic textures have them, too.

    Args:
        bins: Of K magnitudes, plus `_BINS` times the level of the control's scale.
        steps: S of them.
    """
    level, place = np.divmod(bins[:, None], _BINS)
    magnitude, scale = place.astype(np.float32) / _PER_UNIT, _LEVELS[level]
    multiple = np.rint(magnitude / steps)
    residual = np.abs(magnitude - steps * multiple)
    # the tail of the neighbour matters for steps of 1 and 2
    noise = np.exp(-0.5 * (residual / _NOISE) ** 2) + np.exp(-0.5 * ((steps - residual) / _NOISE) ** 2)
    lattice = (1 - _OUTLIERS) * noise / (_NOISE * np.sqrt(2 * np.pi)) + _OUTLIERS / steps
    control = np.exp(-magnitude / scale) / (2 * scale * (1 - np.exp(-steps / (2 * scale))))
    zero = np.minimum(np.log(lattice / np.maximum(control, 1e-12)), 0)
    found = np.where(multiple == 0, zero, np.log(lattice * steps))
    return np.where(place == _BINS - 1, 0, found).astype(np.float32)  # the last bin is all that lies beyond


@cache
def _column(step: np.float32) -> Floats:
    """Ratios of all bins under a step, float32 [levels * bins]."""
    return _ratios(np.arange(len(_LEVELS) * _BINS), np.array([step]))[:, 0]


def find_lattice(pixels: Floats, spoilt: Bools, groups: int = 1, candidates: int = 2) -> Lattice:
    """Find the table and the grid that explain images best.

    Args:
        pixels: Luma of `luma`, float32 [N * groups, H, W]; H and W at least 16.
        spoilt: Of `clipped`, bool [N * groups, H, W].
        groups: Number of consecutive tiles that are parts of one image, cut at multiples of eight pixels.
        candidates: Number of offsets beside 0 that are tried with every table.
    """
    magnitudes, usable = window_magnitudes(pixels), usable_windows(pixels, spoilt)
    images = len(usable) // groups
    flat = magnitudes.reshape(FREQUENCIES, images, -1)
    use = usable.reshape(1, images, -1)
    scale = np.where(use, flat, 0).sum(2, dtype=np.float32) / use.sum(2).clip(1) / _PER_UNIT  # [F, N]
    level = np.rint(np.log2(np.maximum(scale, 1e-3)) + 1).clip(0, len(_LEVELS) - 1).astype(np.int64)
    order = _stillness(magnitudes, usable, groups).argsort(1)[:, ::-1]
    shifted = order[order != 0].reshape(images, OFFSETS - 1)
    best = _at_offsets(magnitudes, usable, level, np.zeros(images, np.int64), groups)
    for rank in range(candidates):
        best = _better(best, _at_offsets(magnitudes, usable, level, shifted[:, rank], groups))
    return best


def on_grid(
    pixels: Floats, spoilt: Bools, offset: int, steps: npt.ArrayLike
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Multiples of known steps, int64 [FREQUENCIES, B], and which blocks are usable, bool [B].

    Args:
        pixels: Luma of the tiles of one image, float32 [T, H, W].
        spoilt: Clipped pixels, bool [T, H, W].
        offset: Of the grid, 8 * rows + columns.
        steps: 64 of them, row-major.
    """
    place, groups = np.array([offset]), len(pixels)
    magnitudes = _on_grid(window_magnitudes(pixels), place, groups)[0]
    use = _on_grid(usable_windows(pixels, spoilt)[None], place, groups)[0, 0]
    chosen = np.asarray(steps).reshape(OFFSETS)[zigzag()[:FREQUENCIES]]
    return np.rint(magnitudes / _PER_UNIT / chosen[:, None]).astype(np.int64), use


def _stillness(magnitudes: npt.NDArray[np.int16], usable: Bools, groups: int) -> Floats:
    """Share of the coefficients that vanish, per offset of the grid, float32 [N, 64]."""
    _, height, width = usable.shape
    zero = (magnitudes[1:] < _PER_UNIT).sum(0, dtype=np.uint8) * usable
    sums = [_per_offset(values, height, width) for values in (zero, usable)]
    zeros, counts = (values.reshape(-1, groups, OFFSETS).sum(1) for values in sums)
    return np.asarray(zeros / counts.clip(1), np.float32)


def _per_offset(values: npt.NDArray[Any], height: int, width: int) -> Floats:
    """Sums over the windows of each offset, float32 [tiles, 64]."""
    padded = np.pad(values, ((0, 0), (0, -height % BLOCK), (0, -width % BLOCK)))
    shaped = padded.reshape(len(values), padded.shape[1] // BLOCK, BLOCK, padded.shape[2] // BLOCK, BLOCK)
    return np.asarray(shaped.sum((1, 3), dtype=np.float32).reshape(len(values), OFFSETS))


def _at_offsets(
    magnitudes: npt.NDArray[np.int16],
    usable: Bools,
    level: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
    groups: int,
) -> Lattice:
    """Each table at one offset per image."""
    images = len(offsets)
    use = _on_grid(usable[None], offsets, groups)[:, 0]
    here = _on_grid(magnitudes, offsets, groups)
    bins = np.where(use[:, None], here, _BINS - 1) + _BINS * level.T[:, :, None]  # the last bin weighs nothing
    score = np.zeros((images, LARGEST_QUALITY), np.float32)
    few = images * bins.shape[2] <= _FEW and not _table.cache_info().currsize
    for place in range(FREQUENCIES):
        steps, of_quality = _steps(place)
        if few:
            ratios = _ratios(bins[:, place].reshape(-1), steps).reshape(images, -1, len(steps))
        else:
            ratios = _table(place).take(bins[:, place], axis=0, mode="clip")
        score += ratios.sum(1) @ of_quality
    best = WORST_TOLD - 1 + score[:, WORST_TOLD - 1 : BEST_TOLD].argmax(1)
    return Lattice(score[np.arange(images), best], best + 1, offsets, score, use.sum(1))


def _on_grid(values: npt.NDArray[Any], offsets: npt.NDArray[np.int64], groups: int) -> npt.NDArray[Any]:
    """The windows of one grid per image, [N, K, blocks], of [K, N * groups, H - 7, W - 7]; zero where there is none."""
    kinds, _, height, width = values.shape
    padded = np.pad(values, ((0, 0), (0, 0), (0, -height % BLOCK), (0, -width % BLOCK)))
    shape = (kinds, len(offsets), groups, padded.shape[2] // BLOCK, BLOCK, padded.shape[3] // BLOCK, BLOCK)
    y, x = np.divmod(offsets, BLOCK)
    found = padded.reshape(shape)[:, np.arange(len(offsets)), :, :, y, :, x]
    return found.reshape(len(offsets), kinds, -1)


@cache
def _steps(place: int) -> tuple[Floats, Floats]:
    """The S steps that a frequency has, float32 [S], and 1 where a quality has one, float32 [S, 100]."""
    steps, places = np.unique(standard_tables()[:, zigzag()[place]], return_inverse=True)
    return steps.astype(np.float32), np.eye(len(steps), dtype=np.float32)[:, places]


@cache
def _table(place: int) -> Floats:
    """Ratios of all bins under the steps of `_steps`, float32 [levels * bins, S]: see `_FEW`."""
    return np.stack([_column(step) for step in _steps(place)[0]], 1)


def _better(one: Lattice, other: Lattice) -> Lattice:
    take = other.score > one.score
    return Lattice(
        np.where(take, other.score, one.score),
        np.where(take, other.quality, one.quality),
        np.where(take, other.offset, one.offset),
        np.maximum(other.by_quality, one.by_quality),
        np.where(take, other.blocks, one.blocks),
    )
