"""From evidence to probabilities and verdicts, with numbers that `python -m benchmarks.audit_fit` has fitted."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Size = Literal["small", "medium", "large"]

FILE = Path(__file__).with_suffix(".json")
"""The numbers, and of which images they are."""

_SMALL, _MEDIUM = 64 * 64, 200 * 200
_KNOTS = (-1.5, -0.75, 0.0, 0.75, 1.5)


def size_of(pixels: int) -> Size:
    """The class of sizes with thresholds of its own.

    >>> size_of(32 * 32), size_of(96 * 96), size_of(500 * 375)
    ('small', 'medium', 'large')
    """
    return "small" if pixels <= _SMALL else "medium" if pixels <= _MEDIUM else "large"


@dataclass(frozen=True)
class Logistic:
    """A logistic regression on standardised features, and where it says yes.

    Attributes:
        centres: Of F features.
        scales: Of them.
        weights: Of the first so many terms of `expand`; those of a constant and F features alone make it linear.
        thresholds: Of the evidence by size of the image.
    """

    centres: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    thresholds: dict[str, float]

    def logits(self, features: npt.ArrayLike) -> Floats:
        """Log-odds, float64 [N].

        Args:
            features: [N, F].
        """
        terms = expand((np.asarray(features, np.float64) - self.centres) / self.scales)
        return np.asarray(terms[:, : len(self.weights)] @ np.array(self.weights))

    def probabilities(self, features: npt.ArrayLike) -> Floats:
        """Probabilities, 0 to 1, float64 [N]."""
        return np.asarray(1 / (1 + np.exp(-self.logits(features).clip(-50, 50))))


def expand(standardised: Floats) -> Floats:
    """Terms of a piecewise linear regression with interactions, [N, T].

    A one; F features, within four deviations of their mean; the part of each above five knots; products of different
    ones.

    >>> expand(np.array([[1.0, -2.0]])).tolist()
    [[1.0, 1.0, -2.0, 2.5, 0.0, 1.75, 0.0, 1.0, 0.0, 0.25, 0.0, 0.0, 0.0, -2.0]]
    """
    bounded = standardised.clip(-4, 4)
    first, second = np.triu_indices(bounded.shape[1], 1)
    hinges = (np.maximum(bounded - knot, 0) for knot in _KNOTS)
    products = bounded[:, first] * bounded[:, second]
    return np.concatenate([np.ones((len(bounded), 1)), bounded, *hinges, products], 1)


@dataclass(frozen=True)
class Calibration:
    """All fitted numbers.

    Attributes:
        jpeg: Of `jpeg_features`; its thresholds are those of the lattice's score in nats.
        half_chroma: Of `half_chroma_features`; its thresholds are log-odds, as the next one's are.
        lossless: Of `bench.audit.fine_detail.FEATURES`, where the image was not JPEG.
    """

    jpeg: Logistic
    half_chroma: Logistic
    lossless: Logistic


def jpeg_features(score: npt.ArrayLike, blocks: npt.ArrayLike) -> Floats:
    """Of lattice scores in nats and numbers of blocks, float64 [N, 2]."""
    values = np.asarray(score, np.float64)
    return np.stack([np.arcsinh(values / 5), np.log2(1 + np.asarray(blocks, np.float64))], 1)


def half_chroma_features(contrast: npt.ArrayLike, floor: npt.ArrayLike) -> Floats:
    """Of the two attributes of `bench.audit.half_chroma.HalfChroma`, float64 [N, 2]."""
    bounded = np.asarray(floor, np.float64).clip(0.25, 64)
    return np.stack([np.asarray(contrast, np.float64), np.log2(bounded)], 1)


@cache
def calibration() -> Calibration:
    """The fitted numbers of `FILE`."""
    content: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))

    def logistic(name: str) -> Logistic:
        part = content[name]
        return Logistic(tuple(part["centres"]), tuple(part["scales"]), tuple(part["weights"]), part["thresholds"])

    return Calibration(*(logistic(name) for name in ("jpeg", "half_chroma", "lossless")))
