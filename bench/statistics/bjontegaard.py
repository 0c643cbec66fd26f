"""Bjøntegaard's average difference between two codecs in rate, at equal precision, from the points of their curves.

As he proposed (2001, ITU-T VCEG-M33), but with the monotone piecewise cubic (PCHIP) of Fritsch and Carlson (1980, SIAM
Journal on Numerical Analysis 17) and the slopes of Fritsch and Butland (1984, SIAM Journal on Scientific and
Statistical Computing 5) instead of one cubic, which can overshoot. Arrays may have axes before that of the points, for
resampled points.
"""

import numpy as np
import numpy.typing as npt

from bench.statistics.bootstrap import Floats


def rises(values: Floats) -> npt.NDArray[np.bool_]:
    """Whether values strictly increase along the last axis: [...]."""
    return np.asarray((np.diff(values) > 0).all(-1))


def log_rate_difference(first: tuple[Floats, Floats], second: tuple[Floats, Floats]) -> Floats:
    """Mean log rate of the first curve minus that of the second, over the precisions that both span: [...].

    NaN where a curve does not strictly rise, and where the curves have no range of precision in common.

    Args:
        first: Logarithms of the rates, in increasing order, and precisions: [..., P] each, at least two points.
        second: Likewise, of any number of points.

    >>> steep, flat = (np.array([0.0, 1.0]), np.array([0.0, 1.0])), (np.array([1.0, 3.0]), np.array([0.0, 1.0]))
    >>> log_rate_difference(steep, flat).item()
    -1.5
    """
    low = np.maximum(first[1][..., 0], second[1][..., 0])
    high = np.minimum(first[1][..., -1], second[1][..., -1])
    defined = rises(first[1]) & rises(second[1]) & rises(first[0]) & rises(second[0]) & (low < high)
    with np.errstate(all="ignore"):  # what is not defined is left out below
        areas = [_integral(y, x, low, high) for x, y in (first, second)]
        mean = (areas[0] - areas[1]) / (high - low)
    return np.where(defined, mean, np.nan)


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
