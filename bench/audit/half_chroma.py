"""Whether chroma was stored at half size: what JPEG 4:2:0, WebP and AVIF have in common.

Their decoders enlarge chroma with the triangle filter (1/4, 3/4), (3/4, 1/4): libjpeg's `h2v2_fancy_upsample`, the
"fancy" upsampler of libwebp, libyuv's bilinear one. For four neighbours x0 to x3 of a line of which the first is the
second of a pair, 3 x1 - x0 - 3 x2 + x3 is zero but for rounding, whatever was stored; one pixel further on it is
not. An image that was never enlarged has no such difference between even and odd places (compare Gallagher 2005,
*Detection of linear and cubic interpolation in JPEG compressed images*, with periodic second differences).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Floats64 = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]

_CHROMA = np.array([[-0.168736, 0.5], [-0.331264, -0.418688], [0.5, -0.081312]], np.float32)
_LUMA = np.array([[0.299], [0.587], [0.114]], np.float32)
_KERNEL = (-1.0, 3.0, -3.0, 1.0)
_LEAST = 24  # differences of each kind and direction


@dataclass(frozen=True)
class HalfChroma:
    """Evidence on N images.

    Attributes:
        contrast: Logarithm of the mean magnitude of the differences that are not forced to be zero over that of those
            that would be, the mean of the two directions, less the same of luma, which an enlargement of the whole
            image would have, too; float64 [N]; 0 where there is nothing to compare.
        floor: Mean magnitude of the latter in levels, the larger of the two directions, float64 [N]; rounding alone
            leaves about 1.5.
    """

    contrast: npt.NDArray[np.float64]
    floor: npt.NDArray[np.float64]


def half_chroma(rgb: Bytes, spoilt: npt.NDArray[np.bool_], groups: int = 1) -> HalfChroma:
    """Compare the two phases of chroma's third differences, for either parity of the grid.

    Args:
        rgb: uint8 [N * groups, H, W, 3].
        spoilt: Pixels with a clipped channel, bool [N * groups, H, W].
        groups: Consecutive tiles that are parts of one image, cut at even places.
    """
    values = rgb.astype(np.float32)
    chroma = _phases(values @ _CHROMA, spoilt, groups)
    luma = _phases(values @ _LUMA, spoilt, groups)
    return HalfChroma(_contrast(chroma) - _contrast(luma), np.nan_to_num(chroma.min(1).max(0), nan=np.inf))


def _contrast(pairs: Floats64) -> Floats64:
    """Of the means of `_phases`, float64 [N]; 0 where there is none."""
    low, high = np.maximum(pairs.min(1), 0.5), np.maximum(pairs.max(1), 0.5)
    return np.asarray(np.nan_to_num(np.log(high / low).mean(0)))


def _phases(planes: Floats, spoilt: npt.NDArray[np.bool_], groups: int) -> Floats64:
    """Mean magnitudes of third differences, float64 [2 directions, 2 parities, N]; NaN where there are too few."""
    ways = []
    for axis in (1, 2):
        lines = np.moveaxis(planes, axis, 1)
        bad = np.moveaxis(spoilt, axis, 1)
        n = lines.shape[1] - 3
        parts = [lines[:, start : start + n] for start in range(4)]
        third = np.abs(sum(weight * part for weight, part in zip(_KERNEL, parts, strict=True)))
        good = ~np.logical_or.reduce([bad[:, start : start + n] for start in range(4)])
        sums = np.where(good[..., None], third, 0).sum((2, 3), dtype=np.float64)  # [N, n]
        counts = float(planes.shape[-1]) * good.sum(2)
        means = []
        for parity in (0, 1):
            total = sums[:, parity::2].sum(1).reshape(-1, groups).sum(1)
            number = counts[:, parity::2].sum(1).reshape(-1, groups).sum(1)
            means.append(np.where(number >= _LEAST, total / number.clip(1), np.nan))
        ways.append(np.stack(means))
    return np.stack(ways)
