"""What a change of each step would do to rate and distortion, near tables that were measured: to propose the next ones.

A proposal is measured before anything is made of it, so that the models decide how fast a search is, not what it claims.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.tables.measuring import Blocks, Floats
from datamodules.degradations.quantisation import Quantisation

Doubles = npt.NDArray[np.float64]

_STEPS_EACH_WAY = 4
_ZERO_RUN_BITS = 3.5  # of a Huffman code for a run of zeros and a magnitude; a shared factor does not matter


@dataclass(frozen=True)
class Moves:
    """Steps that each of the 128 entries may take, luma first, with what they are expected to change.

    Attributes:
        steps: int64 [128, J], steps in 1..255; some stand there twice.
        distortion: float64 [128, J], change of the mean distortion per image.
        bits: float64 [128, J], of an image, up to a shared factor.
    """

    steps: npt.NDArray[np.int64]
    distortion: Doubles
    bits: Doubles

    def best(self, price: float, subsampling: str) -> Quantisation:
        """The tables of least distortion + price * bits, each entry by itself."""
        chosen = (self.distortion + price * self.bits).argmin(1)
        steps = np.take_along_axis(self.steps, chosen[:, None], 1)[:, 0].tolist()
        return Quantisation(tuple(steps[:64]), tuple(steps[64:]), subsampling)


def moves(
    tables: Quantisation,
    coefficients: Blocks,
    gradients: Blocks,
    weights: Blocks,
    curvature: Doubles,
    measured: float,
    reach: float,
) -> Moves:
    """Changes of the steps by a factor of at most `reach`, and by one at least.

    The distortion of a coefficient's change from v to v' is the gradient at v times v' - v, plus half of its curvature
    times the square: the second-order Taylor polynomial, without the products of different coefficients, whose
    expectation vanishes where their changes are independent.

    Args:
        tables: Where the search is.
        coefficients: Of the images before quantisation.
        gradients: Of the distortion at the coefficients that these tables leave.
        weights: See `TuningImages.weights`.
        curvature: float64 [128], up to a shared factor, which is chosen so that half of it times the squared errors is
            the measured distortion.
        measured: Mean distortion of these tables.
        reach: Above 1.
    """
    current = np.array([*tables.luma, *tables.chroma])
    factors = reach ** (np.arange(-_STEPS_EACH_WAY, _STEPS_EACH_WAY + 1) / _STEPS_EACH_WAY)
    steps = (current[:, None] * factors).round().astype(np.int64)
    steps = np.concatenate([current[:, None], steps, current[:, None] - 1, current[:, None] + 1], 1).clip(1, 255)
    linear, squares, bits = (np.zeros(steps.shape) for _ in range(3))
    errors = np.zeros(len(steps))
    planes = zip(coefficients, gradients, weights, strict=True)
    for first, (plane, slopes, weight) in zip((0, 64), planes, strict=True):
        for entry in range(64):
            row = first + entry
            x, slope = plane[:, entry], slopes[:, entry] * weight
            now = _dequantised(x, int(current[row]))
            errors[row] = (weight * (now - x) ** 2).sum()
            for place in range(steps.shape[1]):
                level = np.rint(x / steps[row, place])
                change = level * steps[row, place] - now
                linear[row, place] = slope @ change
                squares[row, place] = weight @ (change * change)
                held = level != 0
                bits[row, place] = (weight * held) @ (_ZERO_RUN_BITS + 1 + np.log2(np.abs(level) + ~held))
    expected = 0.5 * float(curvature @ errors)
    scale = measured / expected if expected > 0 else 0.0
    return Moves(steps, linear + 0.5 * scale * curvature[:, None] * squares, bits)


def _dequantised(values: Floats, step: int) -> Floats:
    return np.asarray(np.rint(values / step) * step, dtype=np.float32)
