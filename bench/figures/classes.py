"""What happens to which class: heat maps of a share, or of the drop of one, classes by views."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.figures.lettering import plain
from bench.figures.style import MOST_NUMBERED, finish, first_of, name_cells, new_panels, nothing, wrapped, write_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_PANELS = 12
MOST_CLASSES = 40
MOST_VIEWS = 24
_PANELS_ACROSS = 3
_COLUMNS_ACROSS = 24
_CELL_INCHES, _BARE_CELL_INCHES = (0.62, 0.26), (0.36, 0.2)
_MOST_WITH_NUMBERS = 4  # panels
_LEAST_BOUND = 5  # points
_NAME_CHARACTERS = 24
_TICK_CHARACTERS = 12  # in an inch


@dataclass(frozen=True)
class ClassPanel:
    """Axes of the picture: a title, and values float [C, V] of classes and views, NaN where not measured."""

    title: str
    values: npt.NDArray[np.float64]


def class_maps(
    panels: Sequence[ClassPanel], class_names: Sequence[str], views: Sequence[str], label: str, *, drops: bool
) -> "Figure":
    """Heat maps with one colour scale, and their numbers where there are few of them.

    Of many classes those are drawn that lose most on average: the largest drops, or shares that fall most from those in
    the first view.

    Args:
        panels: The first `MOST_PANELS` are drawn.
        class_names: By class.
        views: By column; the first `MOST_VIEWS` are drawn.
        label: What the values are.
        drops: Whether they are drops, in points, whose colours differ by sign; else shares in [0, 1].
    """
    shown, names = list(panels[:MOST_PANELS]), [plain(view, _NAME_CHARACTERS) for view in views[:MOST_VIEWS]]
    if not shown or not names or not class_names:
        return nothing("no recall per class was measured")
    values = np.stack([panel.values[:, : len(names)] for panel in shown]).astype(np.float64)
    rows = _worst(values, drops=drops)
    bound = max(float(np.nanmax(np.abs(values), initial=0)), _LEAST_BOUND)
    colours = {"cmap": "RdBu_r", "vmin": -bound, "vmax": bound} if drops else {"cmap": "viridis", "vmin": 0, "vmax": 1}
    across = max(1, min(_PANELS_ACROSS, _COLUMNS_ACROSS // len(names)))
    numbered = len(shown) <= _MOST_WITH_NUMBERS and len(rows) <= MOST_NUMBERED
    wide, high = _CELL_INCHES if numbered else _BARE_CELL_INCHES
    width, height = max(2.2, wide * len(names)), 1.2 + high * len(rows)
    level = max(map(len, names)) * len(names) <= _TICK_CHARACTERS * width
    figure, grid = new_panels(len(shown), across, width, height)
    for place, (axes, panel) in enumerate(zip(grid, shown, strict=True)):
        image = axes.imshow(values[place][rows], aspect="auto", **colours)
        axes.set_title(wrapped(panel.title, int(12 * width), lines=3), fontsize=9)
        axes.set_yticks([])
        if place % across == 0:
            name_cells(axes, [plain(class_names[row], _NAME_CHARACTERS) for row in rows], "left", 8)
        name_cells(axes, names, "bottom", 8, rotation=0 if level else 90)
        if numbered:
            write_numbers(axes, image, decimals=1 if drops else 2)
    figure.colorbar(image, ax=grid, shrink=0.8, aspect=30, label=label)
    told, most = "", "lose most" if drops else f"fall most from {names[0]}"
    if len(rows) < len(class_names):
        told = f"The {len(rows)} of {len(class_names):,} classes that {most} on average."
    blank = "Blank cells: not measured." if np.isnan(values[:, rows]).any() else ""
    parts = (told, blank, first_of(len(names), len(views), "views"), first_of(len(shown), len(panels), "panels"))
    return finish(figure, " ".join(part for part in parts if part))


def _worst(values: npt.NDArray[np.float64], *, drops: bool) -> list[int]:
    """The classes to draw, of values [P, C, V]: all in order, or of many the worst, the worst first."""
    if values.shape[1] <= MOST_CLASSES:
        return list(range(values.shape[1]))
    lost = values if drops else values[..., :1] - values
    known = np.isfinite(lost)
    total, count = np.where(known, lost, 0).sum((0, 2)), known.sum((0, 2))
    mean = np.divide(total, count, out=np.full(len(total), -np.inf), where=count > 0)
    order: list[int] = np.argsort(-mean, kind="stable")[:MOST_CLASSES].tolist()
    return order
