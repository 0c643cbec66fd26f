"""What an encoder loses at how many bytes: the smallest setting that will do, curves, and codecs at equal bits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from bench.report.groups import Entry
from bench.report.resampling import Resampled
from bench.statistics.intervals import Interval
from bench.statistics.rate_curves import Floats, codec_curves, common_range, least_x_under, mean_on_range, percentiles


@dataclass(frozen=True)
class Curve:
    """The settings of one codec for one encoder.

    Attributes:
        encoder: Label.
        name: What the settings have in common.
        settings: Views in increasing bits, at least two.
        mean: Mean precision over the logarithm of the bits, on the range that the encoder's curves have in common; NaN
            where they have none.
        mean_interval: Of the mean.
        needed: Bytes per image at which the drop reaches the limit: 0 where it is under the limit at all settings,
            infinite where it is not at the largest.
        needed_interval: Of these bytes.
    """

    encoder: str
    name: str
    settings: tuple[str, ...]
    mean: float
    mean_interval: Interval
    needed: float
    needed_interval: Interval


@dataclass(frozen=True)
class Difference:
    """Two codecs at equal bits.

    Attributes:
        encoder: Label.
        first: Name of a curve.
        second: Name of another.
        bits: Bits per pixel that both curves span.
        value: Mean precision of the first minus that of the second over the logarithm of these bits.
        interval: Of that, paired.
    """

    encoder: str
    first: str
    second: str
    bits: Interval
    value: float
    interval: Interval


def smallest(entry: Entry, points: float, *, surely: bool) -> str | None:
    """The encoded view of the fewest bytes per image whose drop is under a limit; None if there is none.

    Args:
        entry: The encoder.
        points: The limit, in percentage points.
        surely: Whether the upper end of the drop's interval has to be under the limit as well.
    """
    drops = {view: entry.cells[view].drop_interval.high if surely else entry.cells[view].drop for view in entry.bits}
    kept = [view for view, drop in drops.items() if drop < points / 100]
    return min(kept, key=lambda view: entry.cells[view].result.means["encoded_bytes"], default=None)


def long_curves(entry: Entry) -> dict[str, list[str]]:
    """Its curves of at least two settings."""
    return {name: views for name, views in codec_curves(entry.bits).items() if len(views) > 1}


def measure_curves(entry: Entry, sample: Resampled, points: float) -> list[Curve]:
    """Each of its curves by itself.

    Args:
        entry: An encoder that has curves.
        sample: Its images, resampled.
        points: The drop that is too much, in percentage points.
    """
    curves = long_curves(entry)
    low, high = common_range([_log(sample.bits_per_pixel, views) for views in curves.values()])
    found = []
    for name, views in curves.items():
        means = mean_on_range(_log(sample.bits_per_pixel, views), _stack(sample.precision, views), low, high)
        drops = np.stack([sample.drop(view) for view in views], axis=-1)
        needed = np.exp2(least_x_under(_log(sample.encoded_bytes, views), drops, points / 100))
        found.append(
            Curve(
                encoder=entry.label,
                name=name,
                settings=tuple(views),
                mean=float(means[0]),
                mean_interval=percentiles(means[1:]),
                needed=float(needed[0]),
                needed_interval=percentiles(needed[1:]),
            )
        )
    return found


def compare_codecs(entry: Entry, sample: Resampled) -> list[Difference]:
    """Every two of its curves that share a range of bits."""
    found = []
    for (first, one), (second, other) in combinations(long_curves(entry).items(), 2):
        x = [_log(sample.bits_per_pixel, views) for views in (one, other)]
        low, high = common_range(x)
        if low[0] < high[0]:
            y = [_stack(sample.precision, views) for views in (one, other)]
            difference = mean_on_range(x[0], y[0], low, high) - mean_on_range(x[1], y[1], low, high)
            bits = Interval(float(np.exp2(low[0])), float(np.exp2(high[0])))
            found.append(
                Difference(entry.label, first, second, bits, float(difference[0]), percentiles(difference[1:]))
            )
    return found


def _log(values: Mapping[str, Floats], views: Sequence[str]) -> Floats:
    return np.log2(_stack(values, views))


def _stack(values: Mapping[str, Floats], views: Sequence[str]) -> Floats:
    return np.stack([values[view] for view in views], axis=-1)
