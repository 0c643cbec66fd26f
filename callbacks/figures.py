"""Matplotlib figures of a run, drawn without pyplot's global state."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_NAMED_CLASSES = 40
_MOST_NUMBERED_CLASSES = 16
_TILE_INCHES = 1.35
_TITLE_CHARACTERS = 40


@dataclass(frozen=True)
class Flip:
    """One image whose predicted class changed.

    Attributes:
        index: Position in the source.
        original: uint8 [3, H, W].
        degraded: uint8 [3, H, W].
        label: True class, None where there is none.
        before: Predicted class of the original.
        after: Predicted class of the degraded view.
        confidences: Probabilities of these two predictions.
    """

    index: int
    original: Tensor
    degraded: Tensor
    label: str | None
    before: str
    after: str
    confidences: tuple[float, float]


def quality_curves(views: Sequence[str]) -> dict[str, list[tuple[int, str]]]:
    """Views that differ in quality only: (quality, view) in increasing quality, by codec with its other parameters.

    >>> quality_curves(["original", "jpeg-75", "jpeg-50", "jpeg-50-444"])
    {'jpeg': [(50, 'jpeg-50'), (75, 'jpeg-75')], 'jpeg-444': [(50, 'jpeg-50-444')]}
    """
    curves: dict[str, list[tuple[int, str]]] = {}
    for view in views:
        if match := re.fullmatch(r"([a-z0-9]+)-(\d+)(-[^+]*)?", view):
            codec, quality, rest = match.groups()
            curves.setdefault(codec + (rest or ""), []).append((int(quality), view))
    return {codec: sorted(points) for codec, points in curves.items()}


def to_pixels(figure: "Figure") -> npt.NDArray[np.uint8]:
    """Draw a figure: uint8 [H, W, 3]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def quality_figure(metrics: Mapping[str, Mapping[str, Tensor]], names: Mapping[str, str]) -> "Figure":
    """Metrics against quality, a panel per metric and a line per codec; the original is the dashed line.

    Args:
        metrics: Scalars by view and metric.
        names: Panel title by metric.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * len(names), 4), layout="constrained")
    curves = quality_curves(list(metrics))
    for axes, (metric, title) in zip(figure.subplots(1, len(names), squeeze=False)[0], names.items(), strict=True):
        for codec, points in curves.items():
            values = [float(metrics[view][metric]) for _, view in points]
            axes.plot([quality for quality, _ in points], values, marker="o", label=codec)
        axes.axhline(float(metrics["original"][metric]), color="black", linestyle="--", label="original")
        axes.set(title=title, xlabel="quality", ylabel=title)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def class_figure(metrics: Mapping[str, Mapping[str, Tensor]], class_names: Sequence[str]) -> "Figure":
    """Heat maps of recall and precision, classes by views."""
    from matplotlib.figure import Figure

    views = list(metrics)
    size = (2.5 + 2 * len(views), 1.6 + 0.28 * min(len(class_names), _MOST_NAMED_CLASSES))
    figure = Figure(figsize=size, layout="constrained")
    for axes, metric in zip(figure.subplots(1, 2), ["recall", "precision"], strict=True):
        values = np.stack([metrics[view][f"{metric}_per_class"].cpu().numpy() for view in views], axis=1)
        image = _heat_map(axes, values, class_names, views)
        axes.set_title(f"{metric} per class")
    figure.colorbar(image, ax=figure.axes, shrink=0.8)
    return figure


def confusion_figure(metrics: Mapping[str, Mapping[str, Tensor]], class_names: Sequence[str]) -> "Figure":
    """Confusion matrices, a panel per view: share of each true class (row) predicted as each class (column)."""
    from matplotlib.figure import Figure

    across = min(2, len(metrics))
    down = -(-len(metrics) // across)
    side = 0.42 * min(max(len(class_names), 6), _MOST_NAMED_CLASSES)
    figure = Figure(figsize=(side * across + 3, side * down + 2.5), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat[len(metrics) :]:
        axes.axis("off")
    for axes, (view, values) in zip(grid.flat, metrics.items(), strict=False):
        counts = values["confusion"].cpu().double().numpy()
        shares = counts / counts.sum(1, keepdims=True).clip(1)
        image = _heat_map(axes, shares, class_names, class_names, least=0.005)
        axes.set_title(view)
    figure.supxlabel("predicted")
    figure.supylabel("true")
    figure.colorbar(image, ax=figure.axes, shrink=0.6)
    return figure


def _heat_map(
    axes: Any, values: npt.NDArray[np.float64], rows: Sequence[str], columns: Sequence[str], least: float = 0
) -> Any:
    """An image of values in [0, 1] with names at its sides, and numbers in the cells of at least `least`."""
    image = axes.imshow(values, vmin=0, vmax=1, cmap="viridis", aspect="auto")
    for axis, names in [(axes.yaxis, rows), (axes.xaxis, columns)]:
        if len(names) <= _MOST_NAMED_CLASSES:
            axis.set_ticks(range(len(names)), names)
    axes.tick_params(axis="x", rotation=90 if len(columns) > 5 else 0)
    if len(rows) <= _MOST_NUMBERED_CLASSES:
        for (row, column), value in np.ndenumerate(values):
            colour = "black" if value > 0.6 else "white"
            text = f"{value:.2f}" if value >= least else ""
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=7)
    return image


def flip_gallery(flips: Sequence[Flip], view: str) -> "Figure":
    """Pairs of original and degraded image, with what the prediction changed from and to."""
    from matplotlib.figure import Figure

    per_row = min(4, max(len(flips), 1))
    lines = -(-len(flips) // per_row)
    size = (2 * _TILE_INCHES * per_row + 0.4, (_TILE_INCHES + 0.75) * max(lines, 1) + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(f"original | {view}: predictions that changed" if flips else f"{view}: no prediction changed")
    if not flips:
        return figure
    grid = figure.subplots(lines, per_row, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, flip in zip(grid.flat, flips, strict=False):
        axes.imshow(_side_by_side(flip.original, flip.degraded))
        truth = "" if flip.label is None else f"true: {flip.label}"
        before, after = f"{flip.before} {flip.confidences[0]:.2f}", f"{flip.after} {flip.confidences[1]:.2f}"
        separator = " " if len(before + after) <= _TITLE_CHARACTERS else "\n"
        title = f"#{flip.index} {truth}\n{before} \N{RIGHTWARDS ARROW}{separator}{after}"
        axes.set_title(title, fontsize=7)
    return figure


def _side_by_side(left: Tensor, right: Tensor, size: int = 192, gap: int = 8) -> npt.NDArray[np.uint8]:
    canvas = Image.new("RGB", (2 * size + gap, size), "white")
    for x, pixels in [(0, left), (size + gap, right)]:
        tile = Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())
        scale = size / max(tile.size)
        method = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
        tile = tile.resize((max(1, round(tile.width * scale)), max(1, round(tile.height * scale))), method)
        canvas.paste(tile, (x + (size - tile.width) // 2, (size - tile.height) // 2))
    return np.asarray(canvas)
