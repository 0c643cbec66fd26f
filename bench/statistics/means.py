"""Means over images and their ratios, with intervals that hold at few images of heavy-tailed quantities too."""

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from bench.statistics.intervals import LEVEL, Estimate, Interval

Floats = npt.NDArray[np.float64]


def mean_intervals(
    values: npt.NDArray[np.floating], level: float = LEVEL, least: int = 2
) -> tuple[Floats, Floats, Floats]:
    """Means and the ends of Student's (1908) intervals, float64 [K] each; the ends of too few images are NaN.

    Args:
        values: [N, K], a row per image.
        level: Of each interval by itself.
        least: Fewest images that have intervals, at least 2.

    >>> [end.round(2).tolist() for end in mean_intervals(np.array([[1.0], [2.0], [3.0]]))]
    [[2.0], [-0.48], [4.48]]
    """
    images, values = len(values), values.astype(np.float64)
    means = values.mean(0)
    if images < least:
        return means, np.full_like(means, np.nan), np.full_like(means, np.nan)
    half = _quantile(images, level) * values.std(0, ddof=1) / np.sqrt(images)
    return means, means - half, means + half


def mean_estimate(values: Floats, level: float = LEVEL, least: int = 2) -> Estimate:
    """The mean of [N] with its interval; see `mean_intervals`."""
    mean, low, high = (float(end[0]) for end in mean_intervals(values[:, None], level, least))
    return Estimate(mean, Interval(low, high))


def ratio_of_means(above: Floats, below: Floats, level: float = LEVEL) -> Estimate:
    """The ratio of the means of two quantities of the same images, with Fieller's (1954) interval.

    It holds the ratios r for which the mean of `above - r * below` does not differ from 0 by Student's test. All is NaN
    where the interval of the mean below holds 0: then these ratios have no ends.

    Args:
        above: [N].
        below: [N].
        level: Of the interval.

    >>> ratio_of_means(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0]), level=0.5)
    Estimate(value=0.5, interval=Interval(low=0.5, high=0.5))
    """
    unknown = Estimate(np.nan, Interval(np.nan, np.nan))
    if len(above) < 2:
        return unknown
    covariance = _quantile(len(above), level) ** 2 * np.cov(above, below) / len(above)
    a, b = above.mean(), below.mean()
    squared, mixed, constant = b * b - covariance[1, 1], a * b - covariance[0, 1], a * a - covariance[0, 0]
    if squared <= 0:
        return unknown
    root = np.sqrt(max(0.0, mixed * mixed - squared * constant))
    return Estimate(float(a / b), Interval(float((mixed - root) / squared), float((mixed + root) / squared)))


def _quantile(images: int, level: float) -> float:
    return float(stdtrit(images - 1, 0.5 + level / 2))
