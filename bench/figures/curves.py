"""What is left at which setting: lines over quality, and over bits per pixel."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import ceil, floor, inf, isfinite, log2, nan
from typing import TYPE_CHECKING, Any

from bench.figures.lettering import plain
from bench.figures.style import MOST_COLOURS, add_legend, finish, first_of, look, new_panels, nothing, spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_PANELS = 12
_ACROSS = 3
_PANEL_INCHES = (4.6, 4.0)
_LEVEL_TICKS = 6
_MOST_TICKS = 20


@dataclass(frozen=True)
class Measured:
    """A value and the ends of its interval, NaN where it has none."""

    value: float
    low: float = nan
    high: float = nan


@dataclass(frozen=True)
class Line:
    """A line of a panel.

    Attributes:
        label: Lines of one label look alike in all panels.
        points: (x, what was measured there) in increasing x.
        original: Of the original, which has no x; it is drawn where x is a quality.
    """

    label: str
    points: Sequence[tuple[float, Measured]]
    original: Measured | None = None


@dataclass(frozen=True)
class Panel:
    """Axes of a picture.

    Attributes:
        title: Above it.
        lines: On it.
        quantity: What y is; panels of one quantity share its scale and stand together.
        original: The original of all lines, a dashed line.
    """

    title: str
    lines: Sequence[Line]
    quantity: str = "precision"
    original: Measured | None = None


def quality_curves(panels: Sequence[Panel]) -> "Figure":
    """Lines over quality, a panel per codec; the original stands at the right of its highest quality.

    Args:
        panels: The first `MOST_PANELS` are drawn.
    """
    known = [panel for panel in panels if any(_finite(line) for line in panel.lines)]
    shown = known[:MOST_PANELS]
    if not shown:
        return nothing("no view has a quality")
    figure, grid = _panels(shown)
    places = _places(shown)
    for panel, axes in zip(shown, grid, strict=True):
        qualities = sorted({x for line in panel.lines for x, _ in _finite(line)})
        step = (qualities[-1] - qualities[0]) / (len(qualities) - 1) if len(qualities) > 1 else 1
        far = qualities[-1] + step
        for line in panel.lines:
            end = [] if line.original is None else [(far, line.original)]
            _draw(axes, Line(line.label, [*line.points, *end]), places[line.label])
        axes.axvline(far - step / 2, color="0.8", linewidth=0.8)
        ticks = spread(qualities, _MOST_TICKS)
        axes.set_xticks([*ticks, far], [*(f"{value:g}" for value in ticks), "original"])
        axes.tick_params(axis="x", rotation=90 if len(ticks) > _LEVEL_TICKS else 0)
        axes.set_xlabel("quality")
    best = {line.label: line.original.value for panel in shown for line in panel.lines if line.original}
    _legend(figure, grid, dict(sorted(places.items(), key=lambda place: -best.get(place[0], inf))))
    return finish(figure, first_of(len(shown), len(known), "codecs"))


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
    places, others = _places(shown), {}
    bits = sorted({x for panel in shown for line in panel.lines for x, _ in line.points})
    for panel, axes in zip(shown, grid, strict=True):
        axes.set_xscale("log", base=2)
        for line in panel.lines:
            _draw(axes, line, places[line.label])
        if panel.original is not None and isfinite(panel.original.value):
            others["original"] = axes.axhline(
                panel.original.value, color="black", linestyle="--", linewidth=1, label="original"
            )
        _label_bits(axes, bits)
    _legend(figure, grid, places, **others)
    return finish(figure, first_of(len(shown), len(known), "encoders"))


def _encoded(panel: Panel) -> Panel:
    """Its lines with their points of more than 0 bits, where they have any."""
    lines = [Line(line.label, [point for point in _finite(line) if point[0] > 0]) for line in panel.lines]
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
        axes.set_title(plain(panel.title, 48), fontsize=10)
        axes.grid(alpha=0.25)
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel(panel.quantity)
    return figure, used


def _places(panels: Iterable[Panel]) -> dict[str, int]:
    labels = dict.fromkeys(line.label for panel in panels for line in panel.lines if _finite(line))
    return {label: place for place, label in enumerate(labels)}


def _finite(line: Line) -> list[tuple[float, Measured]]:
    return [(x, one) for x, one in line.points if isfinite(x) and isfinite(one.value)]


def _draw(axes: Any, line: Line, place: int) -> None:
    points = _finite(line)
    if not points:
        return
    x = [at for at, _ in points]
    style = look(place)
    axes.plot(x, [one.value for _, one in points], label=line.label, **style)
    low, high = [one.low for _, one in points], [one.high for _, one in points]
    if len(points) > 1:
        axes.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)
    else:  # a band of no width is not seen
        axes.vlines(x, low, high, color=style["color"], linewidth=1)


def _label_bits(axes: Any, bits: Sequence[float]) -> None:
    """Powers of two, or the measured settings where not even two powers are among them."""
    low, high = log2(bits[0]), log2(bits[-1])
    powers = range(ceil(low), floor(high) + 1)
    ticks = spread(powers, 12) if len(powers) > 1 else spread([log2(value) for value in bits], 8)
    axes.set_xticks([2**tick for tick in ticks], [f"{2**tick:.3g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("bits per pixel")


def _legend(figure: "Figure", grid: Iterable[Any], places: Mapping[str, int], **others: Any) -> None:
    """Lines in the order of `places`, but the grey ones last, and then others by name."""
    lines = {line.get_label(): line for axes in grid for line in axes.get_lines()}
    order = sorted(places, key=lambda label: places[label] >= MOST_COLOURS)
    add_legend(figure, [lines[label] for label in order], order, **others)
