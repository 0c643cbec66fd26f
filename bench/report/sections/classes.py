"""Where the drop falls: recall per class, and which classes are taken for which."""

from functools import partial

import numpy as np
import pandas as pd

from bench.figures.classes import ClassPanel, class_maps
from bench.report.document import Block, Plot, Section
from bench.report.groups import Entry, Group
from bench.report.inputs import Choices
from bench.report.tables import Column, Table, listed
from bench.runs.folder import FinishedRun
from bench.statistics.bootstrap import Floats
from bench.statistics.classes import SIGNIFICANT, class_p_values, is_beyond_chance
from datamodules.degradations import ORIGINAL

_MOST_CLASSES = 20
_MOST_ROWS = 60
_MOST_NAMED = 3
_FEWEST_IMAGES = 20
_CHOSEN = " Chosen as the largest of many, they tend to be smaller on other images."


def section(group: Group, choices: Choices) -> Section | None:
    """Drops in recall per class, and the confusions that grew most; None where nothing was degraded."""
    if not group.degraded:
        return None
    panels = [ClassPanel(entry.label, class_drops(group, entry)) for entry in group.entries if len(entry.runs) > 1]
    draw = partial(class_maps, panels, group.classes, group.degraded, "drop in recall (points)", drops=True)
    note = "Red: the class lost recall; blue: it gained."
    blocks: list[Block] = [Plot(f"{group.name}-classes", "Drop in recall per class", draw, note), _recalls(group)]
    pairs = _confusions(group)
    findings = tuple(finding for finding in (_finding(group),) if finding)
    return Section("Classes", (*blocks, pairs) if len(pairs.frame) else tuple(blocks), findings)


def _finding(group: Group) -> str:
    """Where the best encoder loses most, on the view that costs it most; empty where a class has few images."""
    entry = max((e for e in group.entries if len(e.runs) > 1), key=lambda e: e.view(ORIGINAL).correct or 0)
    view = min((view for view in group.degraded if view in entry.runs), key=lambda view: entry.view(view).correct or 0)
    run, images = entry.runs[view], entry.runs[view].record.class_images
    if images is None or min(images) < _FEWEST_IMAGES:
        return ""
    drops = recall(run, ORIGINAL) - recall(run, view)
    order = [row for row in np.argsort(-drops, kind="stable")[:_MOST_NAMED].tolist() if drops[row] > 0]
    if not order:
        return ""
    lost = listed([f"{group.classes[row]} ({100 * drops[row]:.1f} points of recall)" for row in order], _MOST_NAMED)
    pairs = {
        other: (measured.record.views[ORIGINAL], entry.view(other))
        for other, measured in entry.runs.items()
        if other != ORIGINAL
    }
    shown = class_p_values(pairs, images)[view] < SIGNIFICANT
    text = f"On {view}, the largest drops measured with {entry.label} are those of {lost}. "
    if shown[order].all():
        text += "That they lose is shown; that no other class loses more is not"
    else:
        count = int((shown & (drops > 0)).sum())
        text += (
            f"Which classes these are may be chance: of {len(drops):,}, {count or 'none'} alone "
            f"{'are' if count > 1 else 'is'} shown to lose"
        )
    return f"{text}{_confusion_clause(group, entry, view)}."


def _confusion_clause(group: Group, entry: Entry, view: str) -> str:
    """The confusion that grew most; empty where it could be chance among all pairs of classes and views."""
    counts = entry.view(view).classes
    if counts is None or not counts.confusions:
        return ""
    pair = max(counts.confusions, key=lambda pair: pair.after - pair.before)
    if not is_beyond_chance(pair, len(group.classes), len(group.degraded)):
        return ""
    true, taken = group.classes[pair.true], group.classes[pair.predicted]
    times = f"{pair.after:,} times, {pair.before:,} on the originals"
    return f"; the confusion that grew most: {true} taken for {taken} {times}"


def recall(run: FinishedRun, view: str) -> Floats:
    """Recall of a view: float64 [C] in [0, 1], NaN for classes without images."""
    counts, images = run.record.views[view].classes, run.record.class_images
    if counts is None or images is None:
        return np.full(len(run.record.data.class_names), np.nan)
    return np.array(counts.recall(images), dtype=np.float64)


def class_drops(group: Group, entry: Entry) -> Floats:
    """Drop in recall from the original of the same run, in points: float64 [C, V], NaN where not measured."""
    drops = np.full((len(group.classes), len(group.degraded)), np.nan)
    for place, view in enumerate(group.degraded):
        if view in entry.runs:
            drops[:, place] = 100 * (recall(entry.runs[view], ORIGINAL) - recall(entry.runs[view], view))
    return drops


def _recalls(group: Group) -> Table:
    """All classes, those first that lose most."""
    parts = []
    for entry, view in group.measured:
        run = entry.runs[view]
        after = recall(run, view)
        columns = {"class": group.classes, "recall": after, "drop_points": 100 * (recall(run, ORIGINAL) - after)}
        parts.append(pd.DataFrame({"label": entry.label, "view": view, **columns}))
    frame = pd.concat(parts, ignore_index=True).sort_values("drop_points", ascending=False, kind="stable")
    return Table(
        f"{group.name}-recall",
        "Classes that lose most",
        frame,
        (
            *(Column("label", "encoder"), Column("view"), Column("class")),
            *(Column("recall", "recall in the view", ".4f"), Column("drop_points", "drop in recall (points)", ".2f")),
        ),
        note=f"The {_MOST_CLASSES} largest drops in recall; all classes are in classes.csv.{_CHOSEN}",
        data="classes.csv",
        where=lambda frame: frame["drop_points"] > 0,
        most=_MOST_CLASSES,
    )


def _confusions(group: Group) -> Table:
    """The largest increases of a group."""
    columns = ["label", "view", "true", "predicted", ORIGINAL, "degraded", "increase"]
    rows = []
    for entry, view in group.measured:
        counts = entry.view(view).classes
        for pair in () if counts is None else counts.confusions:
            names = group.classes[pair.true], group.classes[pair.predicted]
            rows.append((entry.label, view, *names, pair.before, pair.after, pair.after - pair.before))
    frame = pd.DataFrame(rows, columns=columns).sort_values("increase", ascending=False, kind="stable")
    note = "Images of the true class that were predicted as the other one, in the original and in the view."
    if len(frame) > _MOST_ROWS:
        note += f" The {_MOST_ROWS} largest increases; more are in confusions.csv.{_CHOSEN}"
    return Table(
        f"{group.name}-confusions",
        "Confusions gained",
        frame,
        (
            *(
                Column("label", "encoder"),
                Column("view"),
                Column("true", "true class"),
                Column("predicted", "predicted as"),
            ),
            *(
                Column(ORIGINAL, form=",.0f"),
                Column("degraded", "in the view", ",.0f"),
                Column("increase", form=",.0f"),
            ),
        ),
        note=note,
        data="confusions.csv",
        most=_MOST_ROWS,
    )
