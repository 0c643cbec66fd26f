"""The tables that `benchmarks.faithfulness` prints, from what it measured."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from bench.runs.table import align
from bench.statistics.bootstrap import Floats, estimate, resampled_sums
from bench.statistics.intervals import Estimate

RANDOM, BLEND = "random order", "blend"

Measured = dict[str, npt.NDArray[np.float64]]
"""A row per image, by name."""

_KINDS = {"blocks": "8 x 8 blocks", "frequencies": "frequencies (Y, Cb, Cr x 64)"}
_ERROR = "|error|"


def repair_tables(measured: Mapping[str, Measured]) -> list[str]:
    """A table per kind of units, below what the ends of the curves are and how mixtures of both images fare.

    Args:
        measured: By map, with `RANDOM` and `BLEND`; see `benchmarks.faithfulness.measure`.
    """
    texts = []
    for kind, title in _KINDS.items():
        maps = {name: found for name, found in measured.items() if f"{kind}/score" in found}
        score = {name: found[f"{kind}/score"] for name, found in maps.items()}
        against = [name for name in (RANDOM, _ERROR) if name in score]
        differences = [means(np.stack([own - score[other] for own in score.values()], 1)) for other in against]
        rows = [["map", "score (nats)", *(f"minus {other}" for other in against), "s per map"]]
        for name, *columns in zip(maps, means(np.stack(list(score.values()), 1)), *differences, strict=True):
            seconds = f"{maps[name][f'{kind}/seconds'].mean():.3f}"
            same = [column if name != other else None for other, column in zip([None, *against], columns, strict=True)]
            rows.append([name, *map(_shown, same), seconds])
        texts.append(f"{title}\n{_ends(measured, kind)}\n\n{align(rows)}")
    return texts


def _ends(measured: Mapping[str, Measured], kind: str) -> str:
    curves = measured[RANDOM][f"{kind}/most"]
    columns = {
        "loss of the degraded images": curves[:, 0],
        "of the originals": curves[:, -1],
        "above the straight line between them, in the mean: repaired in random order": measured[RANDOM][
            f"{kind}/above"
        ],
        "blended": measured[BLEND][f"{kind}/above"],
    }
    estimates = means(np.stack(list(columns.values()), 1))
    return ", ".join(f"{name} {_shown(one)}" for name, one in zip(columns, estimates, strict=True)) + " nats"


def randomisation_tables(measured: Mapping[str, Measured]) -> list[str]:
    """Rank correlations from stage to stage, and three similarities where everything is randomised.

    Args:
        measured: By map; see `benchmarks.faithfulness.randomise`.
    """
    if not measured:
        return []
    stages = list(dict.fromkeys(key.partition("/")[0] for found in measured.values() for key in found))
    images = len(next(iter(next(iter(measured.values())).values())))
    rows = [["randomised down to", *measured]]
    ranks = [found[f"{stage}/rank"] for stage in stages for found in measured.values()]
    shown = [_shown(one) for one in means(np.stack(ranks, 1))]
    rows += [[stage, *shown[place * len(measured) :][: len(measured)]] for place, stage in enumerate(stages)]
    kinds = {"rank": "rank correlation", "strength": "of absolute values", "ssim": "SSIM"}
    last = [["everything randomised", *kinds.values()]]
    for name, found in measured.items():
        estimates = means(np.stack([found[f"{stages[-1]}/{kind}"] for kind in kinds], 1))
        last.append([name, *map(_shown, estimates)])
    return [
        f"Rank correlation with the maps of the intact model, {images} images\n\n{align(rows)}",
        f"Similarity with the maps of the intact model, {images} images\n\n{align(last)}",
    ]


def mean_curves(measured: Mapping[str, Measured], kind: str = "blocks") -> dict[str, tuple[list[float], list[float]]]:
    """By map the mean loss in nats after each step, most first and least first."""
    return {
        name: (found[f"{kind}/most"].mean(0).tolist(), found[f"{kind}/least"].mean(0).tolist())
        for name, found in measured.items()
        if f"{kind}/least" in found
    }


def means(table: Floats) -> list[Estimate]:
    """Means over images [N, K] with 95% intervals by bootstrap, each over the images where the column is a number."""
    known = np.isfinite(table)
    sums, counts = resampled_sums(np.where(known, table, 0), known)
    with np.errstate(invalid="ignore"):
        return [estimate(column) for column in (sums / counts).T]


def _shown(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    return f"{estimate.value:.3f} [{estimate.interval.low:.3f}, {estimate.interval.high:.3f}]"
