"""What a JPEG file says about itself: tables, quality, subsampling. Read from its markers; nothing is decoded."""

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from bench.audit.tables import quality_of, zigzag

_SOI, _SOS, _EOI, _DQT = 0xD8, 0xDA, 0xD9, 0xDB
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_BARE = {0x01, *range(0xD0, 0xD8)}
_MOST_SEGMENTS = 10_000
_SUBSAMPLINGS = {(1, 1): "4:4:4", (2, 1): "4:2:2", (2, 2): "4:2:0", (1, 2): "4:4:0", (4, 1): "4:1:1"}


@dataclass(frozen=True)
class JpegHeader:
    """The header of a JPEG file.

    Attributes:
        luma: Table of the first component, 64 steps, row-major.
        chroma: Table of the second; None for grayscale.
        quality: Of libjpeg, 1 to 100, whose standard tables these are; None for custom ones.
        subsampling: "4:4:4", "4:2:2", "4:2:0", "4:4:0", "4:1:1", "gray", or factors such as "3x1".
        progressive: Whether coefficients come coarse to fine.
    """

    luma: tuple[int, ...]
    chroma: tuple[int, ...] | None
    quality: int | None
    subsampling: str
    progressive: bool


def read_header(file: BinaryIO) -> JpegHeader:
    """Read the markers before the first scan.

    Args:
        file: At its beginning.

    Raises:
        ValueError: It is no JPEG file, or a damaged one; the reason in a few words.
    """
    if file.read(2) != bytes((0xFF, _SOI)):
        raise ValueError("no JPEG file")
    tables: dict[int, tuple[int, ...]] = {}
    frame: tuple[int, bytes] | None = None
    for _ in range(_MOST_SEGMENTS):
        marker = _next_marker(file)
        if marker in _BARE:
            continue
        if marker in (_SOS, _EOI):
            break
        length = int.from_bytes(_exactly(file, 2))
        if length < 2:
            raise ValueError("a segment without a length")
        body = _exactly(file, length - 2)
        if marker == _DQT:
            tables |= _tables(body)
        elif marker in _FRAMES and frame is None:
            frame = marker, body
    if frame is None:
        raise ValueError("no frame before the first scan")
    return _header(frame[0], frame[1], tables)


def _header(marker: int, body: bytes, tables: dict[int, tuple[int, ...]]) -> JpegHeader:
    if len(body) < 6 or len(body) < 6 + 3 * body[5] or not body[5]:
        raise ValueError("a frame that is cut")
    components = [(body[7 + 3 * n] >> 4, body[7 + 3 * n] & 15, body[8 + 3 * n]) for n in range(body[5])]
    if any(not across or not down for across, down, _ in components):
        raise ValueError("a component without samples")
    try:
        luma = tables[components[0][2]]
        chroma = tables[components[1][2]] if len(components) > 1 else None
    except KeyError:
        raise ValueError("a component without a quantisation table") from None
    quality = quality_of(luma)
    if chroma is not None and quality is not None and quality_of(chroma, chroma=True) != quality:
        same = luma == chroma and quality == quality_of(chroma)
        quality = quality if same and quality == 100 else None
    return JpegHeader(luma, chroma, quality, _subsampling(components), marker in _PROGRESSIVE)


def _subsampling(components: list[tuple[int, int, int]]) -> str:
    if len(components) == 1:
        return "gray"
    (across, down, _), (across_1, down_1, _) = components[:2]
    if across % across_1 or down % down_1:
        return f"{across}x{down} to {across_1}x{down_1}"
    factors = across // across_1, down // down_1
    return _SUBSAMPLINGS.get(factors, f"{factors[0]}x{factors[1]}")


def _tables(body: bytes) -> dict[int, tuple[int, ...]]:
    found, place = {}, 0
    while place < len(body):
        wide, name = body[place] >> 4, body[place] & 15
        size = 128 if wide else 64
        entries = body[place + 1 : place + 1 + size]
        if len(entries) < size or wide > 1:
            raise ValueError("a quantisation table that is cut")
        table = np.zeros(64, np.int64)
        table[zigzag()] = np.frombuffer(entries, ">u2" if wide else "u1")
        if not table.all():
            raise ValueError("a quantisation step of 0")
        found[name] = tuple(table.tolist())
        place += 1 + size
    return found


def _next_marker(file: BinaryIO) -> int:
    if _exactly(file, 1) != b"\xff":
        raise ValueError("no marker where there should be one")
    marker = 0xFF
    while marker == 0xFF:  # fill bytes
        marker = _exactly(file, 1)[0]
    return marker


def _exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise ValueError("it ends within its header")
    return data
