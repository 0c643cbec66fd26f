"""A save before the last one: gaps in the multiples of the last save's steps.

Coefficients that lay on a coarser lattice before they were put on a finer one take only those multiples of the finer
step that are next to a multiple of the coarser one (Popescu and Farid 2004, *Statistical tools for digital forensics*;
Pevny and Fridrich 2008, *Detection of double-compression in JPEG images for applications in steganography*). Only a
first save that was coarser, on the same grid, shows so.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

from bench.audit.jpeg_format import LARGEST_QUALITY, standard_tables, zigzag
from bench.audit.lattice import FREQUENCIES, on_grid

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_MOST_MULTIPLES = 256
_OUTLIERS = 0.02
_LEAST_SCORE = 12.0  # nats


def earlier_quality(
    pixels: npt.NDArray[np.float32], spoilt: npt.NDArray[np.bool_], steps: npt.ArrayLike, offset: int = 0
) -> int | None:
    """Quality of a save before one with known steps; None where none shows.

    Args:
        pixels: Luma of the tiles of one image, float32 [T, H, W].
        spoilt: Clipped pixels, bool [T, H, W].
        steps: The last save's luma table, 64 steps, row-major.
        offset: Of its grid, 8 * rows + columns.
    """
    multiples, use = on_grid(pixels, spoilt, offset, steps)
    score, quality = earlier_save(multiples, use, steps)
    return quality if score > _LEAST_SCORE else None


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
    score = np.zeros(LARGEST_QUALITY)
    for place in range(1, FREQUENCIES):
        values = multiples[place, use]
        values = values[(values > 0) & (values < _MOST_MULTIPLES)]
        allowed, of_quality = _allowed(place, int(last[place]))
        if not len(values) or not len(allowed):
            continue
        counts = np.bincount(values, minlength=_MOST_MULTIPLES)
        decay = 1 - 1 / max(values.mean(), 1.0)
        prior = decay ** np.arange(_MOST_MULTIPLES) if decay else np.eye(_MOST_MULTIPLES)[1]
        prior[0] = 0
        share = (allowed @ (prior / prior.sum())).clip(1e-3, 1 - 1e-6)
        inside = allowed @ counts
        outside = np.where(share < 1 - 1e-3, np.log(_OUTLIERS / (1 - share)), 0)
        score += (inside * np.log((1 - _OUTLIERS) / share) + (len(values) - inside) * outside) @ of_quality
    best = int(score.argmax())
    return float(score[best]), best + 1


@cache
def _allowed(place: int, last: int) -> tuple[Floats, Floats]:
    """Multiples of a step that a coarser one's multiples are rounded to, within the rounding of pixels.

    Returns:
        Of the S coarser steps that a frequency has, a 1 for each such multiple, [S, 256], and for each quality that has
        it, [S, 100].
    """
    steps, places = np.unique(standard_tables()[:, zigzag()[place]], return_inverse=True)
    coarser = np.nonzero(steps > last)[0]
    allowed = np.zeros((len(coarser), _MOST_MULTIPLES))
    for row, first in enumerate(steps[coarser]):
        exact = first * np.arange(_MOST_MULTIPLES) / last
        for noise in (-0.6, 0.0, 0.6):
            multiple = np.rint(exact + noise / last).astype(np.int64)
            allowed[row, multiple[(multiple >= 0) & (multiple < _MOST_MULTIPLES)]] = 1
    return allowed, np.eye(len(steps))[coarser][:, places]
