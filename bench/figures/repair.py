"""The loss while images are repaired in the order of a map and in the reverse order."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bench.figures.lettering import plain
from bench.figures.style import COLOURS, add_legend, finish, first_of, new_panels, nothing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_MAPS = 12
_ACROSS = 4
_IN_ORDER, _REVERSE = "most first", "least first"


def repair_curves(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> "Figure":
    """A panel per map with both curves of the mean loss, the area between them filled; all have one scale.

    Args:
        curves: By map the loss in nats after evenly spaced steps, with the units of the largest value first and with
            those of the smallest first; the first `MOST_MAPS` are drawn.
    """
    shown = dict(list(curves.items())[:MOST_MAPS])
    if not shown:
        return nothing("no image was repaired")
    figure, grid = new_panels(len(shown), _ACROSS, 2.6, 2.4, sharex=True, sharey=True)
    lines = []
    for axes, (name, (most, least)) in zip(grid, shown.items(), strict=True):
        percent = [100 * step / (len(most) - 1) for step in range(len(most))]
        lines = [
            *axes.plot(percent, most, color=COLOURS[0], label=_IN_ORDER),
            *axes.plot(percent, least, color=COLOURS[1], linestyle="--", label=_REVERSE),
        ]
        axes.fill_between(percent, most, least, color=COLOURS[0], alpha=0.12, linewidth=0)
        axes.set_title(plain(name, 30), fontsize=10)
        axes.grid(alpha=0.25)
        place = axes.get_subplotspec()
        if place.is_first_col():
            axes.set_ylabel("loss (nats)")
        if place.is_last_row():
            axes.set_xlabel("put back (%)")
    add_legend(figure, lines, [_IN_ORDER, _REVERSE])
    return finish(figure, first_of(len(shown), len(curves), "maps"))
