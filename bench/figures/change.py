"""What tuning does to the attributions of the compression error, image by image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.figures.lettering import plain
from bench.figures.style import add_legend, finish, look, new_panels, nothing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PANEL_INCHES = (3.4, 3.2)


@dataclass(frozen=True)
class Change:
    """A quantity in nats of the attributions of the same images before and after tuning.

    Attributes:
        label: Of the tuned encoder.
        view: Name.
        quantity: What it is called.
        before: Of the original encoder, float64 [N].
        after: Of the tuned one, float64 [N].
    """

    label: str
    view: str
    quantity: str
    before: npt.NDArray[np.float64]
    after: npt.NDArray[np.float64]


def change_scatter(changes: Sequence[Change]) -> "Figure":
    """A point per image, after over before: a row per quantity and a column per view."""
    if not changes:
        return nothing("no image was explained before and after")
    places = {label: place for place, label in enumerate(dict.fromkeys(change.label for change in changes))}
    views = list(dict.fromkeys(change.view for change in changes))
    panels = [(quantity, view) for quantity in dict.fromkeys(change.quantity for change in changes) for view in views]
    figure, grid = new_panels(len(panels), len(views), *_PANEL_INCHES)
    handles = {}
    for (quantity, view), axes in zip(panels, grid, strict=True):
        for change in changes:
            if (change.quantity, change.view) == (quantity, view):
                style = {key: value for key, value in look(places[change.label]).items() if key in ("color", "marker")}
                handles[change.label] = axes.scatter(change.before, change.after, s=12, alpha=0.6, **style)
        axes.axline((0, 0), slope=1, color="0.5", linewidth=0.8)
        axes.set(xlabel=f"{quantity} before (nats)", ylabel=f"{quantity} after (nats)", title=plain(view))
        axes.grid(alpha=0.25)
    add_legend(figure, [handles[label] for label in places], list(places))
    return finish(figure)
