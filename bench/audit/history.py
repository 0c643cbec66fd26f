"""What the pixels of an image tell about its past: a JPEG save, another lossy one, none, or nothing at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from bench.audit.calibration import calibration, half_chroma_features, jpeg_features, size_of
from bench.audit.double_jpeg import earlier_quality
from bench.audit.fine_detail import fine_detail, periods, repeats
from bench.audit.half_chroma import half_chroma
from bench.audit.jpeg_format import standard_tables
from bench.audit.lattice import BEST_TOLD, BLOCK, WORST_TOLD, clipped, find_lattice, luma

Bytes = npt.NDArray[np.uint8]
Verdict = Literal["jpeg", "lossy", "lossless", "unknown"]

SMALLEST_SIDE = 16
"""Pixels below which there is no image to say anything about."""

_WHOLE = 64  # pixels; sides up to which an image is taken whole
_TILE = 39  # 32 places of an 8 x 8 window in each direction, so that tiles 32 apart share none
_STRIDE = 32  # a multiple of the block, so that all tiles have the image's grid
_MOST_TILES, _MOST_CANDIDATES = 24, 256
_AT_ONCE = 250  # tiles; more would fall out of the caches
_MARGIN = 1024  # pixels of a side in which repetitions are looked for
_RULED_OUT = -7.0  # nats
_LEAST_RULED_OUT = 90  # quality
_LEAST_BLOCKS = 4
_EARLIER_FROM = 5.0  # nats; under any threshold
_BEFORE_A_RESIZE = "no JPEG since the last resize, and no evidence that there was none before one"


@dataclass(frozen=True)
class Evidence:
    """What was measured of an image.

    Attributes:
        pixels: Number of them.
        score: Of the best lattice, in nats: see `bench.audit.lattice.Lattice`, as of the next four.
        quality: Of it.
        offset: Of it.
        blocks: Of use.
        by_quality: Score of each quality, float32 [100].
        contrast: See `bench.audit.half_chroma.HalfChroma`.
        floor: The same.
        detail: See `bench.audit.fine_detail.FEATURES`, float32.
        repeated: Whether rows or columns repeat their neighbours.
        earlier: Quality of a save before the one with that lattice, where it would show.
    """

    pixels: int
    score: float
    quality: int
    offset: int
    blocks: int
    by_quality: npt.NDArray[np.float32]
    contrast: float
    floor: float
    detail: npt.NDArray[np.float32]
    repeated: bool
    earlier: int | None


@dataclass(frozen=True)
class History:
    """What is known about an image.

    Attributes:
        verdict: "jpeg" where the lattice of a save shows; "lossy" where chroma was stored at half size and no lattice
            shows, as WebP and AVIF leave it; "lossless" where there is detail that a lossy codec at this size, or at
            half to twice this size before a resize, would have taken; "unknown" where neither shows.
        jpeg: Probability that the pixels are those of a JPEG that was not resized since, 0 to 1, where half of all are.
        lossless: Probability that they never were lossy, where half of those that are no such JPEG were not. The rest
            of the three is the probability of any other past.
        quality: Of that save, 5 to 98; None where there was none, or its table is no standard one.
        offset: Rows and columns of pixels before its first whole block; None where there was none.
        earlier_quality: Of a save before that one, where it shows.
        half_chroma: Whether chroma was stored at half size.
        ruled_out: Highest quality up to which no standard table can have been the last save since the last resize; 0
            where none can be excluded.
        reason: Why it is unknown, in a few words.
    """

    verdict: Verdict
    jpeg: float
    lossless: float
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
    return conclude(measure(images))


def measure(images: Sequence[Bytes]) -> list[Evidence | None]:
    """Measure the pixels of images; None of those that are smaller than `SMALLEST_SIDE`.

    Args:
        images: uint8 [H, W, 3] each.
    """
    found: list[Evidence | None] = [None] * len(images)
    groups: dict[tuple[int, ...], list[int]] = {}
    tiles = {index: cut_tiles(image) for index, image in enumerate(images) if min(image.shape[:2]) >= SMALLEST_SIDE}
    for index, cut in tiles.items():
        groups.setdefault(cut.shape, []).append(index)
    for shape, members in groups.items():
        step = max(1, _AT_ONCE // shape[0])
        for start in range(0, len(members), step):
            chosen = members[start : start + step]
            wholes = [images[index] for index in chosen]
            together = _look(np.concatenate([tiles[index] for index in chosen]), shape[0], wholes)
            for index, evidence in zip(chosen, together, strict=True):
                found[index] = evidence
    return found


def cut_tiles(rgb: Bytes) -> Bytes:
    """Tiles of one size, cut at multiples of 32 pixels; those with most unclipped detail of an even choice.

    Args:
        rgb: uint8 [H, W, 3].

    Returns:
        uint8 [T, h, w, 3] with T up to 24; the image itself where it has at most 64 x 64 pixels.
    """
    height, width = rgb.shape[:2]
    if max(height, width) <= _WHOLE:
        return rgb[None]
    rows, columns = (range(0, max(1, side - _TILE + 1), _STRIDE) for side in (height, width))
    places = [(y, x) for y in rows for x in columns]
    places = [places[int(n)] for n in np.linspace(0, len(places) - 1, min(len(places), _MOST_CANDIDATES))]
    tiles = np.stack([rgb[y : y + _TILE, x : x + _TILE] for y, x in places])
    if len(tiles) <= _MOST_TILES:
        return tiles
    order = np.argsort(-_detail(tiles), kind="stable")[:_MOST_TILES]
    return tiles[np.sort(order)]


def _detail(tiles: Bytes) -> npt.NDArray[np.float64]:
    """Mean size of the unclipped steps of green between neighbours, which a few strong edges do not rule, [T]."""
    green = tiles[..., 1].astype(np.int16)
    step = np.minimum(np.abs(np.diff(green, axis=2)), 16)
    inside = (green > 0) & (green < 255)
    return np.asarray((step * (inside[:, :, 1:] & inside[:, :, :-1])).mean((1, 2)))


def _look(rgb: Bytes, groups: int, wholes: Sequence[Bytes]) -> list[Evidence]:
    """Measure equal numbers of tiles per image, uint8 [N * groups, H, W, 3], and the images themselves."""
    pixels, spoilt = luma(rgb), clipped(rgb)
    lattice = find_lattice(pixels, spoilt, groups)
    chroma = half_chroma(rgb, spoilt, groups)
    if len(rgb) == len(wholes) and rgb[0].shape == wholes[0].shape:
        period, repeated = periods(pixels), repeats(rgb)
    else:
        parts = [whole[None, :_MARGIN, :_MARGIN] for whole in wholes]
        period = np.concatenate([periods(luma(part)) for part in parts])
        repeated = np.concatenate([repeats(part) for part in parts])
    detail = fine_detail(rgb, spoilt, period, groups)
    found = []
    for n, whole in enumerate(wholes):
        size, score, quality = whole.shape[0] * whole.shape[1], float(lattice.score[n]), int(lattice.quality[n])
        part, offset, earlier = slice(n * groups, (n + 1) * groups), int(lattice.offset[n]), None
        if score > _EARLIER_FROM:
            earlier = earlier_quality(pixels[part], spoilt[part], standard_tables()[quality - 1], offset)
        numbers = int(lattice.blocks[n]), lattice.by_quality[n], float(chroma.contrast[n]), float(chroma.floor[n])
        found.append(Evidence(size, score, quality, offset, *numbers, detail[n], bool(repeated[n]), earlier))
    return found


def conclude(evidence: Sequence[Evidence | None]) -> list[History]:
    """What measurements say, by the fitted numbers of `bench.audit.calibration`."""
    known, fitted = [one for one in evidence if one is not None], calibration()
    if not known:
        return [_too_small() for _ in evidence]
    jpeg = fitted.jpeg.probabilities(jpeg_features([one.score for one in known], [one.blocks for one in known]))
    chroma = half_chroma_features([one.contrast for one in known], [one.floor for one in known])
    detail = np.stack([one.detail for one in known])
    halved, lossless = fitted.half_chroma.logits(chroma), fitted.lossless.logits(detail)
    share = (1 - jpeg) * fitted.lossless.probabilities(detail)
    told = iter(
        _conclude(one, float(jpeg[n]), float(share[n]), float(halved[n]), float(lossless[n]))
        for n, one in enumerate(known)
    )
    return [_too_small() if one is None else next(told) for one in evidence]


def _too_small() -> History:
    return History("unknown", 0.5, 0.25, reason=f"smaller than {SMALLEST_SIDE} pixels")


def _conclude(evidence: Evidence, jpeg: float, lossless: float, halved: float, detail: float) -> History:
    """The verdict, from probabilities and the log-odds of half chroma and of fine detail."""
    fitted, size = calibration(), size_of(evidence.pixels)
    ruled_out = _ruled_out(evidence.by_quality)
    half = halved > fitted.half_chroma.thresholds[size]
    if evidence.repeated:
        return History("unknown", 0.5, 0.25, reason="rows or columns repeat, as after enlarging")
    if evidence.score > fitted.jpeg.thresholds[size]:
        place = divmod(evidence.offset, BLOCK)
        return History("jpeg", jpeg, lossless, evidence.quality, place, evidence.earlier, half)
    if evidence.blocks < _LEAST_BLOCKS:
        return History("unknown", 0.5, 0.25, reason="too few blocks that are neither flat nor clipped")
    if half:
        return History("lossy", jpeg, lossless, half_chroma=True, ruled_out=ruled_out)
    no_save = ruled_out >= _LEAST_RULED_OUT and evidence.score <= 0  # a higher quality may be likelier
    if detail > fitted.lossless.thresholds[size] and no_save:
        return History("lossless", jpeg, lossless, ruled_out=ruled_out)
    reason = _BEFORE_A_RESIZE
    if not no_save:
        reason = f"saves at quality {ruled_out + 1} and above cannot be told from none"
    return History("unknown", jpeg, lossless, ruled_out=ruled_out, reason=reason)


def _ruled_out(by_quality: npt.NDArray[np.float32]) -> int:
    possible = np.nonzero(by_quality[WORST_TOLD - 1 : BEST_TOLD] > _RULED_OUT)[0]
    if not len(possible):
        return BEST_TOLD
    return WORST_TOLD - 1 + int(possible[0]) if possible[0] else 0
