"""One image's attributions, laid out as the figures of Chen, Namboodiri and Padget (2023)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.figures.lettering import plain
from bench.figures.style import finish, first_of, new_panels, nothing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bench.attribution.overlay import Overlay

MOST_VIEWS = 24
_TILE_INCHES = (2.3, 2.5)
_LINE_CHARACTERS = 40


@dataclass(frozen=True)
class AttributedView:
    """A column of the picture.

    Attributes:
        name: Of the view.
        image: uint8 [3, S, S], as the encoder sees it.
        predicted: Class.
        score: Probability of the true class in [0, 1].
        total: Sum of the attribution in nats; None where there is none.
        attribution: float [3, S, S], positive where compression raised the loss; None where there is none.
    """

    name: str
    image: npt.NDArray[np.uint8]
    predicted: str
    score: float
    total: float | None = None
    attribution: npt.NDArray[np.floating] | None = None


def attribution_picture(title: str, views: Sequence[AttributedView], overlay: "Overlay", baseline: str) -> "Figure":
    """A column per view; the images in the first row, then a row per polarity.

    Args:
        title: Which image it is.
        views: The first `MOST_VIEWS` are drawn.
        overlay: How attributions are drawn; it also knows what the colours mean, which the baseline's column says.
        baseline: The view where the attributions start.
    """
    from bench.attribution.overlay import POLARITIES

    shown = views[:MOST_VIEWS]
    if not shown:
        return nothing(f"{plain(title)}: no view")
    figure, grid = new_panels(len(shown) * (1 + len(POLARITIES)), len(shown), *_TILE_INCHES)
    figure.suptitle(plain(title, 30 + 20 * len(shown)), fontsize=11)
    for axes in grid:
        axes.axis("off")
    for column, view in enumerate(shown):
        first, *others = grid[column :: len(shown)]
        first.imshow(view.image.transpose(1, 2, 0))
        first.set_title("\n".join(plain(line, _LINE_CHARACTERS) for line in _lines(view)), fontsize=8)
        for axes, polarity in zip(others, POLARITIES, strict=True):
            if view.name == baseline:
                _write(axes, f"{polarity}\n\n{_legend(overlay.legend(polarity), mixed=polarity == 'both')}")
            elif view.attribution is not None and np.isfinite(view.attribution).all():
                axes.imshow(overlay.draw(view.image, view.attribution, polarity).transpose(1, 2, 0))
            elif view.attribution is not None:
                _write(axes, "the attribution\nis not finite")
    name = plain(baseline)
    caption = f"Score: probability of the true class. IG: sum of the attribution of loss(view) - loss({name}), nats."
    return finish(figure, f"{caption} {first_of(len(shown), len(views), 'views')}".rstrip())


def _lines(view: AttributedView) -> list[str]:
    lines = [view.name, f"predicted: {view.predicted}", f"score {view.score:.4f}"]
    return lines if view.total is None else [*lines, f"IG {view.total:+.4f}"]


def _legend(meaning: str, *, mixed: bool) -> str:
    text = meaning.replace("; ", "\n\n").replace(": ", ":\n")
    return f"{text}\n\nmixed:\nit differs between colour channels" if mixed else text


def _write(axes: Any, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=9, transform=axes.transAxes)
