"""Intervals by resampling images: what other images drawn like these might have given."""

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from bench.statistics.intervals import LEVEL, Estimate, Interval

Floats = npt.NDArray[np.float64]

IMAGE_RESAMPLES = 2_000

_ROWS_AT_ONCE, _COUNTS_AT_ONCE = 64, 2**23


def resampled_sums(*tables: npt.NDArray[np.floating], resamples: int = IMAGE_RESAMPLES, seed: int = 0) -> list[Floats]:
    """Sums over images, and those of bootstrap samples of the images: float64 [1 + resamples, K] per table.

    An image is drawn with all its columns in all tables, so that whatever is made of several of them is paired. The
    draws depend on nothing but the seed and the number of images. Sums of whole numbers are whole numbers.

    Args:
        tables: At least one, [N, K] each, a row per image.
        resamples: Number of samples of N images drawn with replacement.
        seed: Of the draws.
    """
    n, columns = len(tables[0]), [table.astype(np.float64) for table in tables]
    random = np.random.default_rng([seed, n])
    sums = [[column.sum(0, keepdims=True)] for column in columns]
    rows = max(1, min(_ROWS_AT_ONCE, _COUNTS_AT_ONCE // n))
    for first in range(0, resamples, rows):
        counts = np.empty((min(rows, resamples - first), n))
        for row in counts:
            row[:] = np.bincount(random.integers(n, size=n), minlength=n)
        for parts, column in zip(sums, columns, strict=True):
            parts.append(counts @ column)
    return [np.concatenate(parts) for parts in sums]


def percentiles(resampled: Floats, level: float = LEVEL) -> Interval:
    """Percentile interval of resampled values [R], which may be infinite; each end is one of the values.

    A resample in which the value is not defined (NaN) may lie on either side, so it counts as beyond both ends. Where
    these are too many to tell the ends, and where there is no resample, both are NaN.

    >>> percentiles(np.array([1.0, 2.0, 3.0]), level=0.5)
    Interval(low=1.0, high=3.0)
    """
    undefined, tail = np.isnan(resampled), (1 - level) / 2
    if not len(resampled) or undefined.mean() > tail:
        return Interval(np.nan, np.nan)
    low = np.quantile(np.where(undefined, -np.inf, resampled), tail, method="lower")
    high = np.quantile(np.where(undefined, np.inf, resampled), 1 - tail, method="higher")
    return Interval(float(low), float(high))


def joint_estimates(resampled: Floats, images: int, level: float = LEVEL) -> list[Estimate]:
    """Differences of precision with intervals that hold all of the true ones at once.

    An interval is as many standard errors wide as the largest deviation of any of the differences from its own value
    is in all but 5% of the resamples (the studentised maximum, Romano and Wolf, 2005, Econometrica 73), and no fewer
    than for one normal difference. To a difference's variance that of as few images is added as a score interval sees
    where nothing differs: it is no point there.

    Args:
        resampled: [K, 1 + R], differences in [-1, 1]: of all images, then of R bootstrap samples of them.
        images: Number of images.
        level: At which all intervals hold together.
    """
    if resampled.shape[-1] < 2:
        return [Estimate(float(value), Interval(np.nan, np.nan)) for value in resampled[:, 0]]
    z = float(ndtri(0.5 + level / 2))
    errors = np.sqrt(resampled[:, 1:].var(axis=1) + (z / images) ** 2)
    largest = (np.abs(resampled[:, 1:] - resampled[:, :1]) / errors[:, None]).max(axis=0)
    widths = max(z, float(np.quantile(largest, level, method="higher"))) * errors
    values = resampled[:, 0]
    ends = zip(values, np.maximum(values - widths, -1), np.minimum(values + widths, 1), strict=True)
    return [Estimate(float(value), Interval(float(low), float(high))) for value, low, high in ends]


def estimate(resampled: Floats) -> Estimate:
    """The first of [1 + R] values, that of all images, with the percentile interval of the others."""
    return Estimate(float(resampled[0]), percentiles(resampled[1:]))
