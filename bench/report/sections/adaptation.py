"""Encoders that were adapted to the images while they were tested, apart from all other results."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from bench.report.document import Block, Chapter, Section
from bench.report.groups import Entry, Group, data_and_split, subject
from bench.report.labels import model_name
from bench.report.tables import Column, Table
from bench.runs.adaptation import AdaptationRecord
from bench.runs.folder import FinishedRun, mean_milliseconds
from bench.statistics.paired import drop_interval
from datamodules.degradations import ORIGINAL

TITLE = "Adapted while tested: results that depend on neighbours and order"
_NOTE = (
    "What is said of an image here depends on the images before it and beside it, and on the size of the batches, so "
    "that these are results of a sequence of images, not of an encoder. No other part of this report uses them. Each "
    "view was adapted by itself, from the original weights, without labels. The control is the same adaptation on the "
    "originals: what precision gains there is no robustness. No interval is given, since the images of one run are not "
    "independent of each other; where there are runs in several orders, the range over them is."
)


def chapter(adapted: Sequence[FinishedRun], groups: Sequence[Group]) -> Chapter | None:
    """All about adapted runs, beside the ordinary tests of the same encoders on the same images.

    Args:
        adapted: The runs; of one that was made again, the newest counts.
        groups: Ordinary runs.
    """
    sequences = _sequences(adapted)
    if not sequences:
        return None
    ordinary = {subject(run): entry for group in groups for entry in group.entries for run in entry.all_runs}
    rows, prices, terms = [], [], {}
    for label, runs in sequences.items():
        plain = ordinary.get(subject(runs[0]))
        rows += _rows(label, runs, plain)
        prices.append(_price(label, runs, plain))
        orders = ", ".join(_adaptation(run).order for run in runs)
        terms[label] = f"{_adaptation(runs[0]).mark}. Orders: {orders}." + (
            "" if plain else " No ordinary test of the same encoder on the same images is among these results."
        )
    precision = Column(
        "precision",
        form=".4f",
        details=(
            "{least:.4f} to {greatest:.4f} over orders",
            "{before:.4f} without",
            "gain {gain_points:+.2f} points",
            "{net_points:+.2f} beyond the control",
            "{net_share:.0%} of the drop",
        ),
    )
    note = (
        "Precision of the adapted encoder, mean over orders; without: an ordinary test of the same encoder on the same "
        "images. Beyond the control: the gain minus that on the originals, if they gain anything, and its share of the "
        "drop, where the interval of the drop is above 0."
    )
    title = "Precision, adapted while tested"
    frame = pd.DataFrame(rows)
    blocks: list[Block] = [_NOTE, terms]
    blocks.append(
        Table("adapted", title, frame, (Column("adapted"), precision), across="view", note=note, data="adapted.csv")
    )
    blocks.append(_price_table(prices))
    return Chapter(TITLE, (Section("Test-time adaptation", tuple(blocks)),))


def sources(adapted: Sequence[FinishedRun]) -> list[tuple[str, str, FinishedRun]]:
    """Label, images in words, and run, of each adapted run."""
    return [(f"{model_name(run.record.model)}, {_adaptation(run).mark}", _images(run), run) for run in adapted]


def _images(run: FinishedRun) -> str:
    return f"{data_and_split(run)}, {run.record.images} images"


def _adaptation(run: FinishedRun) -> AdaptationRecord:
    found = AdaptationRecord.of(run.record.model, run.folder.results)
    assert found is not None
    return found


def _sequences(adapted: Sequence[FinishedRun]) -> dict[str, list[FinishedRun]]:
    """Runs that differ in nothing but the seed of their order, the newest of each seed, by label."""
    found: dict[tuple[str, str], dict[int | None, FinishedRun]] = {}
    for run in sorted(adapted, key=lambda run: (run.folder.results.stat().st_mtime_ns, str(run.folder.path))):
        how = _adaptation(run)
        kind = f"{how.settings}, {'in the order of the data' if how.shuffle is None else 'shuffled'}"
        found.setdefault((subject(run), kind), {})[how.shuffle] = run
    labels: dict[str, list[FinishedRun]] = {}
    for (_, kind), runs in found.items():
        first = next(iter(runs.values()))
        label = f"{model_name(first.record.model)} on {_images(first)}: {kind}"
        unique = label if label not in labels else f"{label} ({len(labels) + 1})"
        labels[unique] = [runs[seed] for seed in sorted(runs, key=lambda seed: -1 if seed is None else seed)]
    return dict(sorted(labels.items()))


def _rows(label: str, runs: Sequence[FinishedRun], plain: Entry | None) -> list[dict[str, object]]:
    views = [view for view in runs[0].record.views if all(view in run.record.views for run in runs)]
    after = {view: [_precision(run, view) for run in runs] for view in views}
    rows: list[dict[str, object]] = []
    for view in views:
        row: dict[str, object] = {
            "adapted": label,
            "view": view,
            "images": runs[0].record.images,
            "orders": len(runs),
            "precision": float(np.mean(after[view])),
            **{name: None for name in ("least", "greatest", "before", "gain_points", "net_points", "net_share")},
            "results": ", ".join(str(run.folder.results) for run in runs),
        }
        if len(runs) > 1:
            row |= {"least": min(after[view]), "greatest": max(after[view])}
        if plain is not None and view in plain.runs:
            row |= _gains(view, plain, after)
        rows.append(row)
    return rows


def _gains(view: str, plain: Entry, after: Mapping[str, Sequence[float]]) -> dict[str, object]:
    gain, control = (float(np.mean(after[one])) - _precision(plain.runs[one], one) for one in (view, ORIGINAL))
    gains: dict[str, object] = {"before": _precision(plain.runs[view], view), "gain_points": 100 * gain}
    if view != ORIGINAL:
        net = gain - max(control, 0.0)  # what the control loses is no merit of the view
        gains["net_points"] = 100 * net
        found, images = plain.view(view), plain.runs[view].record.images
        if drop_interval(found.broken, found.repaired, images).low > 0:
            gains["net_share"] = net / ((found.broken - found.repaired) / images)
    return gains


def _precision(run: FinishedRun, view: str) -> float:
    return (run.record.views[view].correct or 0) / run.record.images


def _price(label: str, runs: Sequence[FinishedRun], plain: Entry | None) -> dict[str, object]:
    adapted, ordinary = mean_milliseconds(runs), mean_milliseconds([] if plain is None else plain.all_runs)
    return {
        "adapted": label,
        "trained": _adaptation(runs[0]).trained_parameters,
        "adapted_ms": adapted,
        "ordinary_ms": ordinary,
        "times": adapted / ordinary if adapted and ordinary else None,
    }


def _price_table(prices: Sequence[Mapping[str, object]]) -> Table:
    columns = (
        *(Column("adapted"), Column("trained", "adapted numbers", ",.0f")),
        Column("adapted_ms", "ms per image and view", ".2f"),
        Column("ordinary_ms", "ms of the ordinary test", ".2f"),
        Column("times", "times as long", ".2f"),
    )
    note = "Of whole runs, from their start to their results, under whatever load the machine had."
    return Table("adapted-price", "What adapting takes", pd.DataFrame(prices), columns, note=note)
