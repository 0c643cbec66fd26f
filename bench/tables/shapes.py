"""Families of tables with few parameters: a power of the sensitivity, bent smoothly over frequency."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datamodules.degradations.quantisation import Quantisation

Doubles = npt.NDArray[np.float64]

EXPONENTS = (0.25, 0.4, 0.55)
CHROMA = (0.7, 1.0, 1.4)
"""Factors of the steps of chroma."""

COARSEST = 10_000.0
"""A factor at which nearly all steps are 255."""

_MOST_TRIALS = 20
_FINEST = 1e-3
_CLOSE = 0.001  # of the bytes allowed
_LUMA_BENDS, _CHROMA_BENDS = 4, 5


@dataclass(frozen=True)
class Kind:
    """What a table's parameters are about.

    Attributes:
        subsampling: "4:2:0" or "4:4:4".
        shared: Whether luma and chroma have one table, which a file then holds once.
    """

    subsampling: str
    shared: bool

    @property
    def parameters(self) -> int:
        """How many there are."""
        return 1 + _LUMA_BENDS + (0 if self.shared else _CHROMA_BENDS)


def power_law(kind: Kind, exponent: float, chroma: float = 1.0) -> Doubles:
    """The parameters of steps in proportion to sensitivity^-exponent.

    Squared errors q^2 / 12, weighted with the sensitivity, are least at equal bits for the exponent 1/2, where steps
    are small enough for the bits to fall with log q. Those of thumbnails at low rates are not, so the exponent is open.
    """
    parameters = np.zeros(kind.parameters)
    parameters[0] = exponent
    if not kind.shared:
        parameters[1 + _LUMA_BENDS] = np.log(chroma)
    return parameters


def shaped(kind: Kind, sensitivity: Doubles, parameters: Doubles, factor: float) -> Quantisation:
    """Tables of a kind.

    The logarithm of a step is the sum of -parameters[0] times the logarithm of the sensitivity, about its mean over
    luma; of parameters times 1 at the DC, r, r^2 and (u - v) / 7 for luma, r = (u + v) / 14 at the vertical frequency v
    and the horizontal one u; of the same bends, with parameters of their own, and a constant for chroma; and of the
    logarithm of `factor`. Steps are rounded and held to 1..255.

    Args:
        kind: Of the tables.
        sensitivity: float64 [128] above 0, luma first; a shared table has that of luma.
        parameters: float64 [kind.parameters].
        factor: Above 0.
    """
    logarithms = np.log(np.maximum(sensitivity, sensitivity.max() * 1e-9))
    base = parameters[0] * (logarithms[:64].mean() - logarithms) + np.log(factor)
    luma = base[:64] + parameters[1 : 1 + _LUMA_BENDS] @ _bends()
    if kind.shared:
        chroma = luma
    else:
        level, *bends = parameters[1 + _LUMA_BENDS :]
        chroma = base[64:] + level + np.array(bends) @ _bends()
    steps, others = (tuple(np.exp(plane).round().clip(1, 255).astype(int).tolist()) for plane in (luma, chroma))
    return Quantisation(steps, others, kind.subsampling)


def _bends() -> Doubles:
    """[4, 64]."""
    v, u = np.divmod(np.arange(64), 8)
    radius = (u + v) / 14
    return np.stack([(radius == 0).astype(float), radius, radius**2, (u - v) / 7])


def within_bytes(
    make: Callable[[float], Quantisation],
    encoded_bytes: Callable[[Quantisation], float],
    most: float,
    guess: float = 40.0,
) -> tuple[Quantisation, float]:
    """The finest tables found that stay within some bytes.

    Args:
        make: Tables by a factor, coarser for a larger one.
        encoded_bytes: Measures tables.
        most: Bytes allowed.
        guess: The factor to begin with.

    Returns:
        The tables, and their factor; those of `COARSEST` where nothing finer stays within the bytes.
    """
    low, high, factor = 0.0, COARSEST, guess
    size_low, size_high = np.inf, 0.0
    best = make(COARSEST)
    spread = 1.1
    for _ in range(_MOST_TRIALS):
        tables = make(factor)
        size = encoded_bytes(tables)
        if size > most:
            low, size_low = factor, size
        else:
            high, size_high, best = factor, size, tables
            if size > (1 - _CLOSE) * most:
                break
        if low and high < COARSEST:
            if high / low < 1 + _CLOSE:
                break
            share = (size_low - most) / (size_low - size_high)  # of the way, as a straight line has it
            factor = float(low * (high / low) ** min(max(share, 0.1), 0.9))
        else:
            factor = min(low * spread, COARSEST) if low else high / spread
            spread **= 2
            if factor >= COARSEST or factor < _FINEST:
                break
    return best, high
