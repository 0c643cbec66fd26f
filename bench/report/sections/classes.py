"""Where the drop falls: recall per class, and which classes are taken for which."""

from functools import partial

import numpy as np
import numpy.typing as npt

from bench.figures.classes import ClassPanel, class_maps
from bench.report.elements import Block, Cell, Plot, Section, Table
from bench.report.groups import Entry, Group
from bench.report.runs import Confusion
from datamodules.degradations import ORIGINAL

_MOST_ROWS = 60


def classes_section(group: Group) -> Section | None:
    """Drops in recall per class, and the confusions that grew most; None without confusion matrices."""
    entries = [one for one in group.entries if any(recall_drop(one, view) is not None for view in group.degraded)]
    if not entries:
        return None
    note = "Red: the class lost recall; blue: it gained. White cells without a number: not measured."
    note += " All classes are in classes.csv."
    panels = [ClassPanel(one.label, _drops(group, one)) for one in entries]
    draw = partial(class_maps, panels, group.classes, group.degraded, "drop in recall", drops=True)
    blocks: list[Block] = [Plot(f"{group.name}-classes", "Drop in recall per class", draw, note)]
    found = [(one, view, pair) for one, view, cell in group.cells for pair in cell.result.confusions]
    if found:
        blocks.append(_confusions(group, found))
    return Section("Classes", tuple(blocks), {"classes.csv": _recalls(group), "confusions.csv": _pairs(group, found)})


def recall_drop(entry: Entry, view: str) -> npt.NDArray[np.float64] | None:
    """Recall in the original minus recall in a view of the same run: float64 [C], None where not measured."""
    if view not in entry.cells:
        return None
    cell = entry.cells[view]
    before, after = cell.run.views[ORIGINAL].recall, cell.result.recall
    return None if before is None or after is None else before - after


def _drops(group: Group, entry: Entry) -> npt.NDArray[np.float64]:
    """By class and degraded view, NaN where not measured."""
    blank = np.full(len(group.classes), np.nan)
    drops = [recall_drop(entry, view) for view in group.degraded]
    return np.stack([blank if drop is None else drop for drop in drops], axis=1)


def _confusions(group: Group, found: list[tuple[Entry, str, Confusion]]) -> Table:
    """The largest increases of a group."""
    names = group.classes
    largest = sorted(found, key=lambda one: one[2].before - one[2].after)[:_MOST_ROWS]
    rows = tuple(
        (
            Cell(entry.label),
            Cell(view),
            Cell(names[pair.true]),
            Cell(names[pair.predicted]),
            *(Cell(str(count), value=count) for count in (pair.before, pair.after, pair.after - pair.before)),
        )
        for entry, view, pair in largest
    )
    note = "Images of the true class that were predicted as the other one, in the original and in the view."
    if len(found) > len(largest):
        note += f" The {len(largest)} largest increases; more are in confusions.csv."
    header = ("encoder", "view", "true class", "predicted as", "original", "in the view", "increase")
    return Table(f"{group.name}-confusions", "Confusions gained", header, rows, note)


def _recalls(group: Group) -> tuple[dict[str, object], ...]:
    return tuple(
        {"group": group.name, "label": entry.label, "view": view, "class": name, "recall": float(recall)}
        for entry, view, cell in group.cells
        if cell.result.recall is not None
        for name, recall in zip(group.classes, cell.result.recall, strict=True)
    )


def _pairs(group: Group, found: list[tuple[Entry, str, Confusion]]) -> tuple[dict[str, object], ...]:
    return tuple(
        {
            "group": group.name,
            "label": entry.label,
            "view": view,
            "true": group.classes[pair.true],
            "predicted": group.classes[pair.predicted],
            ORIGINAL: pair.before,
            "degraded": pair.after,
        }
        for entry, view, pair in found
    )
