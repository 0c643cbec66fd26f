"""Quantisation tables beside the standard ones."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.figures.style import finish, new_panels, nothing, write_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from datamodules.degradations.quantisation import Quantisation

MOST_SCALES = 4


def table_pictures(tuned: Mapping[int, "Quantisation"], standard: Mapping[int, "Quantisation"], name: str) -> "Figure":
    """A row per scale: luma and chroma of the tuned tables, then those of the standard ones, with their steps.

    Args:
        tuned: By scale; the first `MOST_SCALES`, from the largest on, are drawn.
        standard: By scale, those of `tuned` at least.
        name: Of the tuned tables.
    """
    from matplotlib.colors import LogNorm

    scales = sorted(tuned, reverse=True)[:MOST_SCALES]
    if not scales:
        return nothing("there are no tables")
    figure, grid = new_panels(4 * len(scales), 4, 2.6, 2.7)
    panels = iter(grid)
    for scale in scales:
        for title, tables in ((name, tuned[scale]), ("standard", standard[scale])):
            for plane in ("luma", "chroma"):
                axes = next(panels)
                _draw(axes, np.array(getattr(tables, plane)).reshape(8, 8), LogNorm(1, 255))
                axes.set_title(f"{title}, {scale}: {plane}", fontsize=9)
    return finish(
        figure,
        "Steps by frequency: horizontal to the right, vertical downwards, the mean at the upper left; dark is coarse.",
    )


def _draw(axes: Any, steps: Any, scale: Any) -> None:
    write_numbers(axes, axes.imshow(steps, cmap="Blues", norm=scale), decimals=0)
    axes.set(xticks=[], yticks=[])
