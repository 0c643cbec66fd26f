"""The JPEG format: libjpeg's hundred quantisation tables, and those of a file with its subsampling."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL.JpegImagePlugin import JpegImageFile

Ints = npt.NDArray[np.int64]

_LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
    87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_CHROMA = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99,
    *(99,) * 35,
)  # fmt: skip
LARGEST_QUALITY = 100
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


def read_header(image: JpegImageFile) -> JpegHeader:
    """What Pillow read of the markers before the first scan.

    Args:
        image: Opened; it need not be decoded.

    Raises:
        ValueError: A component has no quantisation table, no samples or a step of 0.
    """
    components = [(across, down, table) for _, across, down, table in image.layer]
    if not components or any(not across or not down for across, down, _ in components):
        raise ValueError("a component without samples")
    try:
        tables = [tuple(image.quantization[table]) for _, _, table in components]
    except KeyError:
        raise ValueError("a component without a quantisation table") from None
    if any(len(table) != 64 or not all(table) for table in tables):
        raise ValueError("a quantisation table without steps")
    luma, chroma = tables[0], tables[1] if len(tables) > 1 else None
    quality = quality_of(luma)
    if chroma is not None and quality is not None and quality_of(chroma, chroma=True) != quality:
        quality = None
    return JpegHeader(luma, chroma, quality, _subsampling(components), bool(image.info.get("progressive")))


def _subsampling(components: list[tuple[int, int, int]]) -> str:
    if len(components) == 1:
        return "gray"
    (across, down, _), (across_1, down_1, _) = components[:2]
    if across % across_1 or down % down_1:
        return f"{across}x{down} to {across_1}x{down_1}"
    factors = across // across_1, down // down_1
    return _SUBSAMPLINGS.get(factors, f"{factors[0]}x{factors[1]}")


def zigzag() -> Ints:
    """Row-major places of an 8 x 8 table in the order of a file, int64 [64].

    >>> zigzag()[:6].tolist()
    [0, 1, 8, 16, 9, 2]
    """
    return _zigzag().copy()


@cache
def _zigzag() -> Ints:
    places = sorted(((y, x) for y in range(8) for x in range(8)), key=_diagonal)
    return np.array([8 * y + x for y, x in places])


def _diagonal(place: tuple[int, int]) -> tuple[int, int]:
    y, x = place
    return y + x, (y if (y + x) % 2 else x)


@cache
def standard_tables(chroma: bool = False) -> Ints:
    """Tables of the qualities 1 to 100, int64 [100, 64], row-major, steps 1 to 255.

    Annex K of ITU-T T.81 (1992) has the tables of quality 50; the others follow from them as in libjpeg's
    `jpeg_quality_scaling`.

    Args:
        chroma: Whether they are those of chroma in place of luma.

    >>> standard_tables()[[49, 74], 0].tolist()
    [16, 8]
    """
    quality = np.arange(1, LARGEST_QUALITY + 1)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    base = np.array(_CHROMA if chroma else _LUMA)
    return np.asarray(((base * scale[:, None] + 50) // 100).clip(1, 255))


def quality_of(table: npt.ArrayLike, *, chroma: bool = False) -> int | None:
    """The quality, 1 to 100, whose standard table a table is; None for a custom one.

    Args:
        table: 64 steps, row-major.
        chroma: Whether it is used for chroma.
    """
    same: npt.NDArray[Any] = (standard_tables(chroma) == np.asarray(table).reshape(64)).all(1)
    return int(same.argmax()) + 1 if same.any() else None
