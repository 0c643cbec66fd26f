"""Rate and accuracy: what the curve of a codec keeps, from its points alone.

A point is a setting: x is the logarithm of its size, y its precision. Between neighbouring points a curve is a straight
line, which keeps between the points what they measured; beyond them nothing is known. Arrays may have axes before that
of the points, for resampled points.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from bench.statistics.intervals import LEVEL, Interval
from datamodules.degradations import parse
from datamodules.errors import UserError

Floats = npt.NDArray[np.float64]

RESAMPLES = 2_000
_RATES = ("quality", "psnr", "ratio", "severity")
_ROWS_AT_ONCE = 64


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
        drop: [..., P].
        limit: The drop that is too much.

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


def _in_order(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    order = np.argsort(x, axis=-1, kind="stable")
    return np.take_along_axis(x, order, -1), np.take_along_axis(y, order, -1)


def resampled_means(values: npt.NDArray[np.floating], resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Means over images, and those of bootstrap samples of the images: float64 [1 + resamples, K].

    An image is drawn with all its columns, so that whatever is made of several of them is paired. The draws depend on
    nothing but the seed and the number of images.

    Args:
        values: [N, K], a row per image.
        resamples: Number of samples of N images drawn with replacement.
        seed: Of the draws.
    """
    n, columns = len(values), values.astype(np.float64)
    random = np.random.default_rng([seed, n])
    means = [columns.mean(0, keepdims=True)]
    for first in range(0, resamples, _ROWS_AT_ONCE):
        draws = (random.integers(n, size=n) for _ in range(min(_ROWS_AT_ONCE, resamples - first)))
        counts = np.stack([np.bincount(draw, minlength=n) for draw in draws]).astype(np.float64)
        means.append(counts @ columns / n)
    return np.concatenate(means)


def percentiles(resampled: Floats, level: float = LEVEL) -> Interval:
    """Percentile interval of resampled values, which may be infinite; NaN where one is not defined."""
    if not len(resampled) or np.isnan(resampled).any():
        return Interval(np.nan, np.nan)
    tail = (1 - level) / 2
    low = np.quantile(resampled, tail, method="lower")
    high = np.quantile(resampled, 1 - tail, method="higher")
    return Interval(float(low), float(high))
