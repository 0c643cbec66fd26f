"""What the compression error is to an encoder before and after tuning: Integrated Gradients of the same images."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from bench.attribution.spectra import LEAST_WITH_INTERVALS
from bench.figures.change import Change, change_scatter
from bench.report.document import Plot, Section
from bench.report.groups import Entry, Group
from bench.report.inputs import Choices
from bench.report.tables import Column, Table
from bench.report.variants import originals_of, tuned_from
from bench.runs.attributions import UNREADABLE, why
from bench.runs.folder import FinishedRun
from bench.statistics.bootstrap import Floats
from bench.statistics.means import mean_estimate

_QUANTITIES = {"ig": "IG", "mass": "mass"}
_TITLE = "Attributions before and after tuning"
_SETTINGS = ("baseline", "rule")


def section(group: Group, choices: Choices) -> Section | None:
    """A table and a figure of all images that both an original and an encoder tuned from it were explained on."""
    changes: list[Change] = []
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    for base in originals_of(group, choices.fits):
        for fit, entry in tuned_from(group, base, choices.fits):
            try:
                found = [] if fit.is_control else _changes(base, entry)
                rows += [_row(change) for change in found]
            except UNREADABLE as error:
                problems.append(f"{entry.label} or {base.label}: its attribution cannot be read ({why(error)}).")
                continue
            changes += found
    if not changes:
        return Section(_TITLE, tuple(problems)) if problems else None
    columns = (
        *(Column("tuned"), Column("view"), Column("quantity"), Column("images", form=",.0f")),
        *(Column("before", form=".4f"), Column("after", form=".4f")),
        *(Column("change", form="+.4f", interval=True), Column("smaller", "smaller after", ".0%")),
    )
    note = (
        "Means over the images that were explained. Where these were chosen for a large loss increase of the original "
        "encoder, some of the fall is regression to the mean. IG: sum of the attribution, the loss that compression "
        "costs. Mass: sum of its absolute values. In nats; interval: Student's over images at 95%, pointwise, from "
        f"{LEAST_WITH_INTERVALS} images on."
    )
    name, title = f"{group.name}-attribution-change", "Attribution of the compression error before and after tuning"
    table = Table(name, title, pd.DataFrame(rows), columns, note=note, data="attribution_change.csv")
    plot = Plot(name, title, partial(change_scatter, changes), "A point per image; below the line: it shrank.")
    return Section(_TITLE, (table, plot, *problems))


def _row(change: Change) -> dict[str, Any]:
    before, after = change.before, change.after
    return {
        "tuned": change.label,
        "view": change.view,
        "quantity": change.quantity,
        "images": len(before),
        "before": before.mean(),
        "after": after.mean(),
        **mean_estimate(after - before, least=LEAST_WITH_INTERVALS).columns("change"),
        "smaller": (after < before).mean(),
    }


def _changes(base: Entry, tuned: Entry) -> list[Change]:
    """Image by image, of the first pair of runs with the same settings."""
    for before, after in ((one, other) for one in _explained(base) for other in _explained(tuned)):
        old, new = before.record.attribution or {}, after.record.attribution or {}
        if any(old.get(key) != new.get(key) for key in _SETTINGS):
            continue
        others = set(new["indices"])
        common = [index for index in old["indices"] if index in others]
        changes = []
        for view in (view for view in old["views"] if view in new["views"] and common):
            for quantity, title in _QUANTITIES.items():
                first, second = (_values(record, view, quantity, common) for record in (old, new))
                if first is not None and second is not None:
                    changes.append(Change(tuned.label, view, title, first, second))
        if changes:
            return changes
    return []


def _explained(entry: Entry) -> list[FinishedRun]:
    return [run for run in entry.all_runs if run.record.attribution is not None]


def _values(record: Mapping[str, Any], view: str, quantity: str, indices: list[int]) -> Floats | None:
    column = record["views"][view].get("per_image", {}).get(quantity)
    if column is None:
        return None
    by_index = dict(zip(record["indices"], column, strict=True))
    return np.array([by_index[index] for index in indices], dtype=np.float64).reshape(len(indices))
