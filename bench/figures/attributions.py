"""The picture of one image's attributions, laid out as the figures of Chen, Namboodiri and Padget (2023)."""

from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.attribution.explanations import Explanation
from bench.attribution.overlay import POLARITIES, Overlay

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TILE_INCHES = 2.3
_TITLE_INCHES = 0.8
_LINE_CHARACTERS = 40


def attribution_figure(
    explanation: Explanation,
    images: Mapping[str, npt.NDArray[np.uint8]],
    attributions: Mapping[str, npt.NDArray[np.float32]],
    class_names: Sequence[str],
    overlay: Overlay,
    baseline: str,
) -> "Figure":
    """A column per view; the images in the first row, then a row per polarity.

    Args:
        explanation: What the titles say.
        images: uint8 [3, S, S] by view, as the encoder sees them.
        attributions: float [3, S, S] by degraded view.
        class_names: By label.
        overlay: How attributions are drawn; it also knows what the colours mean, which the first column says.
        baseline: Where the attributions start.
    """
    from matplotlib.figure import Figure

    rows = 1 + len(POLARITIES)
    size = (_TILE_INCHES * len(images), _TILE_INCHES * rows + _TITLE_INCHES + 0.4)
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    title = f"image {explanation.index}, true class: {class_names[explanation.label]}"
    figure.suptitle(title, fontsize=11, parse_math=False)  # a class name may hold a dollar sign
    grid = figure.subplots(rows, len(images), squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for column, (view, image) in enumerate(images.items()):
        grid[0, column].imshow(image.transpose(1, 2, 0))
        grid[0, column].set_title(_title(explanation, view, class_names), fontsize=8, parse_math=False)
        if view not in attributions:
            continue
        for axes, polarity in zip(grid[1:, column], POLARITIES, strict=True):
            axes.imshow(overlay.draw(image, attributions[view], polarity).transpose(1, 2, 0))
    legend_column = list(images).index(baseline)
    for axes, polarity in zip(grid[1:, legend_column], POLARITIES, strict=True):
        meaning = overlay.legend(polarity).replace("; ", "\n\n").replace(": ", ":\n")
        if polarity == "both":
            meaning += "\n\nmixed:\nit differs between colour channels"
        axes.text(0.5, 0.5, f"{polarity}\n\n{meaning}", ha="center", va="center", fontsize=9, transform=axes.transAxes)
    caption = f"score: probability of the true class; IG: sum of the attribution of loss(view) - loss({baseline}), nats"
    figure.supxlabel(caption, fontsize=8)
    return figure


def _title(explanation: Explanation, view: str, class_names: Sequence[str]) -> str:
    lines = [view, f"predicted: {class_names[explanation.predictions[view]]}", f"score {explanation.scores[view]:.4f}"]
    if view in explanation.views:
        lines.append(f"IG {explanation.views[view].total:+.4f}")
    return "\n".join(shorten(line, _LINE_CHARACTERS, placeholder="\N{HORIZONTAL ELLIPSIS}") for line in lines)
