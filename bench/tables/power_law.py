"""Tables from sensitivities alone: a step falls as a power of how much the encoder minds its coefficient."""

from collections.abc import Callable

import numpy as np

from bench.tables.local_model import Doubles
from datamodules.degradations.quantisation import Quantisation

EXPONENTS = (0.25, 0.4, 0.55)
CHROMA = (0.7, 1.0, 1.4)
"""Factors of the steps of chroma."""

_MOST_TRIALS = 24
_CLOSE = 0.002  # of the bytes allowed


def power_law(sensitivity: Doubles, exponent: float, chroma: float, scale: float, subsampling: str) -> Quantisation:
    """Steps in proportion to sensitivity^-exponent, rounded and held to 1..255.

    Squared errors q^2 / 12, weighted with the sensitivity, are least at equal bits for the exponent 1/2, where steps
    are small enough for the bits to fall with log q. Those of thumbnails at low rates are not, so the exponent is open.

    Args:
        sensitivity: float64 [128], luma first, above 0.
        exponent: 0 makes flat tables.
        chroma: Factor of the steps of chroma.
        scale: Geometric mean of the steps of luma, before they are rounded.
        subsampling: "4:2:0" or "4:4:4".
    """
    steps = -exponent * np.log(np.maximum(sensitivity, sensitivity.max() * 1e-12))
    steps = np.exp(steps - steps[:64].mean() + np.log(scale))
    steps[64:] *= chroma
    whole = steps.round().clip(1, 255).astype(int).tolist()
    return Quantisation(tuple(whole[:64]), tuple(whole[64:]), subsampling)


def within_bytes(
    make: Callable[[float], Quantisation],
    encoded_bytes: Callable[[Quantisation], float],
    most: float,
    low: float,
    high: float,
) -> Quantisation | None:
    """The finest tables that stay within some bytes, by bisection on the logarithm of what makes them coarser.

    Args:
        make: Tables of a positive number, coarser for a larger one.
        encoded_bytes: Measures tables.
        most: Bytes allowed.
        low: The least number.
        high: The largest number.

    Returns:
        Tables that were measured; None if those of the largest number take more.
    """
    left, right = np.log(low), np.log(high)
    best = make(high)
    if encoded_bytes(best) > most:
        return None
    for _ in range(_MOST_TRIALS):
        middle = (left + right) / 2
        tables = make(float(np.exp(middle)))
        size = encoded_bytes(tables)
        if size > most:
            left = middle
        else:
            right, best = middle, tables
            if size > (1 - _CLOSE) * most:
                break
        if right - left < 1e-3:
            break
    return best
