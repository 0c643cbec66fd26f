"""Figures of a report, drawn without pyplot's global state."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.figures.style import MOST_COLOURS, draw_rates, plain, style
from bench.report.groups import Entry, Group
from bench.statistics.rate_curves import codec_curves
from datamodules.degradations import ORIGINAL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_PANELS = 12
MOST_CLASSES = 40
_PANELS_ACROSS = 3
_COLUMNS_ACROSS = 18
_MOST_NUMBERED_CLASSES = 16


def precision_curves(group: Group) -> "Figure":
    """Precision against quality, a panel per codec and a line per encoder, the original at the right."""
    from matplotlib.figure import Figure

    codecs = group.curves
    across = min(len(codecs), _PANELS_ACROSS)
    down = -(-len(codecs) // across)
    figure = Figure(figsize=(4.6 * across + 2.2, 4.0 * down + 0.4), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False, sharey=True)
    for axes in grid.flat[len(codecs) :]:
        axes.axis("off")
    styles = {entry.label: style(index) for index, entry in enumerate(group.entries)}
    for axes, (codec, points) in zip(grid.flat, codecs.items(), strict=False):
        qualities = [value for value, _ in points]
        step = (qualities[-1] - qualities[0]) / (len(qualities) - 1) if len(qualities) > 1 else 1
        far = qualities[-1] + step
        for entry in group.entries:
            _line(axes, entry, [*points, (far, ORIGINAL)], styles[entry.label])
        axes.axvline((qualities[-1] + far) / 2, color="0.8", linewidth=0.8)
        axes.set_xticks([*qualities, far], [*(f"{value:g}" for value in qualities), ORIGINAL])
        if len(qualities) > 6:
            axes.tick_params(axis="x", rotation=90)
        axes.set(xlabel="quality", title=codec)
        axes.grid(alpha=0.25)
    for axes in grid[:, 0]:
        axes.set_ylabel("precision")
    _legend(figure, grid[0, 0], group)
    return figure


def _line(axes: Any, entry: Entry, points: Sequence[tuple[float, str]], style: dict[str, Any]) -> None:
    known = [(x, entry.cells[view]) for x, view in points if view in entry.cells]
    x = [place for place, _ in known]
    axes.plot(x, [cell.precision for _, cell in known], **style)
    low, high = ([getattr(cell.interval, end) for _, cell in known] for end in ("low", "high"))
    axes.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)


def _legend(figure: "Figure", axes: Any, group: Group) -> None:
    lines = dict(zip((entry.label for entry in group.entries), axes.get_lines(), strict=False))
    shown = sorted(group.entries[:MOST_COLOURS], key=lambda one: -one.cells[ORIGINAL].precision)
    names = [plain(one.label) for one in shown]
    handles = [lines[one.label] for one in shown]
    if more := len(group.entries) - len(shown):
        names, handles = [*names, f"{more} more"], [*handles, lines[group.entries[-1].label]]
    figure.legend(handles, names, loc="outside right upper", frameon=False, fontsize=9)


def rate_figure(entries: Sequence[Entry]) -> "Figure":
    """Precision against bits per pixel, a panel per encoder and a line per codec."""
    from matplotlib.figure import Figure

    across = min(len(entries), _PANELS_ACROSS)
    down = -(-len(entries) // across)
    figure = Figure(figsize=(4.6 * across + 2.4, 4.2 * down + 0.4), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False, sharey=True, sharex=True)
    for axes in grid.flat[len(entries) :]:
        axes.axis("off")
    names = list(dict.fromkeys(curve for entry in entries for curve in codec_curves(entry.bits)))
    for axes, entry in zip(grid.flat, entries, strict=False):
        found = codec_curves(entry.bits)
        points = {name: [_rate_point(entry, view) for view in found.get(name, ())] for name in names}
        draw_rates(axes, points, entry.cells[ORIGINAL].precision)
        axes.set_title(plain(entry.label))
    for axes in grid[:, 0]:
        axes.set_ylabel("precision")
    lines = {line.get_label(): line for axes in grid.flat for line in axes.get_lines()}
    figure.legend(lines.values(), lines, loc="outside right upper", frameon=False, fontsize=9)
    return figure


def _rate_point(entry: Entry, view: str) -> tuple[float, float, float, float]:
    cell = entry.cells[view]
    return entry.bits[view], cell.precision, cell.interval.low, cell.interval.high


def recall_drop(entry: Entry, view: str) -> npt.NDArray[np.float64] | None:
    """Recall in the original minus recall in a view of the same run: float64 [C], None where not measured."""
    if view not in entry.cells:
        return None
    cell = entry.cells[view]
    before, after = cell.run.views[ORIGINAL].recall, cell.result.recall
    return None if before is None or after is None else before - after


def class_drops(group: Group, entries: Sequence[Entry]) -> "Figure":
    """Heat maps of the drop in recall, classes by views, a panel per encoder."""
    from matplotlib.figure import Figure

    blank = np.full(len(group.classes), np.nan)
    views = group.degraded
    known = [[recall_drop(one, view) for view in views] for one in entries]
    values = np.array([[blank if drop is None else drop for drop in drops] for drops in known])
    rows = np.arange(len(group.classes))
    if len(rows) > MOST_CLASSES:
        mean = np.nan_to_num(values).mean((0, 1))
        rows = np.argsort(-mean, kind="stable")[:MOST_CLASSES]
    across = max(1, min(len(entries), _PANELS_ACROSS, _COLUMNS_ACROSS // len(views)))
    down = -(-len(entries) // across)
    size = (2.4 + across * max(2.2, 0.62 * len(views)), (1.0 + 0.26 * len(rows)) * down + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    bound = max(float(np.nanmax(np.abs(values), initial=0)), 0.05)
    for axes in grid.flat[len(entries) :]:
        axes.axis("off")
    for axes, entry, drops in zip(grid.flat, entries, values, strict=False):
        image = axes.imshow(drops[:, rows].T, vmin=-bound, vmax=bound, cmap="RdBu_r", aspect="auto")
        axes.set_title(plain(entry.label), fontsize=9)
        axes.set_yticks(range(len(rows)), [plain(group.classes[row]) for row in rows.tolist()], fontsize=8)
        axes.set_xticks(range(len(views)), views, fontsize=8, rotation=90 if len(views) > 4 else 30)
        if len(rows) <= _MOST_NUMBERED_CLASSES:
            _write_numbers(axes, drops[:, rows].T, bound)
    figure.colorbar(image, ax=grid, shrink=0.8, aspect=40, label="drop in recall")
    return figure


def _write_numbers(axes: Any, values: npt.NDArray[np.float64], bound: float) -> None:
    for (row, column), value in np.ndenumerate(values):
        if value == value:
            colour = "white" if abs(value) > 0.6 * bound else "black"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=6.5, color=colour)
