"""What figures of the report and of TensorBoard share; drawn without pyplot's global state."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

MOST_COLOURS = 10
_MARKERS = "osD^vP*Xhp"


def plain(text: str) -> str:
    r"""Text that Matplotlib draws as it is, without reading formulas in it.

    >>> plain("$x$")
    '\\$x\\$'
    """
    return text.replace("$", r"\$")


def style(index: int) -> dict[str, Any]:
    """Colour and marker of the first lines; grey for all others."""
    if index >= MOST_COLOURS:
        return {"color": "0.75", "linewidth": 0.8, "zorder": 1}
    return {"color": f"C{index}", "marker": _MARKERS[index], "markersize": 5, "linewidth": 1.5, "zorder": 3}


def draw_rates(axes: Any, curves: Mapping[str, Sequence[tuple[float, float, float, float]]], original: float) -> None:
    """Precision against bits per pixel on a logarithmic axis, a line per codec; the original is the dashed line.

    Args:
        axes: Matplotlib axes.
        curves: Points (bits per pixel, precision, low and high end of its interval or NaN) by curve.
        original: Precision of the original.
    """
    for index, (curve, points) in enumerate(curves.items()):
        if not points:
            continue  # its colour stays free
        x, y, low, high = np.array(points).T
        look = style(index) | ({} if index < MOST_COLOURS else {"marker": "."})  # a single point has no line
        axes.plot(x, y, label=plain(curve), **look)
        axes.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0)
    axes.axhline(original, color="black", linestyle="--", linewidth=1, label="original")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("bits per pixel")
    axes.grid(alpha=0.25)
