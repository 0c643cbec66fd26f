"""How much of the drop tuning gives back, view by view."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING

from bench.figures.curves import Measured
from bench.figures.lettering import plain
from bench.figures.style import MOST_COLOURS, add_legend, finish, first_of, look, new_panels, nothing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_VIEWS = 24
_BARS = 0.8  # of the distance between two views
_LEVEL_NAMES = 4
_LOWEST = -1.0  # that is drawn: as much lost again as had been; a small drop makes shares of any size
_ON_WHITE = {"facecolor": "white", "linewidth": 0, "pad": 0.5}


def recovered_shares(shares: Mapping[str, Mapping[str, Measured]], views: Sequence[str]) -> "Figure":
    """The share of the drop that is recovered, a bar per encoder in each view, with its interval.

    Bars that end below -1 are cut there, and their value is written at the cut.

    Args:
        shares: By encoder and view, those that are known; the first `MOST_COLOURS` encoders are drawn.
        views: In order; the first `MOST_VIEWS` are drawn.
    """
    shown, seen = dict(list(shares.items())[:MOST_COLOURS]), views[:MOST_VIEWS]
    if not shown or not seen:
        return nothing("no share was recovered")
    figure, (axes,) = new_panels(1, 1, 2.5 + 1.3 * len(seen), 4.2)
    width, bars = _BARS / len(shown), []
    for place, by_view in enumerate(shown.values()):
        shift = (place - (len(shown) - 1) / 2) * width
        known = [(x + shift, by_view[view]) for x, view in enumerate(seen) if view in by_view]
        known = [(x, share) for x, share in known if isfinite(share.value)]
        x, values = [at for at, _ in known], [share.value for _, share in known]
        bars.append(axes.bar(x, values, width, color=look(place)["color"]))
        axes.vlines(
            x, [share.low for _, share in known], [share.high for _, share in known], color="black", linewidth=1
        )
        for at, value in zip(x, values, strict=True):
            if value < _LOWEST:
                said = f"\N{MINUS SIGN}{-value:.1f}"
                axes.text(at, _LOWEST, said, rotation=90, size="x-small", ha="center", va="bottom", bbox=_ON_WHITE)
    axes.set_ylim(bottom=max(_LOWEST, axes.get_ylim()[0]))
    axes.axhline(0, color="0.3", linewidth=0.8)
    axes.set_xlim(-0.5, len(seen) - 0.5)
    axes.set_xticks(range(len(seen)), [plain(view) for view in seen], rotation=30 if len(seen) > _LEVEL_NAMES else 0)
    axes.set_ylabel("recovered share beyond the control")
    axes.grid(axis="y", alpha=0.25)
    axes.set_axisbelow(True)
    add_legend(figure, bars, list(shown))
    parts = (first_of(len(shown), len(shares), "encoders"), first_of(len(seen), len(views), "views"))
    return finish(figure, " ".join(part for part in parts if part))
