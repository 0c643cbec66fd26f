"""How much of the drop tuning gives back: a row per encoder, a panel per view."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.figures.curves import Measured
from bench.figures.lettering import plain
from bench.figures.style import COLOURS, finish, first_of, new_panels, nothing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_VIEWS, MOST_ROWS = 24, 40
_ACROSS = 8
_PANEL_INCHES, _ROW_INCHES = 1.6, 0.24
_LABEL_CHARACTERS = 44
_LOWEST, _HIGHEST = -0.5, 1.5  # that are drawn; a small drop makes shares of any size


def recovered_shares(shares: Mapping[str, Mapping[str, Measured]], views: Sequence[str]) -> "Figure":
    """The share of the drop that is recovered, a point with its interval for each encoder and view.

    Encoders that recover most on average come first. What lies below -0.5 or above 1.5 is a triangle there beside its
    value, and intervals end there.

    Args:
        shares: By encoder and view, those that are known; the first `MOST_ROWS` encoders are drawn.
        views: In order; the first `MOST_VIEWS` are drawn.
    """
    seen = views[:MOST_VIEWS]
    known = {
        encoder: {view: by_view[view] for view in seen if view in by_view and isfinite(by_view[view].value)}
        for encoder, by_view in shares.items()
    }
    ranked = sorted((encoder for encoder in known if known[encoder]), key=lambda encoder: -_mean(known[encoder]))
    shown = ranked[:MOST_ROWS]
    if not shown:
        return nothing("no share was recovered")
    height = 0.6 + _ROW_INCHES * len(shown)
    figure, panels = new_panels(len(seen), _ACROSS, _PANEL_INCHES, height, sharex=True, sharey=True)
    for view, axes in zip(seen, panels, strict=True):
        axes.set_title(plain(view), fontsize=9)
        for row in range(0, len(shown), 2):
            axes.axhspan(row - 0.5, row + 0.5, color="0.95", linewidth=0, zorder=0)
        for mark, width in ((0, 1.0), (1, 0.6)):
            axes.axvline(mark, color="0.4", linewidth=width, zorder=1)
        for row, encoder in enumerate(shown):
            if view in known[encoder]:
                _draw(axes, row, known[encoder][view])
    drawn = [share for encoder in shown for share in known[encoder].values()]
    ends = [end for share in drawn for end in (share.value, share.low, share.high) if isfinite(end)]
    panels[0].set_xlim(max(_LOWEST, min(0, *ends)) - 0.06, min(_HIGHEST, max(1, *ends)) + 0.06)
    panels[0].set_ylim(len(shown) - 0.5, -0.5)
    panels[0].set_yticks(range(len(shown)), [plain(encoder, _LABEL_CHARACTERS) for encoder in shown], fontsize=8)
    for axes in panels:
        axes.tick_params(axis="x", labelsize=8)
        axes.tick_params(axis="y", length=0)
    parts = (first_of(len(shown), len(ranked), "encoders"), first_of(len(seen), len(views), "views"))
    cut = any(not _LOWEST <= end <= _HIGHEST for end in ends)
    shortened = f"Intervals are cut at \N{MINUS SIGN}{-_LOWEST} and {_HIGHEST}." if cut else ""
    said = ("Share of the drop that is recovered beyond the control.", shortened, *parts)
    return finish(figure, " ".join(part for part in said if part))


def _mean(by_view: Mapping[str, Measured]) -> float:
    return float(np.mean(np.clip([share.value for share in by_view.values()], _LOWEST, _HIGHEST)))


def _draw(axes: Any, row: int, share: Measured) -> None:
    place, low, high = np.clip([share.value, share.low, share.high], _LOWEST, _HIGHEST)
    inside = place == share.value
    colour = COLOURS[0] if inside else COLOURS[1]
    if low < high:
        axes.hlines(row, low, high, color=colour, linewidth=1.2, zorder=2)
    if inside:
        axes.plot([place], [row], "o", color=colour, markersize=3.5, zorder=3)
        return
    below = share.value < _LOWEST
    axes.plot([place], [row], "<" if below else ">", color=colour, markersize=4, zorder=3)
    end, side = (max(place, high), "left") if below else (min(place, low), "right")
    said = f" {share.value:.1f} ".replace("-", "\N{MINUS SIGN}")
    axes.text(end if isfinite(end) else place, row, said, size="x-small", va="center", ha=side, color=colour)
