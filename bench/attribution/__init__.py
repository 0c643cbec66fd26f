"""Why an image's loss changed: Integrated Gradients along the path from one view to another."""

from bench.attribution.adaptive import Adaptive
from bench.attribution.quadrature import GaussLegendre, Midpoint, RightRiemann, Trapezoid
from bench.attribution.selection import First, Flipped, Indices, LargestLossIncrease, PerClass

__all__ = [
    "Adaptive",
    "First",
    "Flipped",
    "GaussLegendre",
    "Indices",
    "LargestLossIncrease",
    "Midpoint",
    "PerClass",
    "RightRiemann",
    "Trapezoid",
]
