"""What a change of each step would do to rate and distortion, near tables that were measured: to propose the next ones.

A proposal is measured before anything is made of it: the models decide how fast a search is, not what it claims.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.tables.measuring import Blocks, Floats
from datamodules.degradations.quantisation import Quantisation

Doubles = npt.NDArray[np.float64]

_CANDIDATES_EACH_WAY = 8
_ZERO_RUN_BITS = 3.5  # of a Huffman code for a run of zeros and a magnitude
_LEAST_RATIO, _LARGEST_RATIO = 0.1, 10.0


@dataclass(frozen=True)
class Slopes:
    """How the distortion of some images changes along the errors that tables leave, entry by entry; float64 [128] each.

    Attributes:
        inner: Mean over images of the gradient times the error, summed over blocks.
        squares: Of the squared error.
        variance: Of the sampling error of `inner`.
    """

    inner: Doubles
    squares: Doubles
    variance: Doubles


@dataclass(frozen=True)
class Moves:
    """Steps that each of the 128 entries may take, luma first, with what they are expected to change.

    Attributes:
        steps: int64 [128, J], steps in 1..255; some stand there twice.
        distortion: float64 [128, J], of the mean distortion per image, up to a constant.
        bits: float64 [128, J], of an image, up to a constant.
    """

    steps: npt.NDArray[np.int64]
    distortion: Doubles
    bits: Doubles

    def best(self, price: float, subsampling: str) -> Quantisation:
        """The tables of least distortion + price * bits, each entry by itself."""
        chosen = (self.distortion + price * self.bits).argmin(1)
        steps = np.take_along_axis(self.steps, chosen[:, None], 1)[:, 0].tolist()
        return Quantisation(tuple(steps[:64]), tuple(steps[64:]), subsampling)


def slopes(tables: Quantisation, coefficients: Blocks, gradients: Blocks, weights: Blocks) -> Slopes:
    """Compare gradients with the errors of tables.

    Args:
        tables: The tables.
        coefficients: Of the images before quantisation.
        gradients: Of the distortion at the coefficients that these tables leave.
        weights: See `TuningImages.weights`.
    """
    found = np.zeros((3, 128))
    planes = zip(coefficients, gradients, weights, (tables.luma, tables.chroma), strict=True)
    for place, (plane, gradient, weight, steps) in enumerate(planes):
        errors = _dequantised(plane, np.array(steps, dtype=np.float32)) - plane
        products = weight[:, None] * gradient * errors
        found[:, 64 * place : 64 * place + 64] = (
            products.sum(0, dtype=np.float64),
            (weight[:, None] * errors**2).sum(0, dtype=np.float64),
            (products**2).sum(0, dtype=np.float64),
        )
    return Slopes(*found)


def curvature(prior: Doubles, measured: Sequence[Slopes]) -> Doubles:
    """Distortion per squared error of each coefficient, from sensitivities and from what was measured: float64 [128].

    Along its error e a coefficient's distortion grows by the gradient times e: twice its share, were the distortion a
    quadratic form. Per squared error that is an estimate with a sampling error, and its ratio to the prior is shrunk
    towards 1 by as much as the sampling errors ask for (empirical Bayes, the moments of DerSimonian and Laird, 1986).

    Args:
        prior: Sensitivities, up to a factor.
        measured: At tables that were measured, at least once.
    """
    inner, squares, variance = (
        sum((getattr(one, name) for one in measured), np.zeros(128)) for name in ("inner", "squares", "variance")
    )
    scaled = prior * max(float(inner.sum()), 1e-12) / max(float(prior @ squares), 1e-12)
    expected = scaled * squares
    known = expected > 1e-9 * expected.max()
    ratio = np.divide(inner, expected, out=np.ones(128), where=known)
    error = np.divide(variance, expected**2, out=np.full(128, np.inf), where=known)
    weight = np.divide(1, error, out=np.zeros(128), where=np.isfinite(error) & (error > 0))
    between = 0.0
    if (used := int((weight > 0).sum())) > 1:
        heterogeneity = float((weight * (ratio - 1) ** 2).sum()) - used
        between = max(0.0, heterogeneity / (weight.sum() - (weight**2).sum() / weight.sum()))
    shrunk = 1 + (ratio - 1) * (between / (between + error) if between else np.zeros(128))
    return np.asarray(scaled * shrunk.clip(_LEAST_RATIO, _LARGEST_RATIO) / 2)


def moves(
    tables: Quantisation, coefficients: Blocks, weights: Blocks, curvatures: Doubles, rates: Doubles, reach: float
) -> Moves:
    """Changes of the steps by a factor of at most `reach`, and by one at least.

    Args:
        tables: Where the search is.
        coefficients: Of the images before quantisation.
        weights: See `TuningImages.weights`.
        curvatures: float64 [128], distortion per squared error.
        rates: float64 [128], bits that the files change by per bit that the model of the rate says.
        reach: Above 1.
    """
    current = np.array([*tables.luma, *tables.chroma])
    factors = reach ** (np.arange(-_CANDIDATES_EACH_WAY, _CANDIDATES_EACH_WAY + 1) / _CANDIDATES_EACH_WAY)
    steps = (current[:, None] * factors).round().astype(np.int64)
    steps = np.concatenate([current[:, None], steps, current[:, None] - 1, current[:, None] + 1], 1).clip(1, 255)
    squares, bits = (np.zeros(steps.shape) for _ in range(2))
    for first, (plane, weight) in zip((0, 64), zip(coefficients, weights, strict=True), strict=True):
        for place in range(steps.shape[1]):
            chosen = steps[first : first + 64, place].astype(np.float32)
            squares[first : first + 64, place] = weight @ (_dequantised(plane, chosen) - plane) ** 2
            bits[first : first + 64, place] = modelled_bits(plane, weight, chosen)
    return Moves(steps, curvatures[:, None] * squares, rates[:, None] * bits)


def modelled_bits(plane: Floats, weight: Floats, steps: Floats) -> Floats:
    """Bits of an image that each coefficient takes, [64]: of what is not 0, a code and the digits of its magnitude."""
    levels = np.abs(np.rint(plane / steps))
    digits = np.where(levels > 0, _ZERO_RUN_BITS + 1 + np.floor(np.log2(np.maximum(levels, 1))), 0)
    return np.asarray(weight @ digits)


def _dequantised(plane: Floats, steps: Floats) -> Floats:
    return np.asarray(np.rint(plane / steps) * steps)
