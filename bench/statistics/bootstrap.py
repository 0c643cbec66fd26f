"""Intervals by resampling images: what other images drawn like these might have given."""

import numpy as np
import numpy.typing as npt

from bench.statistics.intervals import LEVEL, Estimate, Interval

Floats = npt.NDArray[np.float64]

COUNT_RESAMPLES = 10_000
"""Where counts suffice."""

IMAGE_RESAMPLES = 2_000
"""Where the images are drawn one by one."""

_ROWS_AT_ONCE = 64


def paired_bootstrap(
    broken: int, repaired: int, n: int, level: float = LEVEL, resamples: int = COUNT_RESAMPLES, seed: int = 0
) -> Interval:
    """Percentile bootstrap interval (Efron and Tibshirani, 1993, chapter 13) of a drop in precision, in [-1, 1].

    An image contributes +1 if it turned from right to wrong (broken), -1 from wrong to right (repaired), else 0.
    Drawing n images with replacement and counting the three kinds is one draw from a multinomial distribution with
    their shares, so the counts suffice: same distribution, and memory that does not grow with the images.

    Both ends are a whole number of images divided by n, the outer one where the percentile lies between two of them.
    The generator is seeded with the counts as well, so an interval does not depend on what else is computed.
    """
    shares = np.array([broken, repaired, n - broken - repaired]) / n
    draws = np.random.default_rng([seed, broken, repaired, n]).multinomial(n, shares, size=resamples)
    ends = percentiles((draws[:, 0] - draws[:, 1]).astype(np.float64), level)
    return Interval(ends.low / n, ends.high / n)


def resampled_sums(values: npt.NDArray[np.floating], resamples: int = IMAGE_RESAMPLES, seed: int = 0) -> Floats:
    """Sums over images, and those of bootstrap samples of the images: float64 [1 + resamples, K].

    An image is drawn with all its columns, so that whatever is made of several of them is paired. The draws depend on
    nothing but the seed and the number of images. Sums of whole numbers are whole numbers.

    Args:
        values: [N, K], a row per image.
        resamples: Number of samples of N images drawn with replacement.
        seed: Of the draws.
    """
    n, columns = len(values), values.astype(np.float64)
    random = np.random.default_rng([seed, n])
    sums = [columns.sum(0, keepdims=True)]
    for first in range(0, resamples, _ROWS_AT_ONCE):
        draws = (random.integers(n, size=n) for _ in range(min(_ROWS_AT_ONCE, resamples - first)))
        counts = np.stack([np.bincount(draw, minlength=n) for draw in draws]).astype(np.float64)
        sums.append(counts @ columns)
    return np.concatenate(sums)


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


def estimate(resampled: Floats) -> Estimate:
    """The first of [1 + R] values, that of all images, with the percentile interval of the others."""
    return Estimate(float(resampled[0]), percentiles(resampled[1:]))
