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
_LOWEST = -0.5  # that is drawn: half as much lost again as had been; a small drop makes shares of any size


def recovered_shares(shares: Mapping[str, Mapping[str, Measured]], views: Sequence[str]) -> "Figure":
    """The share of the drop that is recovered, a point with its interval for each encoder and view.

    Encoders that recover most on average come first. What lies below -0.5 is a triangle there beside its value.

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
    ends = [end for by_view in known.values() for share in by_view.values() for end in (share.value, share.low)]
    panels[0].set_xlim(left=max(_LOWEST, min(0, *filter(isfinite, ends))) - 0.06)
    panels[0].set_ylim(len(shown) - 0.5, -0.5)
    panels[0].set_yticks(range(len(shown)), [plain(encoder, _LABEL_CHARACTERS) for encoder in shown], fontsize=8)
    for axes in panels:
        axes.tick_params(axis="x", labelsize=8)
        axes.tick_params(axis="y", length=0)
    parts = (first_of(len(shown), len(ranked), "encoders"), first_of(len(seen), len(views), "views"))
    said = ("Share of the drop that is recovered beyond the control.", *parts)
    return finish(figure, " ".join(part for part in said if part))


def _mean(by_view: Mapping[str, Measured]) -> float:
    return float(np.mean([max(share.value, _LOWEST) for share in by_view.values()]))


def _draw(axes: Any, row: int, share: Measured) -> None:
    if share.value < _LOWEST:
        axes.plot([_LOWEST], [row], "<", color=COLOURS[1], markersize=4, zorder=3)
        said = f" \N{MINUS SIGN}{-share.value:.1f}"
        axes.text(_LOWEST, row, said, size="x-small", va="center", color=COLOURS[1])
        return
    axes.hlines(row, max(share.low, _LOWEST), share.high, color=COLOURS[0], linewidth=1.2, zorder=2)
    axes.plot([share.value], [row], "o", color=COLOURS[0], markersize=3.5, zorder=3)
