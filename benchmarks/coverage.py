"""How often do the intervals of the report hold the truth?

    python -m benchmarks.coverage

Prints, in percent, where 95 is meant: by complete enumeration that of Tango's interval of a drop, on average and
at worst over drops and shares of repaired images; simulated, with views that hang together, that of the bytes at which
the drop reaches one point, on steep and on flat curves, and on which side the truth lies where it is missed; that of
the differences of codecs at equal bits, jointly for all pairs; that of Bjøntegaard's rate, where it is given; and that
of what tuning changes: where it breaks one image in a hundred and repairs none, and where its seeds differ.
"""

import argparse
from collections.abc import Mapping
from itertools import combinations, product

import numpy as np
from scipy.special import gammaln, xlogy

from bench.runs.table import align
from bench.statistics.bjontegaard import log_rate_difference
from bench.statistics.bootstrap import Floats, joint_estimates, percentiles, resampled_sums
from bench.statistics.intervals import LEVEL
from bench.statistics.paired import drop_limits
from bench.statistics.rate_curves import crossing, crossing_interval, mean_on_range
from bench.statistics.recovery import recover
from benchmarks.surely import correlated_counts

LIMIT = 0.01
_RESAMPLES, _MANY = 1_000, 10_000
_SEEDS_DIFFER = (0.1, 0.4, 1.0)
_SPREAD = 0.3  # of the bytes of images around their mean
_CURVES = {
    "steep": (0.30, 0.12, 0.05, 0.02, 0.008, 0.001),
    "gentle": (0.05, 0.03, 0.018, 0.012, 0.008, 0.005),
    "flat at the limit": (0.016, 0.0135, 0.0115, 0.0095, 0.008, 0.007),
    "nearly level": (0.0106, 0.0104, 0.0102, 0.0099, 0.0097, 0.0095),
    "flat, then steep": (0.2, 0.011, 0.0105, 0.0102, 0.0098, 0.0095),
    "under at all": (0.009, 0.009, 0.009, 0.009, 0.009, 0.009),
    "over at all": (0.011, 0.011, 0.011, 0.011, 0.011, 0.011),
}
"""True drops from the smallest files to the largest, which double."""

_CODECS: Mapping[str, tuple[tuple[float, ...], ...]] = {
    "all equal": ((0.60, 0.70, 0.76, 0.79),) * 4,
    "different": ((0.60, 0.70, 0.76, 0.79), (0.55, 0.66, 0.73, 0.77), (0.62, 0.71, 0.76, 0.78), (0.50, 0.6, 0.7, 0.76)),
    "levelling off": (
        (0.50, 0.70, 0.78, 0.78),
        (0.40, 0.65, 0.77, 0.78),
        (0.6, 0.74, 0.779, 0.78),
        (0.3, 0.6, 0.75, 0.78),
    ),
    "nearly lossless": ((0.799, 0.7992, 0.7996, 0.7998),) * 4,
}
"""True precisions of four codecs at the same bits, which double."""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=2000, help="of a simulation (default: 2,000)")
    parser.add_argument("--resampled", type=int, default=200, help="of one with resampled images (default: 200)")
    options = parser.parse_args()
    print(f"Tango's interval of a drop\n\n{align(_drops())}\n")
    print(f"Bytes at which the drop reaches one point\n\n{align(_crossings(options.repetitions))}\n")
    print(f"Codecs two by two, four of them\n\n{align(_pairs(options.resampled))}\n")
    print(f"Tuning that breaks 1% of the images\n\n{align(_broken(options.repetitions))}\n")
    print(f"Tuning whose seeds differ, {_MANY:,} images\n\n{align(_seeds(options.repetitions))}")


def _drops() -> list[list[str]]:
    rows = [["images", "on average", "at worst", "at worst with 5 expected changes or more"]]
    for n in (20, 50, 100, 200, 400):
        broken, repaired = (counts.ravel() for counts in np.meshgrid(np.arange(n + 1), np.arange(n + 1)))
        inside = broken + repaired <= n
        broken, repaired = broken[inside], repaired[inside]
        low, high = drop_limits(broken, repaired, n)
        logs = gammaln(n + 1) - gammaln(broken + 1) - gammaln(repaired + 1) - gammaln(n - broken - repaired + 1)
        coverage = {}
        for drop, share in product((0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3), (0, 0.001, 0.003, 0.01, 0.03, 0.1)):
            log = logs + xlogy(broken, share + drop) + xlogy(repaired, share)
            chance = np.exp(log + xlogy(n - broken - repaired, 1 - 2 * share - drop))
            coverage[drop, share] = float(chance[(low - 1e-12 <= drop) & (drop <= high + 1e-12)].sum())
        some = [value for (drop, share), value in coverage.items() if n * (drop + 2 * share) >= 5]
        figures = (np.mean(list(coverage.values())), min(coverage.values()), min(some))
        rows.append([f"{n:,}", *(f"{100 * figure:.1f}" for figure in figures)])
    return rows


def _crossings(repetitions: int) -> list[list[str]]:
    sizes = (200, 1000, 10_000)
    heads = (f"{kind}, {n:,}" for n in sizes for kind in ("held", "too low", "too high"))
    rows = [["curve", *heads]]
    for name, drops in _CURVES.items():
        cells = []
        for n in sizes:
            low, high, truth = _crossing_intervals(n, drops, repetitions)
            misses = [np.mean(truth < low), np.mean(truth > high)]  # the interval is too high, too low
            cells += [100 * (1 - sum(misses)), 100 * misses[1], 100 * misses[0]]
        rows.append([name, *(f"{cell:.1f}" for cell in cells)])
    return rows


def _crossing_intervals(n: int, drops: tuple[float, ...], repetitions: int) -> tuple[Floats, Floats, float]:
    """Both ends and the truth, as logarithms of bytes; an interval and its truth may be infinite."""
    random = np.random.default_rng([n, int(1e5 * drops[0])])
    x = np.arange(len(drops), dtype=np.float64)
    broken, repaired = correlated_counts(random, repetitions, n, drops, share=0.004, correlation=0.5)
    low, high = drop_limits(broken, repaired, n)
    error = _SPREAD / np.sqrt(n) / np.log(2)
    shifts = random.normal(0, error, repetitions)
    half = np.full(len(x), 1.96 * error)
    measured = zip(shifts, low, high, strict=True)
    ends = [crossing_interval(x + shift, half, least, most, LIMIT) for shift, least, most in measured]
    truth = crossing(x, np.array(drops), LIMIT)
    return np.array([end.low for end in ends]), np.array([end.high for end in ends]), truth


def _pairs(repetitions: int) -> list[list[str]]:
    rows = [["codecs", "images", "differences, all at once", "differences, each", "rates, each", "rates given"]]
    for (name, precisions), n in product(_CODECS.items(), (100, 400, 2000)):
        random = np.random.default_rng(n)
        held = np.array([_held(random, precisions, n) for _ in range(repetitions)])
        all_at_once, each, rates, given = held.sum(0)
        pairs = len(list(combinations(precisions, 2)))
        shares = [all_at_once / repetitions, each / repetitions / pairs, rates / max(given, 1)]
        rows.append([name, f"{n:,}", *(f"{100 * share:.1f}" for share in (*shares, given / repetitions / pairs))])
    return rows


def _held(random: np.random.Generator, precisions: tuple[tuple[float, ...], ...], n: int) -> tuple[int, int, int, int]:
    """Of one set of images: are all differences held, how many are, and how many rates are, of how many given."""
    views = np.array(precisions).ravel()
    own = random.uniform(size=(n, len(views)))
    right = np.where(random.uniform(size=own.shape) < 0.8, random.uniform(size=(n, 1)), own) < views
    (sums,) = resampled_sums(right.astype(np.float64), seed=int(random.integers(2**31)))
    curves = np.moveaxis(sums.reshape(len(sums), *np.array(precisions).shape) / n, 1, 0)
    x = np.broadcast_to(np.arange(curves.shape[-1], dtype=np.float64), curves.shape[1:])
    low, high = x[:, 0], x[:, -1]
    pairs = list(combinations(range(len(precisions)), 2))
    differences = [mean_on_range(x, curves[a], low, high) - mean_on_range(x, curves[b], low, high) for a, b in pairs]
    true = np.array(precisions)[:, None]
    means = mean_on_range(np.broadcast_to(x[:1], true.shape), true, low[:1], high[:1])[:, 0]
    joint = joint_estimates(np.stack(differences), n)
    held = [means[a] - means[b] in found.interval for (a, b), found in zip(pairs, joint, strict=True)]
    rates, given = 0, 0
    for a, b in pairs:
        values = log_rate_difference((x, curves[a]), (x, curves[b]))
        if np.isfinite(values[0]) and np.isnan(values[1:]).mean() <= (1 - LEVEL) / 2:
            given += 1
            truth = log_rate_difference((x[:1], true[a]), (x[:1], true[b]))[0]
            rates += bool(truth in percentiles(values[1:]))
    return int(all(held)), sum(held), rates, given


def _broken(repetitions: int) -> list[list[str]]:
    random, rows = np.random.default_rng(0), [["images", "of the change"]]
    for n in (20, 50, 100, 200, 400, 1_000, 10_000):
        held = 0
        for broken in random.binomial(n, 0.01, size=repetitions):
            samples = np.concatenate([[broken], random.binomial(n, broken / n, size=_RESAMPLES)]).astype(np.float64)
            before = np.full_like(samples, n)
            held += -0.01 in recover(before, before, {0: before - samples}, {}, n).gain.interval
        rows.append([f"{n:,}", f"{100 * held / repetitions:.1f}"])
    return rows


def _seeds(repetitions: int) -> list[list[str]]:
    """A gain of 5 points; images make 0.25 points of noise that all seeds share and 0.1 of each one's own."""
    random = np.random.default_rng(0)
    rows = [["seeds", *(f"seeds' sd {points} points" for points in _SEEDS_DIFFER)]]
    original, clean = (np.full(_RESAMPLES + 1, share * _MANY) for share in (0.5, 0.7))
    for seeds in (1, 2, 3, 5, 10):
        held = dict.fromkeys(_SEEDS_DIFFER, 0)
        for points, _ in product(_SEEDS_DIFFER, range(repetitions)):
            errors = random.normal(0, 0.0025, (1, _RESAMPLES + 1)) + random.normal(0, 0.001, (seeds, _RESAMPLES + 1))
            errors[:, 1:] += errors[:, :1]  # resamples are drawn from the images that there are
            gains = 0.05 + random.normal(0, points / 100, (seeds, 1))
            tuned = dict(enumerate(original + _MANY * (gains + errors)))
            draws = int(random.integers(2**31))
            held[points] += 0.05 in recover(original, clean, tuned, {}, _MANY, draws).gain.interval
        rows.append([str(seeds), *(f"{100 * count / repetitions:.1f}" for count in held.values())])
    return rows


if __name__ == "__main__":
    main()
