"""What changed most from the original to a view: a short list, a line from before to after in each row."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.figures.lettering import plain
from bench.figures.style import finish, mark_colour, new_card

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ROWS = 6
_ROW_INCHES = 0.42
_LABEL_CHARACTERS = 42


@dataclass(frozen=True)
class Change:
    """A row: what changed, from what in the original to what in the view, both in [0, 1]."""

    label: str
    before: float
    after: float


def ranking_card(statement: str, changes: Sequence[Change], quantity: str) -> "Figure":
    """Rows one below the other, a ring for the original and a dot for the view; legible as a thumbnail.

    Args:
        statement: The title.
        changes: The first `MOST_ROWS` are drawn, as they come.
        quantity: What is in [0, 1].
    """
    shown = changes[:MOST_ROWS]
    figure, axes = new_card(statement, 1.3 + _ROW_INCHES * len(shown))
    for row, change in enumerate(shown):
        axes.text(0, -row + 0.22, plain(change.label, _LABEL_CHARACTERS), fontsize=8.5)
        colour = mark_colour(right=False)
        axes.plot([change.before, change.after], [-row, -row], color=colour, linewidth=2.5, zorder=1)
        axes.scatter([change.before], [-row], s=28, facecolor="white", edgecolor="black", zorder=2)
        axes.scatter([change.after], [-row], s=28, color=colour, zorder=2)
    axes.set(xlim=(-0.03, 1.03), ylim=(-len(shown) + 0.6, 0.75), yticks=[], xticks=[0, 0.25, 0.5, 0.75, 1])
    axes.set_xticklabels(["0", "0.25", "0.5", "0.75", "1"])
    axes.set_xlabel(f"{quantity}: ○ original, ● view", fontsize=9)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    return finish(figure)
