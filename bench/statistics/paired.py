"""A drop in precision on the same images: its score interval, and the exact test that it is under a limit.

n images fall into three kinds: broken (right in the original, wrong in the view), repaired (the other way round), and
the rest. The drop is the share of broken minus the share of repaired ones. All here depends on these counts alone.
"""

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, bdtrik, betaincinv, gammaln, ndtri, xlog1py, xlogy

from bench.statistics.intervals import LEVEL, Interval

Floats = npt.NDArray[np.float64]

TAIL = (1 - LEVEL) / 2
"""The chance of a wrong claim that a drop is under its limit, and that of an interval to lie below what it is about."""

_NUISANCE_ERROR = 1e-5
_BEYOND_WINDOW = 1e-9
_NUISANCES = 48
_HALVINGS = 60
_MOST_EXACT, _MOST_IMAGES = 200_000, 100_000_000


def score(broken: npt.ArrayLike, repaired: npt.ArrayLike, n: npt.ArrayLike, drop: npt.ArrayLike) -> Floats:
    """Tango's (1998, Statistics in Medicine 17, equation 6) score statistic of a drop, elementwise.

    It is standard normal for many images if the drop is the given one, negative where the measured one is less. Its
    variance is that of the most likely shares with such a drop. It rises with `broken` and falls with `repaired`.

    Args:
        broken: Numbers of images that are right in the original and wrong in the view, whole.
        repaired: Numbers of images that are wrong in the original and right in the view, whole.
        n: Numbers of images, at least 1.
        drop: In (-1, 1).
    """
    b, r, n, d = (np.asarray(values, dtype=np.float64) for values in (broken, repaired, n, drop))
    linear = 2 * n * d - b * (1 + d) - r * (1 - d)
    share = (np.sqrt(linear**2 + 8 * n * r * d * (1 - d)) - linear) / (4 * n)  # of repaired ones, given the drop
    variance = n * (2 * np.maximum(share, np.maximum(-d, 0)) + d * (1 - d))
    distance = b - r - n * d
    scores: Floats = np.divide(
        distance, np.sqrt(variance), out=np.asarray(np.copysign(np.inf, distance)), where=variance > 0
    )
    return scores


def drop_limits(
    broken: npt.ArrayLike, repaired: npt.ArrayLike, n: npt.ArrayLike, level: float = LEVEL
) -> tuple[Floats, Floats]:
    """Both ends of Tango's (1998) score interval of a drop, in [-1, 1], elementwise.

    It holds the drops that the two-sided score test does not reject. Where nothing changed it is no point, but as wide
    as the number of images makes it.

    Args:
        broken: Numbers of images that are right in the original and wrong in the view, whole.
        repaired: Numbers of images that are wrong in the original and right in the view, whole.
        n: Numbers of images, at least 1.
        level: Probability with which the interval holds the drop, in (0, 1).

    >>> low, high = drop_limits([0, 9], [0, 3], [20, 32])
    >>> low.round(3).tolist(), high.round(3).tolist()
    ([-0.161, -0.027], [0.161, 0.39])
    """
    b, r, n = np.broadcast_arrays(*(np.asarray(counts, dtype=np.float64) for counts in (broken, repaired, n)))
    return -_upper_limits(r, b, n, level), _upper_limits(b, r, n, level)


def drop_interval(broken: int, repaired: int, n: int, level: float = LEVEL) -> Interval:
    """The interval between `drop_limits`, of one drop."""
    low, high = drop_limits(broken, repaired, n, level)
    return Interval(float(low), float(high))


def _upper_limits(broken: Floats, repaired: Floats, n: Floats, level: float) -> Floats:
    """By bisection, since the score falls as the drop rises that it is of."""
    z = -float(ndtri(0.5 + level / 2))
    low, high = (broken - repaired) / n, np.ones_like(broken)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        rejected = score(broken, repaired, n, middle) <= z
        low, high = np.where(rejected, low, middle), np.where(rejected, middle, high)
    return np.where(broken == n, 1.0, high)


@lru_cache(maxsize=100_000)
def p_under(broken: int, repaired: int, n: int, limit: float) -> float:
    """P-value of the exact one-sided test that a drop is under a limit, against that it is the limit or more.

    It never rejects a true hypothesis more often than it says, at no number of images and with no share of repaired
    ones. Samples are ordered by Tango's score, as Sidik (2003, Statistics in Medicine 22) does; the chance of one at
    least as extreme is the greatest over the unknown share of repaired images, sought in the 99.999% Clopper-Pearson
    interval of it, whose 0.001% are added (Berger and Boos, 1994, Journal of the American Statistical Association 89).
    Drops above the limit make such samples rarer still.

    Args:
        broken: Number of images.
        repaired: Number of images.
        n: Number of all images, at least 1.
        limit: In (0, 1).

    >>> round(p_under(0, 0, 371, 0.01), 4), round(p_under(30, 20, 2000, 0.01), 4)
    (0.0249, 0.0864)
    """
    most = (1 - limit) / 2
    low = float(betaincinv(repaired, n - repaired + 1, _NUISANCE_ERROR / 2)) if repaired else 0.0
    high = float(betaincinv(repaired + 1, n - repaired, 1 - _NUISANCE_ERROR / 2)) if repaired < n else 1.0
    if low >= most:
        return _NUISANCE_ERROR
    high = min(high, most)
    others = _repaired_likely(n, low, high)
    largest = _largest_broken(others, n, limit, float(score(broken, repaired, n, limit)))
    roots = np.linspace(math.sqrt(low), math.sqrt(high), _NUISANCES)
    tails = _tails(largest, others, n, limit, roots**2)
    place = int(tails.argmax())
    finer = np.linspace(roots[max(place - 1, 0)], roots[min(place + 1, _NUISANCES - 1)], _NUISANCES // 2)
    greatest = max(tails[place], _tails(largest, others, n, limit, finer**2).max())
    return min(1.0, float(greatest) + _NUISANCE_ERROR + 2 * _BEYOND_WINDOW)


def _repaired_likely(n: int, low: float, high: float) -> Floats:
    """Numbers of repaired images that are likely for a share between two."""
    least = math.floor(bdtrik(_BEYOND_WINDOW, n, low)) if low > 0 else 0
    return np.arange(max(least, 0), min(math.ceil(bdtrik(1 - _BEYOND_WINDOW, n, high)), n) + 1, dtype=np.float64)


def _largest_broken(repaired: Floats, n: int, limit: float, statistic: float) -> Floats:
    """For each number of repaired images the largest number of broken ones with at most this score; -1 for none."""
    statistic += 1e-9 * abs(statistic)  # equal scores are equal
    low, high = np.full_like(repaired, -1), n - repaired
    while (low < high).any():
        middle = np.ceil((low + high) / 2)
        extreme = score(middle, repaired, n, limit) <= statistic
        low, high = np.where(extreme, middle, low), np.where(extreme, high, middle - 1)
    return low


def _tails(largest: Floats, repaired: Floats, n: int, limit: float, shares: Floats) -> Floats:
    """Chances of at most so many broken images, for several shares of repaired ones at a drop of the limit."""
    share = shares[:, None]
    log_chance = gammaln(n + 1) - gammaln(repaired + 1) - gammaln(n - repaired + 1)
    log_chance = log_chance + xlogy(repaired, share) + xlog1py(n - repaired, -share)
    rest = np.where(largest >= 0, n - repaired, 1)
    below = bdtr(np.maximum(largest, 0), rest.astype(np.int64), np.minimum((share + limit) / (1 - share), 1))
    tails: Floats = (np.exp(log_chance) * np.where(largest >= 0, below, 0)).sum(1)
    return tails


def images_to_show(broken: int, repaired: int, n: int, limit: float, level: float = TAIL) -> int | None:
    """About how many images show a drop under a limit if they change as these did, rounded up to two digits.

    The score of equal shares grows with the root of the number of images, which tells where the exact test is to begin.
    None where the measured drop is not under the limit, and beyond a hundred million.

    Args:
        broken: Number of images.
        repaired: Number of images.
        n: Number of all images, at least 1.
        limit: In (0, 1).
        level: Of the test.

    >>> images_to_show(0, 0, 35, 0.01), images_to_show(10, 0, 1000, 0.01)
    (380, None)
    """
    statistic = float(score(broken, repaired, n, limit))
    if broken - repaired >= n * limit or (needed := n * (float(ndtri(level)) / statistic) ** 2) > _MOST_IMAGES:
        return None
    images = _up(0.9 * needed)
    while images <= _MOST_EXACT and p_under(-(-broken * images // n), repaired * images // n, images, limit) > level:
        images = _up(images + 1)
    return images


def _up(number: float) -> int:
    """The next whole number with two digits that count."""
    unit: int = 10 ** max(len(str(math.ceil(number))) - 2, 0)
    return math.ceil(number / unit) * unit
