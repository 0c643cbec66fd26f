"""Why an image's loss changed: Integrated Gradients along the path from one view to another."""

from typing import TYPE_CHECKING

from datamodules.lazy import lazily

if TYPE_CHECKING:
    from bench.attribution.adaptive import Adaptive
    from bench.attribution.one_image import explain
    from bench.attribution.overlay import SignedOverlay
    from bench.attribution.paper_overlay import PaperOverlay
    from bench.attribution.quadrature import GaussLegendre, Midpoint, RightRiemann, Trapezoid
    from bench.attribution.selection import First, Flipped, Indices, LargestLossIncrease, PerClass

_HOMES = {
    "Adaptive": "adaptive",
    **dict.fromkeys(("First", "Flipped", "Indices", "LargestLossIncrease", "PerClass"), "selection"),
    **dict.fromkeys(("GaussLegendre", "Midpoint", "RightRiemann", "Trapezoid"), "quadrature"),
    "PaperOverlay": "paper_overlay",
    "SignedOverlay": "overlay",
    "explain": "one_image",
}

__all__ = [
    "Adaptive",
    "First",
    "Flipped",
    "GaussLegendre",
    "Indices",
    "LargestLossIncrease",
    "Midpoint",
    "PaperOverlay",
    "PerClass",
    "RightRiemann",
    "SignedOverlay",
    "Trapezoid",
    "explain",
]

__getattr__ = lazily(__name__, {name: f"{__name__}.{home}" for name, home in _HOMES.items()})
