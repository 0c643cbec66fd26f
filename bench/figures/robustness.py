"""Figures of fine-tuned encoders, drawn without pyplot's global state."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.statistics.recovery import Recovery
from datamodules.degradations import ORIGINAL

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def recovered_shares(recoveries: Mapping[str, Mapping[str, Recovery]], views: Sequence[str]) -> "Figure":
    """Net recovered share by view, a bar per variant with its interval.

    Args:
        recoveries: By title and view.
        views: In order.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.5 + 1.3 * len(views), 4.2), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(recoveries)
    for place, (title, by_view) in enumerate(recoveries.items()):
        known = [(x, by_view[view].net_share) for x, view in enumerate(views) if view in by_view]
        known = [(x, share) for x, share in known if share.value == share.value]
        x = [position + (place - (len(recoveries) - 1) / 2) * width for position, _ in known]
        values = np.array([share.value for _, share in known])
        ends = np.array([[share.interval.low, share.interval.high] for _, share in known]).reshape(-1, 2)
        errors = np.abs(ends.T - values)
        axes.bar(x, values, width, label=title.replace("$", r"\$"), yerr=errors, error_kw={"linewidth": 0.8})
    axes.axhline(0, color="0.3", linewidth=0.8)
    axes.set_xticks(range(len(views)), views, rotation=30 if len(views) > 4 else 0)
    axes.set_ylabel("recovered share beyond the control")
    axes.grid(axis="y", alpha=0.25)
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    return figure


def interpolation_curves(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> "Figure":
    """Mean precision on degraded views against precision on originals, a line per variant, a point per alpha.

    Args:
        curves: By title what a fit's record says under `interpolation`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 4.6), layout="constrained")
    axes = figure.subplots()
    for title, points in curves.items():
        clean = [point["metrics"][ORIGINAL]["precision"] for point in points]
        degraded = [
            np.mean([of["precision"] for view, of in point["metrics"].items() if view != ORIGINAL] or [np.nan])
            for point in points
        ]
        axes.plot(clean, degraded, marker="o", markersize=4, label=title.replace("$", r"\$"))
        for point, x, y in zip(points, clean, degraded, strict=True):
            place: dict[str, Any] = {"textcoords": "offset points", "xytext": (4, 3), "fontsize": 6, "color": "0.4"}
            axes.annotate(f"{point['alpha']:g}", (x, y), **place)
        axes.plot(clean[:1], degraded[:1], marker="*", markersize=11, color="black")
    axes.set(xlabel="precision on originals", ylabel="mean precision on degraded views")
    axes.grid(alpha=0.25)
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    return figure
