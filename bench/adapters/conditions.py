"""What an adapter is told of an image: which codec made the view, and at which quality."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from datamodules.degradations import ORIGINAL, quality_of

KNOTS = 3
"""Places on the scale of a codec's qualities that have strengths of their own."""


def features_of(codecs: int) -> int:
    """Number of features of a condition where so many codecs are told apart."""
    return codecs * KNOTS + 1


@dataclass(frozen=True)
class Conditions:
    """The conditions that are told apart, as features that strengths are linear in.

    A view of a known codec has its quality's place between the codec's lowest and highest quality, on a logarithmic
    scale from 0 to 1, as the weights of the two of three evenly spaced knots that it lies between; qualities beyond are
    taken for the nearest of these. Every other degraded view is `unknown`, the last feature. An original has none: what
    is linear in features without an offset leaves it alone.

    Attributes:
        codecs: Lowest and highest quality by specification with `{}` for the quality.

    >>> Conditions({"jpeg-{}": (9, 99)}).features(["original", "jpeg-9", "jpeg-99", "webp-50"]).int().tolist()
    [[0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    """

    codecs: Mapping[str, tuple[int, int]]

    def features(self, views: Sequence[str | None]) -> Tensor:
        """Features float32 [B, F], in host memory, of images by the names of their views; None is an unknown one."""
        rows = {view: self._row(view) for view in set(views)}
        return torch.tensor([rows[view] for view in views]).view(len(views), features_of(len(self.codecs)))

    def _row(self, view: str | None) -> list[float]:
        row = [0.0] * features_of(len(self.codecs))
        if view == ORIGINAL:
            return row
        for first, (codec, bounds) in zip(range(0, len(row), KNOTS), self.codecs.items(), strict=False):
            if view is not None and (quality := quality_of(codec, view)) is not None:
                place = (KNOTS - 1) * _share(quality, *bounds)
                row[first : first + KNOTS] = [max(0.0, 1 - abs(place - knot)) for knot in range(KNOTS)]
                return row
        row[-1] = 1.0
        return row


def _share(quality: int, lowest: int, highest: int) -> float:
    """Of the way from the lowest to the highest quality, in [0, 1], on the scale of log(1 + quality)."""
    start, here, end = (math.log1p(value) for value in (lowest, min(max(quality, lowest), highest), highest))
    return (here - start) / (end - start) if end > start else 0.0
