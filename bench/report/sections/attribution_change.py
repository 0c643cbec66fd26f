"""What the compression error is to an encoder before and after tuning: Integrated Gradients of the same images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.report.elements import Block, Cell, Plot, Table, number
from bench.report.groups import Entry
from bench.report.runs import Run
from bench.statistics.intervals import Interval
from bench.statistics.rate_curves import Floats, percentiles, resampled_means

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_QUANTITIES = {"ig": "IG", "mass": "mass"}
_SETTINGS = ("baseline", "rule")


@dataclass(frozen=True)
class Change:
    """One quantity of the attributions of one view, image by image.

    Attributes:
        tuned: Title of the tuned encoder.
        view: Name.
        quantity: "ig", the sum of the attribution, or "mass", that of its absolute values; in nats.
        before: Of the original encoder, float64 [N].
        after: Of the tuned one, float64 [N].
        interval: Of the mean of after - before, over images.
    """

    tuned: str
    view: str
    quantity: str
    before: Floats
    after: Floats
    interval: Interval


def attribution_blocks(name: str, base: Entry, tuned: Mapping[str, Sequence[Entry]]) -> list[Block]:
    """A table and a figure of all images that both the original and a tuned encoder were explained on.

    Args:
        name: For file names.
        base: The original encoder.
        tuned: Its tuned encoders by title; of several seeds the first that was explained counts.
    """
    changes = [change for title, entries in tuned.items() for change in _compare(title, base, entries)]
    if not changes:
        return []
    rows = tuple(
        (
            Cell(one.tuned),
            Cell(one.view),
            Cell(_QUANTITIES[one.quantity]),
            Cell(str(len(one.before)), value=len(one.before)),
            *(Cell(number(float(values.mean())), value=float(values.mean())) for values in (one.before, one.after)),
            Cell(
                number(float((one.after - one.before).mean()), signed=True),
                (f"[{number(one.interval.low)}, {number(one.interval.high)}]",),
                float((one.after - one.before).mean()),
            ),
            Cell(f"{(one.after < one.before).mean():.0%}", value=float((one.after < one.before).mean())),
        )
        for one in changes
    )
    header = ("tuned", "view", "quantity", "images", "before", "after", "change", "smaller after")
    note = (
        "Means over the images that were explained. Where these were chosen for a large loss increase of the original "
        "encoder, some of the fall is regression to the mean. IG: sum of the attribution, the loss that compression "
        "costs. Mass: sum of its absolute values. In nats; interval: bootstrap over images."
    )
    title = "Attribution of the compression error before and after tuning"
    return [
        Table(f"{name}-attribution", title, header, rows, note),
        Plot(f"{name}-attribution", title, partial(_figure, changes), "A point per image; below the line: it shrank."),
    ]


def _compare(title: str, base: Entry, entries: Sequence[Entry]) -> list[Change]:
    found = []
    for before, after in ((one, other) for one in _explained(base) for entry in entries for other in _explained(entry)):
        old, new = before.attribution or {}, after.attribution or {}
        if any(old.get(key) != new.get(key) for key in _SETTINGS):
            continue
        common = [index for index in old["indices"] if index in new["indices"]]
        for view in (view for view in old["views"] if view in new["views"] and common):
            for quantity in _QUANTITIES:
                values = [_values(record, view, quantity, common) for record in (old, new)]
                if values[0] is not None and values[1] is not None:
                    means = resampled_means((values[1] - values[0])[:, None])[1:, 0]
                    found.append(Change(title, view, quantity, values[0], values[1], percentiles(means)))
        if found:
            break
    return found


def _explained(entry: Entry) -> list[Run]:
    runs = {str(cell.run.path): cell.run for cell in entry.cells.values()}
    return [run for run in runs.values() if run.attribution is not None]


def _values(record: Mapping[str, Any], view: str, quantity: str, indices: Sequence[int]) -> Floats | None:
    column = record["views"][view].get("per_image", {}).get(quantity)
    if column is None:
        return None
    by_index = dict(zip(record["indices"], column, strict=True))
    return np.array([by_index[index] for index in indices], dtype=np.float64)


def _figure(changes: Sequence[Change]) -> "Figure":
    from matplotlib.figure import Figure

    views = list(dict.fromkeys(one.view for one in changes))
    figure = Figure(figsize=(3.4 * len(views) + 1.6, 6.6), layout="constrained")
    grid = figure.subplots(len(_QUANTITIES), len(views), squeeze=False)
    for row, (quantity, title) in zip(grid, _QUANTITIES.items(), strict=True):
        for axes, view in zip(row, views, strict=True):
            for one in (one for one in changes if (one.view, one.quantity) == (view, quantity)):
                axes.scatter(one.before, one.after, s=12, alpha=0.6, label=one.tuned.replace("$", r"\$"))
            low, high = axes.get_xlim()
            axes.plot([low, high], [low, high], color="0.5", linewidth=0.8)
            axes.set(xlabel=f"{title} before (nats)", ylabel=f"{title} after (nats)", title=view)
            axes.grid(alpha=0.25)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", frameon=False, fontsize=9, ncols=3)
    return figure
