"""Bjøntegaard's average difference between two codecs in rate, at equal precision, from the points of their curves.

As he proposed (2001, ITU-T VCEG-M33), but with the monotone piecewise cubic (PCHIP) of Fritsch and Carlson (1980, SIAM
Journal on Numerical Analysis 17) and the slopes of Fritsch and Butland (1984, SIAM Journal on Scientific and
Statistical Computing 5) instead of one cubic, which can overshoot. Arrays may have axes before that of the points, for
resampled points.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bench.statistics.bootstrap import Floats


def rising_points(values: Floats) -> npt.NDArray[np.int64]:
    """Number of values from the first on that strictly increase along the last axis, at least 1: [...].

    >>> rising_points(np.array([[0.1, 0.3, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4]])).tolist()
    [2, 4]
    """
    falls = np.diff(values) <= 0
    return np.asarray(np.where(falls.any(-1), np.argmax(falls, axis=-1) + 1, values.shape[-1]), dtype=np.int64)


def log_rate_difference(first: tuple[Floats, Floats], second: tuple[Floats, Floats]) -> Floats:
    """Mean log rate of the first curve minus that of the second, over the precisions that both span: [...].

    A curve ends where it no longer rises: what more bits give there is nothing or noise. NaN where it does not rise at
    all, and where the curves have no range of precision in common.

    Args:
        first: Logarithms of the rates, in increasing order, and precisions: [..., P] each, at least two points.
        second: Rates and precisions of the other curve, [..., Q] each; Q need not be P.

    >>> steep, flat = (np.array([0.0, 1.0]), np.array([0.0, 1.0])), (np.array([1.0, 3.0]), np.array([0.0, 1.0]))
    >>> log_rate_difference(steep, flat).item()
    -1.5
    """
    lengths = np.stack([np.minimum(*map(rising_points, curve)) for curve in (first, second)], axis=-1)
    means = np.full(lengths.shape[:-1], np.nan)
    for one, other in np.unique(lengths.reshape(-1, 2), axis=0).tolist():
        same = (lengths == (one, other)).all(-1)
        if one > 1 < other:
            means[same] = _mean_difference(
                [values[same][..., :one] for values in first], [values[same][..., :other] for values in second]
            )
    return means


def _mean_difference(first: Sequence[Floats], second: Sequence[Floats]) -> Floats:
    """The mean difference in log rate of curves that rise."""
    low = np.maximum(first[1][..., 0], second[1][..., 0])
    high = np.minimum(first[1][..., -1], second[1][..., -1])
    areas = [_integral(y, x, low, high) for x, y in (first, second)]
    means: Floats = np.divide(areas[0] - areas[1], high - low, out=np.full_like(low, np.nan), where=low < high)
    return means


def _integral(x: Floats, y: Floats, low: Floats, high: Floats) -> Floats:
    """Of the monotone piecewise cubic through points, from `low` to `high`; Simpson's rule is exact for cubics."""
    slopes = _slopes(x, y)
    start, stop = (np.clip(end[..., None], x[..., :-1], x[..., 1:]) for end in (low, high))
    places = (start, (start + stop) / 2, stop)
    ends = [_hermite(x, y, slopes, place) for place in places]
    area: Floats = ((stop - start) / 6 * (ends[0] + 4 * ends[1] + ends[2])).sum(-1)
    return area


def _hermite(x: Floats, y: Floats, slopes: Floats, places: Floats) -> Floats:
    """The cubic of each piece at a place in it."""
    width = np.diff(x)
    t = (places - x[..., :-1]) / width
    left = y[..., :-1] * (1 + 2 * t) * (1 - t) ** 2 + slopes[..., :-1] * width * t * (1 - t) ** 2
    right = y[..., 1:] * t**2 * (3 - 2 * t) - slopes[..., 1:] * width * t**2 * (1 - t)
    value: Floats = left + right
    return value


def _slopes(x: Floats, y: Floats) -> Floats:
    """At each point: weighted harmonic means of the slopes beside it; at both ends from three points, cut off."""
    width, secant = np.diff(x), np.diff(y) / np.diff(x)
    if secant.shape[-1] == 1:
        return np.repeat(secant, 2, axis=-1)
    before, after = width[..., :-1], width[..., 1:]
    weights = (after + 2 * before, 2 * after + before)  # of the secant after and before, in this order
    inner = (weights[0] + weights[1]) / (weights[1] / secant[..., :-1] + weights[0] / secant[..., 1:])
    inner = np.where(secant[..., :-1] * secant[..., 1:] > 0, inner, 0)
    left = _end_slope(width[..., 0], width[..., 1], secant[..., 0], secant[..., 1])
    right = _end_slope(width[..., -1], width[..., -2], secant[..., -1], secant[..., -2])
    return np.concatenate([left[..., None], inner, right[..., None]], axis=-1)


def _end_slope(width: Floats, next_width: Floats, secant: Floats, next_secant: Floats) -> Floats:
    slope = ((2 * width + next_width) * secant - width * next_secant) / (width + next_width)
    steep = (secant * next_secant < 0) & (np.abs(slope) > 3 * np.abs(secant))
    return np.where(slope * secant < 0, 0.0, np.where(steep, 3 * secant, slope))
