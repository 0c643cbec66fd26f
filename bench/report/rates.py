"""Curves of codecs, encoder by encoder: the bytes at which the drop reaches a limit, and codecs two by two."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from bench.report.groups import Entry
from bench.runs.images import read_columns
from bench.statistics.bjontegaard import log_rate_difference, rising_points
from bench.statistics.bootstrap import Floats, estimate, joint_estimates, percentiles, resampled_sums
from bench.statistics.intervals import LEVEL, Estimate, Interval
from bench.statistics.paired import drop_limits
from bench.statistics.rate_curves import (
    codec_curves,
    common_range,
    crossing,
    crossing_interval,
    images_of,
    mean_on_range,
)
from datamodules.degradations import ORIGINAL

LEAST_FACTOR = 2**0.5
"""By which the bits that two curves share must differ at least."""

LEAST_SHARE = 0.5
"""Of the range of the narrower curve, which the other one must share at least."""

_NAN = float("nan")
_UNKNOWN = Interval(_NAN, _NAN)

Sums = Mapping[tuple[str, str], Floats]
"""Sums over images by view and quantity, [1 + R]: of all images, then of bootstrap samples of them."""


@dataclass(frozen=True)
class CodecCurve:
    """The curve of a codec, of at least two settings.

    Attributes:
        encoder: Label of the encoder.
        codec: What its views have in common.
        views: In increasing bits.
        mean_precision: Over the logarithm of the bits per pixel, on the range that all curves of the encoder have in
            common, in [0, 1] with a pointwise interval; NaN where they have none.
        encoded_bytes: Per image where the drop reaches the limit, with a pointwise interval: 0 where it is under it at
            all settings, infinite where it is not at the largest.
    """

    encoder: str
    codec: str
    views: tuple[str, ...]
    mean_precision: Estimate
    encoded_bytes: Estimate


@dataclass(frozen=True)
class CodecPair:
    """Two curves of an encoder, at equal bits and at equal precision.

    Attributes:
        encoder: Label of the encoder.
        first: Codec of the first.
        second: Codec of the second.
        bits: Bits per pixel that both span; NaN where there are none.
        difference: Mean precision of the first minus that of the second over the logarithm of these bits, in percentage
            points; its interval is joint with those of all other pairs of the group. NaN where `not_at_equal_bits`.
        not_at_equal_bits: Why it is not given; empty if it is.
        rate: Percent of bytes that the first needs more than the second at equal precision (Bjøntegaard's rate), with a
            pointwise interval; NaN where `not_at_equal_precision`.
        not_at_equal_precision: Why it is not given; empty if it is.
    """

    encoder: str
    first: str
    second: str
    bits: Interval
    difference: Estimate
    not_at_equal_bits: str
    rate: Estimate
    not_at_equal_precision: str


def bits_per_pixel(entry: Entry) -> dict[str, float]:
    """Mean bits per pixel of the encoded views, without the originals' own files."""
    means = {view: entry.view(view).metrics for view in entry.runs if view != ORIGINAL}
    return {view: metrics["bits_per_pixel"] for view, metrics in means.items() if "bits_per_pixel" in metrics}


def measure_rates(
    entries: Sequence[Entry], images: int, points: float
) -> tuple[list[CodecCurve], list[CodecPair], dict[str, str]]:
    """Curves and pairs of all encoders of a group, and by encoder why there are no bootstrap intervals, if so.

    Args:
        entries: Encoders; those without a curve of two settings are passed over.
        images: Number of images.
        points: The drop that is too much, in percentage points.
    """
    curves: list[CodecCurve] = []
    pairs: list[CodecPair] = []
    problems: dict[str, str] = {}
    resampled: list[Floats] = []
    drawn = [entry for entry in entries if _long_curves(entry)]
    for entry, (sums, problem) in zip(drawn, _resample(drawn, images), strict=True):
        curves += _curves(entry, sums, images, points)
        for pair, differences in _pairs(entry, sums, images):
            pairs.append(pair)
            resampled.append(differences)
        problems |= {entry.label: problem} if problem else {}
    return curves, _with_joint_intervals(pairs, resampled, images), problems


def _long_curves(entry: Entry) -> dict[str, list[str]]:
    """Its curves of at least two settings."""
    return {name: views for name, views in codec_curves(bits_per_pixel(entry)).items() if len(views) > 1}


def _resample(entries: Sequence[Entry], images: int) -> list[tuple[Sums, str]]:
    """Sums of `correct`, `encoded_bytes` and `bits_per_pixel`; and why there are no bootstrap samples, if so."""
    found: list[tuple[Sums, str]] = []
    tables: list[dict[tuple[str, str], npt.NDArray[np.float32]]] = []
    for entry in entries:
        try:
            tables.append(_read(entry))
            found.append(({}, ""))
        except FileNotFoundError:
            found.append((_means(entry, images), "no images.csv beside a result file"))
        except (OSError, ValueError) as error:
            found.append((_means(entry, images), " ".join(str(error).split())))
    stacked = [np.stack(list(columns.values()), axis=1) for columns in tables]
    resampled = resampled_sums(*stacked) if stacked else []
    known = iter([dict(zip(columns, sums.T, strict=True)) for columns, sums in zip(tables, resampled, strict=True)])
    return [(means, problem) if problem else (next(known), "") for means, problem in found]


def _means(entry: Entry, images: int) -> Sums:
    """What the records alone say, [1]: nothing to resample."""
    sums = {(view, "correct"): np.array([float(entry.view(view).correct or 0)]) for view in entry.runs}
    for view in bits_per_pixel(entry):
        means = entry.view(view).metrics
        sums |= {(view, name): np.array([means[name] * images]) for name in ("encoded_bytes", "bits_per_pixel")}
    return sums


def _read(entry: Entry) -> dict[tuple[str, str], npt.NDArray[np.float32]]:
    """Columns [N] by view and quantity.

    Raises:
        ValueError: A table is damaged, or two tables are of other images.
        OSError: A table cannot be read.
    """
    tables, prints = {}, set()
    for run in entry.all_runs:
        fingerprint, tables[run.folder.path] = read_columns(run, ("encoded_bytes", "bits_per_pixel"))
        prints.add(fingerprint)
    if len(prints) > 1:
        raise ValueError("its views were measured by several runs, whose images.csv have other indices or labels")
    encoded = bits_per_pixel(entry)
    return {
        (view, name): values
        for view, run in entry.runs.items()
        for name, values in tables[run.folder.path][view].items()
        if view in encoded or (view, name) == (ORIGINAL, "correct")
    }


def _log(sums: Sums, name: str, views: Sequence[str], images: int) -> Floats:
    """Logarithm of means, [1 + R, P]."""
    return np.log2(np.stack([sums[view, name] / images for view in views], axis=-1))


def _correct(sums: Sums, views: Sequence[str]) -> Floats:
    """Right images, [1 + R, P]."""
    return np.stack([sums[view, "correct"] for view in views], axis=-1)


def _curves(entry: Entry, sums: Sums, images: int, points: float) -> list[CodecCurve]:
    curves = _long_curves(entry)
    low, high = common_range([_log(sums, "bits_per_pixel", views, images) for views in curves.values()])
    measured = []
    for name, views in curves.items():
        right = _correct(sums, views)
        mean = mean_on_range(_log(sums, "bits_per_pixel", views, images), right / images, low, high)
        needed = _bytes_needed(entry, views, _log(sums, "encoded_bytes", views, images), images, points)
        measured.append(CodecCurve(entry.label, name, tuple(views), estimate(mean), needed))
    return measured


def _bytes_needed(entry: Entry, views: Sequence[str], x: Floats, images: int, points: float) -> Estimate:
    """From the logarithms of mean bytes, [1 + R, P], and the counts of what changed."""
    records = [entry.view(view) for view in views]
    broken, repaired = (np.array([getattr(view, kind) for view in records]) for kind in ("broken", "repaired"))
    limit = images_of(points, images)
    low, high = (images * ends for ends in drop_limits(broken, repaired, images))
    ends = [percentiles(column) for column in x[1:].T] if len(x) > 1 else [_UNKNOWN] * len(views)
    half = np.array([(end.high - end.low) / 2 for end in ends])
    interval = crossing_interval(x[0], half, low, high, limit)
    value = crossing(x[0], (broken - repaired).astype(np.float64), limit)
    return Estimate(float(np.exp2(value)), Interval(float(np.exp2(interval.low)), float(np.exp2(interval.high))))


def _pairs(entry: Entry, sums: Sums, images: int) -> list[tuple[CodecPair, Floats]]:
    """Every two curves, the interval of the difference left out, and its values of all resamples, [1 + R]."""
    pairs = []
    for (first, one), (second, other) in combinations(_long_curves(entry).items(), 2):
        x = [_log(sums, "bits_per_pixel", views, images) for views in (one, other)]
        right = [_correct(sums, views) / images for views in (one, other)]
        low, high = common_range(x)
        refused = _refusal(x, right)
        means = [mean_on_range(bits, y, low, high) for bits, y in zip(x, right, strict=True)]
        difference = means[0] - means[1] if not refused else np.full_like(low, np.nan)
        weights = [_log(sums, "encoded_bytes", views, images) for views in (one, other)]
        rate, no_rate = _rate((first, second), weights, right)
        bits = Interval(float(np.exp2(low[0])), float(np.exp2(high[0]))) if low[0] < high[0] else _UNKNOWN
        value = Estimate(float(difference[0]), _UNKNOWN)
        pairs.append((CodecPair(entry.label, first, second, bits, value, refused, rate, no_rate), difference))
    return pairs


def _refusal(x: Sequence[Floats], right: Sequence[Floats]) -> str:
    """Why two curves are not compared at equal bits; empty if they are."""
    low, high = (float(end[0]) for end in common_range(x))
    if low >= high:
        return "no bits in common"
    if high - low < np.log2(LEAST_FACTOR) * (1 - 1e-9):
        return f"bits in common differ by a factor of {2 ** (high - low):.2f} only"
    return _too_narrow([np.ptp(values[0]) for values in x], high - low, "bits")


def _too_narrow(ranges: Sequence[float], shared: float, name: str) -> str:
    share = shared / min(ranges)
    return f"only {share:.0%} of the narrower curve's {name} in common" if share < LEAST_SHARE * (1 - 1e-9) else ""


def _rate(codecs: Sequence[str], x: Sequence[Floats], right: Sequence[Floats]) -> tuple[Estimate, str]:
    """Bjøntegaard's rate in percent, or why there is none; of logarithms of bytes and precisions, [1 + R, P] each."""
    none = Estimate(_NAN, _UNKNOWN)
    rising = [y[0, : rising_points(y[0])] for y in right]
    flat = [name for name, y in zip(codecs, rising, strict=True) if len(y) < 2]
    if flat:
        return none, f"precision does not rise from the smallest setting of {' and '.join(flat)} to the next"
    low, high = (float(end) for end in common_range(rising))
    if low >= high:
        return none, "no precision in common"
    if narrow := _too_narrow([np.ptp(y) for y in rising], high - low, "precision"):
        return none, narrow
    rates = 100 * (np.exp2(log_rate_difference((x[0], right[0]), (x[1], right[1]))) - 1)
    if len(rates) > 1 and np.isnan(rates[1:]).mean() > (1 - LEVEL) / 2:
        return none, "whether the curves rise and share a range of precision is within the noise of these images"
    return estimate(rates), ""


def _with_joint_intervals(pairs: Sequence[CodecPair], resampled: Sequence[Floats], images: int) -> list[CodecPair]:
    """Jointly over all that have a difference and resamples; in percentage points."""
    given = [place for place, values in enumerate(resampled) if np.isfinite(values).all() and len(values) > 1]
    joint = joint_estimates(np.stack([resampled[place] for place in given]), images) if given else []
    known = dict(zip(given, joint, strict=True))
    return [replace(pair, difference=known.get(place, pair.difference).scaled(100)) for place, pair in enumerate(pairs)]
