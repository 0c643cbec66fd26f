"""How often is "surely under the limit" wrong, and how often is it found?

    python -m benchmarks.surely

Prints three tables, in percent. The first two are of one setting and by complete enumeration: with the true drop at the
limit, how often it is wrongly said, at worst over shares of repaired images from 0 to 10%; and with no true drop, how
often it is rightly said. The third is of several settings jointly, simulated with correlated views: all true drops at
the limit, or those of the larger half of each codec's files at none. Rules:

    exact        `bench.statistics.paired.p_under`, which the report uses; with several settings in chains
    score        the upper end of Tango's interval is under the limit; with several settings each for itself
    Clopper      the Clopper-Pearson bound of the share of broken images is, whatever was repaired
    union        that bound at half the level, minus the lower one of the share of repaired images
    bootstrap    the upper end of the percentile bootstrap is, as reports had it; with several settings each for itself
"""

import argparse
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, betaincinv, ndtri
from scipy.stats import binom

from bench.runs.table import align
from bench.statistics.bootstrap import Floats
from bench.statistics.chains import shown_in_chains
from bench.statistics.paired import TAIL, p_under, score

LIMIT = 0.01
_IMAGES = (20, 50, 100, 200, 400, 1000, 2000, 5000, 10_000)
_REPAIRED = (0, 0.0003, 0.001, 0.003, 0.006, 0.01, 0.02, 0.04, 0.1)
_RESAMPLES = 2000


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=10_000, help="of the simulation (default: 10,000)")
    repetitions = parser.parse_args().repetitions
    print(f"One setting: wrongly said, at worst; {100 * TAIL:.1f}% is meant\n\n{align(_wrong())}\n")
    print(
        f"One setting: rightly said where the drop is none and 0.1% of the images are repaired\n\n{align(_right())}\n"
    )
    noise = 100 * 2 * (TAIL * (1 - TAIL) / repetitions) ** 0.5
    print(
        "Several settings: wrongly said of one or more, the worst of nine correlations and shares of repaired images;"
    )
    print(f"{100 * TAIL:.1f}% is meant, and two standard errors of one simulation are {noise:.2f}\n")
    print(align(_joint(repetitions)))


def _wrong() -> list[list[str]]:
    rows = [["images", *_RULES]]
    for n in _IMAGES:
        chances = [max(_said(rule, n, share, LIMIT) for share in _REPAIRED) for rule in _RULES.values()]
        rows.append([f"{n:,}", *(f"{100 * chance:.2f}" for chance in chances)])
    return rows


def _right() -> list[list[str]]:
    rules = {name: rule for name, rule in _RULES.items() if name in ("exact", "Clopper", "union")}
    return [["images", *rules]] + [
        [f"{n:,}", *(f"{100 * _said(rule, n, 0.001, 0):.1f}" for rule in rules.values())] for n in _IMAGES[3:]
    ]


Rule = Callable[[int, int, int], bool]
"""Whether a drop is said to be surely under the limit: of numbers of broken, of repaired, and of all images."""


def _exact(broken: int, repaired: int, n: int) -> bool:
    return p_under(broken, repaired, n, LIMIT) <= TAIL


def _score(broken: int, repaired: int, n: int) -> bool:
    return bool(score(broken, repaired, n, LIMIT) < ndtri(TAIL))


def _clopper(broken: int, repaired: int, n: int) -> bool:
    return broken < n and betaincinv(broken + 1, n - broken, 1 - TAIL) < LIMIT


def _union(broken: int, repaired: int, n: int) -> bool:
    least = betaincinv(repaired, n - repaired + 1, TAIL / 2) if repaired else 0.0
    return broken < n and betaincinv(broken + 1, n - broken, 1 - TAIL / 2) - least < LIMIT


def _bootstrap(broken: int, repaired: int, n: int) -> bool:
    random = np.random.default_rng([broken, repaired, n])
    draws = random.multinomial(n, [broken / n, repaired / n, 1 - (broken + repaired) / n], size=_RESAMPLES)
    return bool(np.quantile(draws[:, 0] - draws[:, 1], 1 - TAIL, method="higher") < n * LIMIT)


_RULES: dict[str, Rule] = {
    "exact": _exact, "score": _score, "Clopper": _clopper, "union": _union, "bootstrap": _bootstrap,
}  # fmt: skip


@cache
def _largest(rule: Rule, n: int, repaired: int) -> int:
    """The largest number of broken images with which it is said; -1 for none."""
    guess = min(_by_score(n, repaired, TAIL), n - repaired)
    return _climb(lambda broken: rule(broken, repaired, n), guess, n - repaired)


@cache
def _largest_exact(n: int, repaired: int, level: float) -> int:
    """The same of the exact test at any level."""
    guess = min(_by_score(n, repaired, level), n - repaired)
    return _climb(lambda broken: p_under(broken, repaired, n, LIMIT) <= level, guess, n - repaired)


def _by_score(n: int, repaired: int, level: float) -> int:
    broken = np.arange(repaired + int(n * LIMIT) + 2)
    return int((score(broken, repaired, n, LIMIT) <= ndtri(level)).sum()) - 1


def _climb(holds: Callable[[int], bool], guess: int, most: int) -> int:
    """The largest number with which something holds, which holds up to there, near a guess; -1 for none."""
    while guess >= 0 and not holds(guess):
        guess -= 1
    while guess < most and holds(guess + 1):
        guess += 1
    return guess


def _said(rule: Rule, n: int, share: float, drop: float) -> float:
    """Chance that it is said."""
    low, high = binom.interval(1 - 1e-6, n, share)
    repaired = np.arange(max(low, 0), high + 1)
    largest = np.array([_largest(rule, n, int(count)) for count in repaired], dtype=np.float64)
    below = bdtr(np.maximum(largest, 0), (n - repaired).astype(np.int64), (share + drop) / (1 - share))
    return float((binom.pmf(repaired, n, share) * np.where(largest >= 0, below, 0)).sum())


def correlated_counts(
    random: np.random.Generator, repetitions: int, n: int, drops: Sequence[float], share: float, correlation: float
) -> tuple[Floats, Floats]:
    """Numbers of broken and of repaired images in several views, [repetitions, V] each.

    In each view an image does with some chance what it does in a common pattern, and otherwise something of its own.

    Args:
        random: Generator.
        repetitions: Number of sets of images.
        n: Number of images.
        drops: True drop of each view, in [0, 1).
        share: True share of repaired images in each view.
        correlation: Chance of the common pattern, in [0, 1].
    """
    least = min(drops)
    chances = [share + least, share, 1 - 2 * share - least]
    common = random.multinomial(n, chances, size=repetitions)
    broken, repaired = np.empty((2, repetitions, len(drops)))
    for view, drop in enumerate(drops):
        extra = (drop - least) / max(1 - correlation, 1e-9)  # of their own, beside the pattern with the least drop
        own = [chances[0] + extra, share, max(chances[2] - extra, 0.0)]
        kept = random.binomial(common, correlation)
        fresh = random.multinomial(n - kept.sum(1), np.array(own) / sum(own))
        broken[:, view], repaired[:, view] = kept[:, 0] + fresh[:, 0], kept[:, 1] + fresh[:, 1]
    return broken, repaired


def _joint(repetitions: int) -> list[list[str]]:
    shapes = {"1": (1,), "3": (3,), "11": (11,), "5+6": (5, 6), "11 x 1": (1,) * 11}
    rows = [["images", "larger files", *(f"exact {shape}" for shape in shapes), "score 11", "bootstrap 11"]]
    for n in (20, 100, 400, 1000, 10_000):
        for good in (False, True):
            worst = dict.fromkeys(rows[0][2:], 0.0)
            for correlation, share in product((0.0, 0.5, 0.95), (0.0, 0.003, 0.02)):
                random = np.random.default_rng([n, int(1000 * share), int(100 * correlation)])
                for shape, lengths in shapes.items():
                    drops = [0.0 if good and 2 * k + 1 < length else LIMIT for length in lengths for k in range(length)]
                    counts = correlated_counts(random, repetitions, n, drops, share, correlation)
                    found = {f"exact {shape}": _wrong_in_chains(*counts, n, lengths, drops)}
                    if shape == "11":
                        found["score 11"] = _wrong_alone(*counts, n, _score, drops)
                        found["bootstrap 11"] = _wrong_alone(*counts, n, _bootstrap, drops)
                    worst |= {name: max(worst[name], wrong) for name, wrong in found.items()}
            shares = (f"{100 * wrong:.2f}" for wrong in worst.values())
            rows.append([f"{n:,}", "no drop" if good else "at the limit", *shares])
    return rows


def _wrong_in_chains(broken: Floats, repaired: Floats, n: int, lengths: Sequence[int], drops: Sequence[float]) -> float:
    """Share of the repetitions in which a view with a drop at the limit is shown to be under it."""
    ends = np.cumsum(lengths)
    chains = [list(range(end - length, end)) for end, length in zip(ends, lengths, strict=True)]
    p_values = np.ones_like(broken)
    for parts in range(1, len(chains) + 1):  # of the levels that a chain can have
        p_values[_under(broken, repaired, n, partial(_largest_exact, level=TAIL / parts))] = TAIL / parts - 1e-12
    false = np.array(drops) > 0
    wrong = 0
    for row in p_values[(p_values[:, false] < 1).any(1)]:
        wrong += any(false[view] for chain in shown_in_chains(chains, row.__getitem__) for view in chain)
    return wrong / len(broken)


def _wrong_alone(broken: Floats, repaired: Floats, n: int, rule: Rule, drops: Sequence[float]) -> float:
    false = np.array(drops) > 0
    return float(_under(broken[:, false], repaired[:, false], n, partial(_largest, rule)).any(1).mean())


def _under(broken: Floats, repaired: Floats, n: int, largest: Callable[[int, int], int]) -> npt.NDArray[np.bool_]:
    counts, places = np.unique(repaired, return_inverse=True)
    limits = np.array([largest(n, int(count)) for count in counts])
    return np.asarray(broken <= limits[places].reshape(broken.shape))


if __name__ == "__main__":
    main()
