"""Matplotlib figures of a run, drawn without pyplot's global state."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from bench.figures.style import draw_rates, plain
from datamodules.degradations import ORIGINAL, curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_NAMED_CLASSES = 40
_MOST_NUMBERED_CLASSES = 16
_MOST_VIEWS = 12
_TILE_INCHES = 1.35
_TITLE_CHARACTERS = 40


@dataclass(frozen=True)
class Flip:
    """One image whose predicted class changed.

    Attributes:
        index: Position in the source.
        pair: uint8 [H, W, 3], original and degraded image of `side_by_side`.
        label: True class, None where there is none.
        before: Predicted class of the original.
        after: Predicted class of the degraded view.
        confidences: Probabilities of these two predictions.
    """

    index: int
    pair: npt.NDArray[np.uint8]
    label: str | None
    before: str
    after: str
    confidences: tuple[float, float]


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
    for axes, (metric, title) in zip(figure.subplots(1, len(names), squeeze=False)[0], names.items(), strict=True):
        for codec, points in curves(metrics, "quality").items():
            values = [float(metrics[view][metric]) for _, view in points]
            axes.plot([quality for quality, _ in points], values, marker="o", label=plain(codec))
        axes.axhline(float(metrics[ORIGINAL][metric]), color="black", linestyle="--", label="original")
        axes.set(title=title, xlabel="quality", ylabel=title)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def encoded_bits(metrics: Mapping[str, Mapping[str, Tensor]]) -> dict[str, float]:
    """Bits per pixel of the encoded views."""
    return {view: float(values["bits_per_pixel"]) for view, values in metrics.items() if "bits_per_pixel" in values}


def rate_figure(metrics: Mapping[str, Mapping[str, Tensor]]) -> "Figure":
    """Precision against bits per pixel, a line per codec; the original is the dashed line."""
    from matplotlib.figure import Figure

    from bench.statistics.rate_curves import codec_curves  # imports statsmodels and pandas

    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.subplots()
    bits, unknown = encoded_bits(metrics), float("nan")
    points = {
        codec: [(bits[view], float(metrics[view]["precision"]), unknown, unknown) for view in views]
        for codec, views in codec_curves(bits).items()
    }
    draw_rates(axes, points, float(metrics[ORIGINAL]["precision"]))
    axes.set(title="precision", ylabel="precision")
    axes.legend(fontsize=8)
    return figure


def class_figure(metrics: Mapping[str, Mapping[str, Tensor]], class_names: Sequence[str]) -> "Figure":
    """Heat maps of recall and precision, classes by views; of many views the first."""
    from matplotlib.figure import Figure

    views = list(metrics)[:_MOST_VIEWS]
    size = (2.5 + 2 * len(views), 1.6 + 0.28 * min(len(class_names), _MOST_NAMED_CLASSES))
    figure = Figure(figsize=size, layout="constrained")
    for axes, metric in zip(figure.subplots(1, 2), ["recall", "precision"], strict=True):
        values = np.stack([metrics[view][f"{metric}_per_class"].cpu().numpy() for view in views], axis=1)
        image = _heat_map(axes, values, class_names, views)
        axes.set_title(f"{metric} per class{_of(metrics)}")
    figure.colorbar(image, ax=figure.axes, shrink=0.8)
    return figure


def confusion_figure(metrics: Mapping[str, Mapping[str, Tensor]], class_names: Sequence[str]) -> "Figure":
    """Confusion matrices, a panel per view: share of each true class (row) predicted as each class (column).

    Of many views the first.
    """
    from matplotlib.figure import Figure

    views = list(metrics)[:_MOST_VIEWS]
    across = min(2, len(views))
    down = -(-len(views) // across)
    side = 0.42 * min(max(len(class_names), 6), _MOST_NAMED_CLASSES)
    figure = Figure(figsize=(side * across + 3, side * down + 2.5), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat[len(views) :]:
        axes.axis("off")
    for axes, view in zip(grid.flat, views, strict=False):
        counts = metrics[view]["confusion"].cpu().double().numpy()
        shares = counts / counts.sum(1, keepdims=True).clip(1)
        image = _heat_map(axes, shares, class_names, class_names, least=0.005)
        axes.set_title(view)
    figure.supxlabel(f"predicted{_of(metrics)}")
    figure.supylabel("true")
    figure.colorbar(image, ax=figure.axes, shrink=0.6)
    return figure


def _of(views: Collection[str]) -> str:
    return f" (the first {_MOST_VIEWS} of {len(views)} views)" if len(views) > _MOST_VIEWS else ""


def _heat_map(
    axes: Any, values: npt.NDArray[np.float64], rows: Sequence[str], columns: Sequence[str], least: float = 0
) -> Any:
    """An image of values in [0, 1] with names at its sides, and numbers in the cells of at least `least`."""
    image = axes.imshow(values, vmin=0, vmax=1, cmap="viridis", aspect="auto")
    for axis, names in [(axes.yaxis, rows), (axes.xaxis, columns)]:
        if len(names) <= _MOST_NAMED_CLASSES:
            axis.set_ticks(range(len(names)), [plain(name) for name in names])
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
        axes.imshow(flip.pair)
        truth = "" if flip.label is None else f"true: {flip.label}"
        before, after = f"{flip.before} {flip.confidences[0]:.2f}", f"{flip.after} {flip.confidences[1]:.2f}"
        separator = " " if len(before + after) <= _TITLE_CHARACTERS else "\n"
        title = f"#{flip.index} {truth}\n{before} \N{RIGHTWARDS ARROW}{separator}{after}"
        axes.set_title(plain(title), fontsize=7)
    return figure


def side_by_side(left: Tensor, right: Tensor, size: int = 192, gap: int = 8) -> npt.NDArray[np.uint8]:
    """Two images uint8 [3, H, W] of any size as tiles of one: uint8 [size, 2 * size + gap, 3]."""
    canvas = Image.new("RGB", (2 * size + gap, size), "white")
    for x, pixels in [(0, left), (size + gap, right)]:
        tile = Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())
        scale = size / max(tile.size)
        method = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
        tile = tile.resize((max(1, round(tile.width * scale)), max(1, round(tile.height * scale))), method)
        canvas.paste(tile, (x + (size - tile.width) // 2, (size - tile.height) // 2))
    return np.asarray(canvas)
