"""The way from the original weights to tuned ones: degraded images against clean ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.figures.style import add_legend, finish, look, new_panels, nothing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_WITH_NUMBERS = 3


@dataclass(frozen=True)
class Step:
    """A point of the way: alpha, the share of the tuned weights in [0, 1], and two precisions in [0, 1]."""

    alpha: float
    clean: float
    degraded: float


def interpolation_curves(ways: Mapping[str, Sequence[Step]], degraded: str) -> "Figure":
    """Precision on degraded images over precision on the originals, a line per way; a star marks its beginning.

    Args:
        ways: Steps in increasing alpha, by what tells the ways apart.
        degraded: What the precision on degraded images is.
    """
    ways = {label: steps for label, steps in ways.items() if steps}
    if not ways:
        return nothing("nothing was measured between the original and the tuned weights")
    figure, (axes,) = new_panels(1, 1, 5.6, 4.6)
    lines = []
    for place, steps in enumerate(ways.values()):
        x, y = [step.clean for step in steps], [step.degraded for step in steps]
        lines += axes.plot(x, y, **look(place))
        axes.plot(x[:1], y[:1], marker="*", markersize=11, color="black", zorder=4, linestyle="none")
        if len(ways) <= _MOST_WITH_NUMBERS:
            for step in steps:
                where = {"textcoords": "offset points", "xytext": (4, 4), "fontsize": 7, "color": "0.4"}
                axes.annotate(f"{step.alpha:g}", (step.clean, step.degraded), **where)
    axes.set(xlabel="precision on originals", ylabel=degraded)
    axes.grid(alpha=0.25)
    add_legend(figure, lines, list(ways))
    alphas = ", ".join(f"{step.alpha:g}" for step in max(ways.values(), key=len))
    return finish(figure, f"From the star on, alpha of the tuned weights: {alphas}.")
