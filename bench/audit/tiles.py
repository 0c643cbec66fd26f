"""The parts of an image that are looked at: all of a small one, the most telling tiles of a large one."""

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

SMALLEST_SIDE = 16
"""Pixels below which there is no image to say anything about."""

_WHOLE = 64  # pixels; sides up to which an image is taken whole
_TILE = 39  # 32 places of an 8 x 8 window in each direction, so that tiles 32 apart share none
_STRIDE = 32  # a multiple of the block, so that all tiles have the image's grid
_MOST = 24
_MOST_CANDIDATES = 256


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
    if len(tiles) <= _MOST:
        return tiles
    order = np.argsort(-_detail(tiles), kind="stable")[:_MOST]
    return tiles[np.sort(order)]


def _detail(tiles: Bytes) -> npt.NDArray[np.float64]:
    """Mean size of the unclipped steps of green between neighbours, which a few strong edges do not rule, [T]."""
    green = tiles[..., 1].astype(np.int16)
    step = np.minimum(np.abs(np.diff(green, axis=2)), 16)
    inside = (green > 0) & (green < 255)
    return np.asarray((step * (inside[:, :, 1:] & inside[:, :, :-1])).mean((1, 2)))
