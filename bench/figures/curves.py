"""What is left at which setting: lines over quality, and over bits per pixel."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from math import inf, isfinite, log2, nan
from typing import TYPE_CHECKING, Any

from bench.figures.style import GREY, add_legend, finish, first_of, look, new_card, new_panels, nothing, spread, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_PANELS = 12
_ACROSS = 3
_PANEL_INCHES = (4.6, 4.0)
_CARD_HEIGHT = 3.3
_LEVEL_TICKS = 6
_MOST_TICKS = 20
_BITS_TICKS, _CARD_TICKS = 8, 4
_ORIGINAL, _PUBLISHED = "original", "published"
_PUBLISHED_LOOK = {"color": "0.6", "linewidth": 0.8, "marker": "_", "markersize": 6, "zorder": 2}


@dataclass(frozen=True)
class Measured:
    """A value, the ends of its interval, NaN where it has none, and what stands beside its point."""

    value: float
    low: float = nan
    high: float = nan
    name: str = ""


@dataclass(frozen=True)
class Line:
    """A line of a panel.

    Attributes:
        label: What the legend says; lines of one label have one look.
        points: (x, what was measured there) in increasing x.
        original: Of the original, which has no x; it is drawn where x is a quality.
        look: Of `bench.figures.style.look` or `codec_looks`.
    """

    label: str
    points: Sequence[tuple[float, Measured]]
    original: Measured | None = None
    look: Mapping[str, Any] = field(default_factory=lambda: look(0))


@dataclass(frozen=True)
class Panel:
    """Axes of a picture.

    Attributes:
        title: Above it.
        lines: On it.
        quantity: What y is; panels of one quantity share its scale and stand together.
        original: The original of all lines, a dotted line.
        published: Curves in print, (x, precision) with the original's x as infinity; thin and grey, without intervals.
    """

    title: str
    lines: Sequence[Line]
    quantity: str = "precision"
    original: Measured | None = None
    published: Sequence[Sequence[tuple[float, float]]] = ()


def quality_curves(panels: Sequence[Panel]) -> "Figure":
    """Lines over quality, one scale per panel; the original stands at the right of its highest quality.

    Args:
        panels: The first `MOST_PANELS` are drawn.
    """
    known = [panel for panel in panels if any(_finite(line) for line in panel.lines)]
    shown = known[:MOST_PANELS]
    if not shown:
        return nothing("no view has a quality")
    figure, grid = _panels(shown)
    for panel, axes in zip(shown, grid, strict=True):
        _draw_qualities(axes, panel)
    best = {line.label: line.original.value for panel in shown for line in panel.lines if line.original}
    _legend(figure, grid, sorted(_labels(shown), key=lambda label: -best.get(label, inf)))
    return finish(figure, first_of(len(shown), len(known), "panels"))


def rate_curves(panels: Sequence[Panel]) -> "Figure":
    """Lines over bits per pixel on a logarithmic scale, a panel per encoder and a line per codec.

    Args:
        panels: The first `MOST_PANELS` are drawn; points of no bits are not.
    """
    known = [panel for panel in map(_encoded, panels) if panel.lines]
    shown = known[:MOST_PANELS]
    if not shown:
        return nothing("no view was encoded")
    figure, grid = _panels(shown)
    bits = sorted({x for panel in shown for line in panel.lines for x, _ in line.points})
    for panel, axes in zip(shown, grid, strict=True):
        _draw_rates(axes, panel, bits)
    _legend(figure, grid, _labels(shown))
    return finish(figure, first_of(len(shown), len(known), "encoders"))


def quality_card(panel: Panel, statement: str) -> "Figure":
    """A panel of `quality_curves` alone, legible as a thumbnail.

    Args:
        panel: With a point at least.
        statement: Its title, in place of the panel's.
    """
    figure, axes = new_card(statement, _CARD_HEIGHT)
    _draw_qualities(axes, panel)
    axes.set_ylabel(panel.quantity)
    axes.grid(alpha=0.25)
    return finish(figure)


def rate_card(panel: Panel, statement: str) -> "Figure":
    """A panel of `rate_curves` alone, legible as a thumbnail; points have no names.

    Args:
        panel: With a point of more than 0 bits at least.
        statement: Its title, in place of the panel's.
    """
    panel = _encoded(panel)
    lines = [replace(line, points=[(x, replace(one, name="")) for x, one in line.points]) for line in panel.lines]
    figure, axes = new_card(statement, _CARD_HEIGHT + 0.1 * len(lines))
    bits = sorted({x for line in lines for x, _ in line.points})
    _draw_rates(axes, replace(panel, lines=lines), bits)
    _label_bits(axes, bits, _CARD_TICKS)
    axes.set_ylabel(panel.quantity)
    axes.grid(alpha=0.25)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)  # beside it there is no room
    return finish(figure)


def _draw_qualities(axes: Any, panel: Panel) -> None:
    qualities = sorted({x for line in panel.lines for x, _ in _finite(line)})
    step = (qualities[-1] - qualities[0]) / (len(qualities) - 1) if len(qualities) > 1 else 1
    far = qualities[-1] + step
    for line in panel.lines:
        end = [] if line.original is None else [(far, line.original)]
        _draw(axes, replace(line, points=[*line.points, *end]))
    for published in panel.published:
        x, y = zip(*((min(at, far), value) for at, value in published), strict=True)
        axes.plot(x, y, label=_PUBLISHED, **_PUBLISHED_LOOK)
    axes.axvline(far - step / 2, color="0.8", linewidth=0.8)
    ticks = spread(qualities, _MOST_TICKS)
    axes.set_xticks([*ticks, far], [*(f"{value:g}" for value in ticks), _ORIGINAL])
    axes.tick_params(axis="x", rotation=90 if len(ticks) > _LEVEL_TICKS else 0)
    axes.set_xlabel("quality")


def _draw_rates(axes: Any, panel: Panel, bits: Sequence[float]) -> None:
    axes.set_xscale("log", base=2)
    for line in panel.lines:
        _draw(axes, line)
    if panel.original is not None and isfinite(panel.original.value):
        axes.axhline(panel.original.value, color="black", linestyle=":", linewidth=1, label=_ORIGINAL)
    _label_bits(axes, bits)


def _encoded(panel: Panel) -> Panel:
    """Its lines with their points of more than 0 bits, where they have any."""
    lines = [replace(line, points=[point for point in _finite(line) if point[0] > 0]) for line in panel.lines]
    return replace(panel, lines=[line for line in lines if line.points])


def _panels(panels: list[Panel]) -> tuple["Figure", list[Any]]:
    """Axes by panel; a quantity begins a row where there are several."""
    runs = [len(list(same)) for _, same in groupby(panels, key=lambda panel: panel.quantity)]
    across = 2 if runs == [4] else min(max(runs), _ACROSS)
    rows = [-(-run // across) for run in runs]
    figure, every = new_panels(sum(rows) * across, across, *_PANEL_INCHES)
    used, start = [], 0
    for run, down in zip(runs, rows, strict=True):
        used += every[start : start + run]
        for axes in every[start + run : start + down * across]:
            axes.axis("off")
        start += down * across
    first: dict[str, Any] = {}
    for panel, axes in zip(panels, used, strict=True):
        if panel.quantity in first:
            axes.sharey(first[panel.quantity])
        first.setdefault(panel.quantity, axes)
        axes.set_title(wrapped(panel.title, 48), fontsize=10)
        axes.grid(alpha=0.25)
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel(panel.quantity)
    return figure, used


def _labels(panels: Iterable[Panel]) -> list[str]:
    """The labels of the lines that are drawn, each once, in order."""
    return list(dict.fromkeys(line.label for panel in panels for line in panel.lines if _finite(line)))


def _finite(line: Line) -> list[tuple[float, Measured]]:
    return [(x, one) for x, one in line.points if isfinite(x) and isfinite(one.value)]


def _draw(axes: Any, line: Line) -> None:
    """Points, straight lines between them, and intervals where something was measured and nowhere else."""
    points = _finite(line)
    if not points:
        return
    x = [at for at, _ in points]
    axes.plot(x, [one.value for _, one in points], label=line.label, **line.look)
    axes.vlines(
        x, [one.low for _, one in points], [one.high for _, one in points],
        color=line.look["color"], linewidth=2.5, alpha=0.35, zorder=line.look["zorder"],
    )  # fmt: skip
    where = {"textcoords": "offset points", "xytext": (5, -9), "fontsize": 7, "color": line.look["color"]}
    for at, one in points:
        if one.name:
            axes.annotate(one.name, (at, one.value), **where)


def _label_bits(axes: Any, bits: Sequence[float], most: int = _BITS_TICKS) -> None:
    """Ticks at measured settings, so many as have room."""
    ticks = [2**place for place in spread([log2(value) for value in bits], most)]
    axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
    axes.set_xticks(bits, minor=True, labels=[""] * len(bits))
    axes.set_xlabel("bits per pixel")


def _legend(figure: "Figure", grid: Iterable[Any], order: Sequence[str]) -> None:
    """Lines in this order, but the grey ones last, and then what else is on the panels."""
    drawn = {line.get_label(): line for axes in grid for line in axes.get_lines()}
    others = {label: drawn[label] for label in (_ORIGINAL, _PUBLISHED) if label in drawn and label not in order}
    order = sorted((label for label in order if label in drawn), key=lambda label: drawn[label].get_color() == GREY)
    add_legend(figure, [drawn[label] for label in order], order, **others)
