"""A save before the last one: gaps in the multiples of the last save's steps.

Coefficients that lay on a coarser lattice before they were put on a finer one take only those multiples of the finer
step that are next to a multiple of the coarser one (Popescu and Farid 2004, *Statistical tools for digital forensics*;
Pevny and Fridrich 2008, *Detection of double-compression in JPEG images for applications in steganography*). Only a
first save that was coarser, on the same grid, shows so.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

from bench.audit.lattice import FREQUENCIES
from bench.audit.tables import LARGEST_QUALITY, standard_tables, zigzag

Ints = npt.NDArray[np.int64]

_MOST_MULTIPLES = 256
_OUTLIERS = 0.02


def earlier_save(multiples: Ints, use: npt.NDArray[np.bool_], steps: npt.ArrayLike) -> tuple[float, int]:
    """The first of two saves on one grid, as far as it shows.

    Args:
        multiples: Magnitudes of the coefficients in units of the last save's steps, int [FREQUENCIES, B].
        use: Blocks that count, bool [B].
        steps: The last save's luma table, 64 steps, row-major.

    Returns:
        Log-likelihood ratio of the best standard table of an earlier save against none, in nats, and its quality.
    """
    last = np.asarray(steps).reshape(64)[zigzag()[:FREQUENCIES]]
    tables = standard_tables()[:, zigzag()[:FREQUENCIES]]
    score = np.zeros(LARGEST_QUALITY)
    for place in range(1, FREQUENCIES):
        found = multiples[place, use]
        found = found[(found > 0) & (found < _MOST_MULTIPLES)]
        if not len(found):
            continue
        counts = np.bincount(found, minlength=_MOST_MULTIPLES)
        decay = 1 - 1 / max(found.mean(), 1.0)
        prior = decay ** np.arange(_MOST_MULTIPLES) if decay else np.eye(_MOST_MULTIPLES)[1]
        prior[0] = 0
        prior /= prior.sum()
        for first in np.unique(tables[:, place]):
            if first > last[place]:
                allowed = _allowed(int(first), int(last[place]))
                share = min(max(float(prior[allowed].sum()), 1e-3), 1 - 1e-6)
                inside = int(counts[allowed].sum())
                gain = inside * np.log((1 - _OUTLIERS) / share)
                gain += (len(found) - inside) * np.log(_OUTLIERS / (1 - share)) if share < 1 - 1e-3 else 0.0
                score[tables[:, place] == first] += gain
    best = int(score.argmax())
    return float(score[best]), best + 1


@cache
def _allowed(first: int, last: int) -> npt.NDArray[np.bool_]:
    """Multiples of the last step that a multiple of the first one is rounded to, within the rounding of pixels."""
    allowed = np.zeros(_MOST_MULTIPLES, bool)
    exact = first * np.arange(_MOST_MULTIPLES) / last
    for noise in (-0.6, 0.0, 0.6):
        place = np.rint(exact + noise / last).astype(np.int64)
        allowed[place[(place >= 0) & (place < _MOST_MULTIPLES)]] = True
    return allowed
