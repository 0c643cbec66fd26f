"""The figure of a fit: the way from the original to the tuned weights."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bench.finetuning.validation import Measures
from datamodules.degradations import ORIGINAL

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def interpolation_figure(curve: Mapping[float, Measures]) -> "Figure":
    """Precision on each degraded view against precision on the originals, a line per view, a point per alpha.

    Args:
        curve: Measures by share of the tuned weights.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.subplots()
    alphas = sorted(curve)
    clean = [curve[alpha][ORIGINAL]["precision"] for alpha in alphas]
    for view in [name for name in curve[alphas[0]] if name != ORIGINAL]:
        degraded = [curve[alpha][view]["precision"] for alpha in alphas]
        axes.plot(clean, degraded, marker="o", markersize=4, label=view)
        for alpha, x, y in zip(alphas, clean, degraded, strict=True):
            axes.annotate(f"{alpha:g}", (x, y), textcoords="offset points", xytext=(4, 4), fontsize=7, color="0.4")
    axes.set(xlabel="precision on originals", ylabel="precision on the view", title="alpha of the tuned weights")
    axes.grid(alpha=0.25)
    if axes.lines:
        axes.legend(fontsize=8)
    return figure
