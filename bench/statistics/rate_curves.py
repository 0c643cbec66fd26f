"""Rate and accuracy: what the curve of a codec keeps, from its points alone.

A point is a setting: x is the logarithm of its size, y its precision. Between neighbouring points a curve is a straight
line, which keeps between the points what they measured; beyond them nothing is known. Arrays may have axes before that
of the points, for resampled points.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from fractions import Fraction

import numpy as np
from scipy.optimize import isotonic_regression

from bench.statistics.bootstrap import Floats
from bench.statistics.intervals import Interval
from datamodules.degradations import parse
from datamodules.errors import UserError

_RATES = ("quality", "psnr", "ratio", "rate", "severity")


def codec_curves(bits: Mapping[str, float]) -> dict[str, list[str]]:
    """Views that differ in the setting of their last codec only, in increasing bits, by what they have in common.

    Args:
        bits: Bits per pixel by view, of encoded views only.

    >>> codec_curves({"jpeg-75": 2.0, "jpeg-50": 1.0, "resize-0.5+jpeg-50": 0.4, "webp-lossless": 9.0})
    {'resize-0.5+jpeg': ['resize-0.5+jpeg-50'], 'jpeg': ['jpeg-50', 'jpeg-75']}
    """
    found: dict[str, list[str]] = {}
    for view in sorted(bits, key=lambda view: bits[view]):
        with suppress(UserError):  # a name that is no specification has no setting
            for setting in parse(view).settings[:1]:
                if setting.quantity in _RATES:
                    found.setdefault(setting.curve, []).append(view)
    return found


def setting(view: str) -> str:
    """The number that tells an encoded view from the others of its codec's curve, as text.

    >>> setting("resize-0.5+jpeg-50")
    '50'
    """
    return f"{parse(view).settings[0].value:g}"


def common_range(curves: Sequence[Floats]) -> tuple[Floats, Floats]:
    """The range of x that several curves have in common, [...] each; it is empty where the first is not less.

    Args:
        curves: x of at least one curve, [..., P_i] each.
    """
    low = np.max([x.min(-1) for x in curves], axis=0)
    high = np.min([x.max(-1) for x in curves], axis=0)
    return low, high


def mean_on_range(x: Floats, y: Floats, low: Floats, high: Floats) -> Floats:
    """Area under a curve from `low` to `high`, divided by the width: [...]; NaN where the curve does not span it.

    Args:
        x: [..., P], in any order.
        y: [..., P].
        low: [...].
        high: [...].

    >>> mean_on_range(np.array([0.0, 2.0]), np.array([0.0, 1.0]), np.array(1.0), np.array(2.0)).item()
    0.75
    """
    x, y = _in_order(x, y)
    left, right = x[..., :-1], x[..., 1:]
    start, stop = (np.clip(end[..., None], left, right) for end in (low, high))
    slope = np.divide(np.diff(y), right - left, out=np.zeros_like(left), where=right > left)
    area = ((stop - start) * (y[..., :-1] + slope * ((start + stop) / 2 - left))).sum(-1)
    spanned = (low < high) & (x[..., 0] <= low) & (high <= x[..., -1])
    means: Floats = np.divide(area, high - low, out=np.full_like(area, np.nan), where=spanned)
    return means


def least_x_under(x: Floats, drop: Floats, limit: float) -> Floats:
    """Where a curve's drop reaches a limit, coming from the largest x: [...].

    At every x beyond it the drop is under the limit, also if it is so again further down. It is infinite where the drop
    at the largest x is not under the limit, and minus infinity where the drop is under the limit at all points.

    Args:
        x: [..., P], in any order.
        drop: [..., P], best as counts of images: those are whole numbers, so that a drop of just the limit is one.
        limit: The drop that is too much, in the unit of the drops.

    >>> least_x_under(np.array([0.0, 1.0, 2.0]), np.array([0.5, 0.3, 0.1]), 0.2).item()
    1.5
    """
    x, drop = _in_order(x, drop)
    over = drop >= limit
    last = over.shape[-1] - 1 - np.argmax(over[..., ::-1], axis=-1)[..., None]  # the largest x that is over
    following = np.minimum(last + 1, over.shape[-1] - 1)
    (x0, d0), (x1, d1) = (
        [np.take_along_axis(values, place, -1)[..., 0] for values in (x, drop)] for place in (last, following)
    )
    share = np.divide(limit - d1, d0 - d1, out=np.zeros_like(d0), where=d0 > d1)
    crossing = np.where(over[..., -1], np.inf, x1 + share * (x0 - x1))
    return np.where(over.any(-1), crossing, -np.inf)


def crossing(x: Floats, drop: Floats, limit: float) -> float:
    """Where a curve's drop falls below a limit, as x grows.

    The drop of a codec does not truly rise with the size of its files; where measured ones do, the curve may reach the
    limit several times. The monotone (isotonic) fit tells between which two settings it does, and the straight line
    between these where. It is infinite where the fit is not under the limit at the largest x, and minus infinity where
    it is under it at all.

    Args:
        x: [P], in any order.
        drop: [P], best as counts of images: those are whole numbers, so that a drop of just the limit is one.
        limit: The drop that is too much, in the unit of the drops.

    >>> crossing(np.array([0.0, 1.0, 2.0, 3.0]), np.array([9.0, 5.0, 1.0, 2.0]), 2.0)
    1.75
    """
    x, drop = _in_order(x, drop)
    over = np.flatnonzero(isotonic_regression(drop, increasing=False).x.round(9) >= limit)
    if not len(over):
        return -np.inf
    if over[-1] == len(x) - 1:
        return np.inf
    pair = slice(over[-1], over[-1] + 2)  # in which the fit makes the measured drops fall through the limit, too
    return float(least_x_under(x[pair], drop[pair], limit))


def crossing_interval(x: Floats, x_half: Floats, low: Floats, high: Floats, limit: float) -> Interval:
    """Interval of where a curve's drop truly falls below a limit, from the intervals of its points.

    Its ends are where the lower and the upper ends of the drops' intervals reach the limit, joined by straight lines:
    coming from the smallest x the first place at which the drop may be less, coming from the largest the first at which
    it may be the limit. Where the drop is the limit, either is wrong no more often than the interval at that place,
    whatever the curve does elsewhere; so the level is that of the points' intervals, also where a curve is flat, and it
    is not simultaneous over curves. Both ends move out by what is not known about x.

    Args:
        x: [P], in any order.
        x_half: [P], half the width of the interval of each x; with a NaN nothing is known.
        low: [P], the lower end of each drop's interval.
        high: [P], the upper end.
        limit: In the unit of the drops.

    Returns:
        In the unit of x; minus infinity for below all points and infinity for above all.
    """
    if np.isnan(x_half).any():
        return Interval(np.nan, np.nan)
    return Interval(-float(least_x_under(x_half - x, -low, -limit)), float(least_x_under(x + x_half, high, limit)))


def images_of(points: float, n: int) -> float:
    """How many of n images make a drop in percentage points: a whole number where it is one, not only nearly.

    >>> images_of(0.7, 1000), 0.7 / 100 * 1000
    (7.0, 6.999999999999999)
    """
    return float(Fraction(str(points)) * n / 100)


def _in_order(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    order = np.argsort(x, axis=-1, kind="stable")
    return np.take_along_axis(x, order, -1), np.take_along_axis(y, order, -1)
