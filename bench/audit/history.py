"""What the pixels of an image tell about its past: a JPEG save, chroma at half size, no trace, or nothing at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from bench.audit.calibration import CHROMA_CONTRAST, CHROMA_FLOOR, EARLIER_SCORE, jpeg_probability, jpeg_threshold
from bench.audit.chroma import half_chroma
from bench.audit.earlier import earlier_save
from bench.audit.lattice import BEST_TOLD, BLOCK, WORST_TOLD, Lattice, clipped, find_lattice, luma, on_grid
from bench.audit.smoothness import top_band
from bench.audit.tables import standard_tables
from bench.audit.tiles import SMALLEST_SIDE, cut_tiles

Bytes = npt.NDArray[np.uint8]
Verdict = Literal["jpeg", "lossy", "no trace", "unknown"]

_AT_ONCE = 250  # images; more would fall out of the caches
_RULED_OUT = -7.0  # nats
_LEAST_RULED_OUT = 90  # quality
_LEAST_BLOCKS = 4


@dataclass(frozen=True)
class History:
    """What is known about an image.

    Attributes:
        verdict: "jpeg"; "lossy" where chroma was stored at half size and no JPEG shows, as WebP and AVIF leave it; "no
            trace" where no save as JPEG since the last resize can be, quality 5 to `ruled_out`; "unknown" where the
            pixels cannot tell. What was before a resize cannot be told, so that no verdict says that an image
            never was lossy. probability: That the pixels were decoded from JPEG, 0 to 1, where half of all images were.
        quality: Of that save, 5 to 98; None where there was none, or its table is no standard one.
        offset: Rows and columns of pixels before its first whole block; None where there was none.
        earlier_quality: Of a save before that one, where it shows.
        half_chroma: Whether chroma was stored at half size.
        ruled_out: Highest quality up to which no standard table can have been the last save; 0 where none can be.
        reason: Why it is unknown, in a few words.
    """

    verdict: Verdict
    probability: float
    quality: int | None = None
    offset: tuple[int, int] | None = None
    earlier_quality: int | None = None
    half_chroma: bool = False
    ruled_out: int = 0
    reason: str = ""


def histories(images: Sequence[Bytes]) -> list[History]:
    """Look at the pixels of images.

    Args:
        images: uint8 [H, W, 3] each; those of one small size are looked at together.
    """
    found: dict[int, History] = {}
    groups: dict[tuple[int, ...], list[int]] = {}
    tiles = [cut_tiles(image) if min(image.shape[:2]) >= SMALLEST_SIDE else image[None] for image in images]
    for index, cut in enumerate(tiles):
        if min(images[index].shape[:2]) < SMALLEST_SIDE:
            found[index] = History("unknown", 0.5, reason=f"smaller than {SMALLEST_SIDE} pixels")
        else:
            groups.setdefault(cut.shape, []).append(index)
    for shape, members in groups.items():
        step = max(1, _AT_ONCE // shape[0])
        for start in range(0, len(members), step):
            chosen = members[start : start + step]
            together = _look(np.concatenate([tiles[index] for index in chosen]), shape[0])
            found |= dict(zip(chosen, together, strict=True))
    return [found[index] for index in range(len(images))]


def _look(rgb: Bytes, groups: int) -> list[History]:
    """Of equal numbers of tiles per image, uint8 [N * groups, H, W, 3]."""
    pixels, spoilt = luma(rgb), clipped(rgb)
    lattice = find_lattice(pixels, spoilt, groups)
    chroma = half_chroma(rgb, spoilt, groups)
    empty_top = top_band(pixels, groups)
    histories = []
    for n in range(len(lattice.score)):
        part = slice(n * groups, (n + 1) * groups)
        halved = bool(chroma.contrast[n] > CHROMA_CONTRAST and chroma.floor[n] < CHROMA_FLOOR)
        histories.append(_conclude(lattice, n, halved, bool(empty_top[n]), pixels[part], spoilt[part]))
    return histories


def _conclude(
    lattice: Lattice,
    n: int,
    halved: bool,
    empty_top: bool,
    pixels: npt.NDArray[np.float32],
    spoilt: npt.NDArray[np.bool_],
) -> History:
    blocks, score = int(lattice.blocks[n]), float(lattice.score[n])
    probability = jpeg_probability(score, blocks)
    ruled_out = _ruled_out(lattice.by_quality[n])
    if score > jpeg_threshold(blocks):
        quality, offset = int(lattice.quality[n]), int(lattice.offset[n])
        earlier = earlier_quality(pixels, spoilt, standard_tables()[quality - 1], offset)
        place = (offset // BLOCK, offset % BLOCK)
        return History("jpeg", probability, quality, place, earlier, halved)
    if halved:
        return History("lossy", probability, half_chroma=True, ruled_out=ruled_out)
    reason = ""
    if blocks < _LEAST_BLOCKS:
        reason = "too few blocks that are neither flat nor clipped"
    elif empty_top:
        reason = "the finest detail is missing, as after enlarging or smoothing"
    elif ruled_out < _LEAST_RULED_OUT:
        reason = f"saves at quality {ruled_out + 1} and above cannot be told from none"
    return History("unknown" if reason else "no trace", probability, ruled_out=ruled_out, reason=reason)


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
    magnitudes, use = on_grid(pixels, spoilt, offset, steps)
    score, quality = earlier_save(magnitudes, use, steps)
    return quality if score > EARLIER_SCORE else None


def _ruled_out(by_quality: npt.NDArray[np.float32]) -> int:
    possible = np.nonzero(by_quality[WORST_TOLD - 1 : BEST_TOLD] > _RULED_OUT)[0]
    if not len(possible):
        return BEST_TOLD
    return WORST_TOLD - 1 + int(possible[0]) if possible[0] else 0
