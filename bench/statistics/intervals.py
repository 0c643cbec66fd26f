"""Intervals and tests for proportions and paired proportions, from counts alone."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

LEVEL = 0.95
RESAMPLES = 10_000
_FLOAT32_ULP = 2.0**-23

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A confidence interval, both ends included."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def whole_count(share: float, n: int) -> int:
    """The count k of which `share` is k / n, rounded to float32 or better; unambiguous up to four million.

    Raises:
        ValueError: The share is no whole number of `n`.

    >>> whole_count(0.9279999732971191, 1000)
    928
    """
    count = round(share * n) if np.isfinite(share) else -1
    if not 0 <= count <= n or abs(share * n - count) > n * _FLOAT32_ULP:
        raise ValueError(f"{share} is not a whole number of {n} images")
    return count


def wilson(successes: int, n: int, level: float = LEVEL) -> Interval:
    """Wilson's (1927) score interval of a proportion, in [0, 1]; `n` is at least 1.

    >>> wilson(0, 10)
    Interval(low=0.0, high=0.2775327998628892)
    """
    low, high = proportion_confint(successes, n, alpha=1 - level, method="wilson")
    return Interval(float(low), float(high))


def paired_bootstrap(
    broken: int, repaired: int, n: int, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Percentile bootstrap interval (Efron and Tibshirani, 1993, chapter 13) of a drop in precision, in [-1, 1].

    An image contributes +1 if it turned from right to wrong (broken), -1 from wrong to right (repaired), else 0.
    Drawing n images with replacement and counting the three kinds is one draw from a multinomial distribution with
    their shares, so the counts suffice: same distribution, and memory that does not grow with the images.

    The generator is seeded with the counts as well, so an interval does not depend on what else is computed.
    """
    shares = np.array([broken, repaired, n - broken - repaired]) / n
    draws = np.random.default_rng([seed, broken, repaired, n]).multinomial(n, shares, size=resamples)
    tail = (1 - level) / 2
    low, high = np.quantile((draws[:, 0] - draws[:, 1]) / n, [tail, 1 - tail])
    return Interval(float(low), float(high))


def mcnemar_exact(broken: npt.ArrayLike, repaired: npt.ArrayLike) -> Floats:
    """Two-sided p-values of McNemar's (1947) test in its exact, binomial form, elementwise; 1 where nothing changed.

    >>> mcnemar_exact([9, 0], [3, 0]).tolist()
    [0.14599609375, 1.0]
    """
    broken, repaired = np.asarray(broken), np.asarray(repaired)
    tail = stats.binom.cdf(np.minimum(broken, repaired), broken + repaired, 0.5)
    return np.minimum(2 * np.asarray(tail, dtype=np.float64), 1.0)


def holm(p_values: npt.ArrayLike) -> Floats:
    """P-values adjusted for a family of tests (Holm, 1979): the chance of one false rejection or more is controlled.

    >>> holm([0.01, 0.04, 0.03]).round(10).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, dtype=np.float64)
    return np.asarray(multipletests(values, method="holm")[1]) if values.size else values


def relative_drop(before: float, after: float, classes: int) -> float:
    """Share lost of what the original had over guessing: (before - after) / (before - 1 / C); NaN where it had nothing.

    >>> relative_drop(0.9, 0.5, 10)
    0.5
    """
    advantage = before - 1 / classes
    return (before - after) / advantage if advantage > 0 else float("nan")


def pairwise_discordance(correct: npt.NDArray[np.uint8]) -> tuple[Counts, Counts]:
    """For every pair of rows, the images that only the first and only the second has right.

    Args:
        correct: uint8 [E, B], a row of packed bits per encoder (`numpy.packbits`), padded with zeros.

    Returns:
        Two int64 [E * (E - 1) / 2] in the order (0, 1), (0, 2), ..., (1, 2), ...

    >>> first, second = pairwise_discordance(np.packbits([[1, 1, 0], [0, 1, 0], [0, 0, 1]], axis=1))
    >>> first.tolist(), second.tolist()
    ([1, 2, 1], [0, 1, 1])
    """
    total = np.bitwise_count(correct).sum(1, dtype=np.int64)
    only_first, only_second = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for row in range(len(correct) - 1):
        others = slice(row + 1, None)
        first = np.bitwise_count(correct[row] & ~correct[others]).sum(1, dtype=np.int64)
        only_first.append(first)
        only_second.append(total[others] - total[row] + first)
    return np.concatenate(only_first), np.concatenate(only_second)
