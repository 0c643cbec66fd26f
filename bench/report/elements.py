"""What a report is made of, whatever it is written as."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MISSING = "\N{EN DASH}"


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: What is read first.
        details: Lines in smaller type below it.
        value: What a column is sorted by; the text where None.
        strong: Whether it is in bold.
        marked: Whether it is highlighted as a deviation.
    """

    text: str
    details: tuple[str, ...] = ()
    value: float | None = None
    strong: bool = False
    marked: bool = False


@dataclass(frozen=True)
class Table:
    """A table; its name is that of its LaTeX file."""

    name: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Plot:
    """A figure, drawn when it is written; its name is that of its PNG and SVG files."""

    name: str
    title: str
    draw: Callable[[], "Figure"]
    note: str = ""


@dataclass(frozen=True)
class Gallery:
    """PNG files, with a caption each."""

    name: str
    title: str
    pictures: tuple[tuple[str, Path], ...]
    note: str = ""


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Listing:
    """A list of lines, each with a term that is set off."""

    items: tuple[tuple[str, str], ...]


Block = Table | Plot | Gallery | Text | Listing


@dataclass(frozen=True)
class Section:
    """A titled part of a report.

    Attributes:
        title: Its heading.
        blocks: What is shown.
        data: Rows for the CSV files by file name: columns to values, floats with all their digits.
    """

    title: str
    blocks: tuple[Block, ...]
    data: Mapping[str, tuple[Mapping[str, object], ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Chapter:
    """A titled sequence of sections: one group of runs over the same images, or what concerns all of them."""

    title: str
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class Report:
    """All of it."""

    title: str
    summary: str
    chapters: tuple[Chapter, ...]


def number(value: float, digits: int = 4, *, signed: bool = False) -> str:
    """A number as text, with a minus sign instead of a hyphen; a dash for NaN.

    >>> number(0.25, 2), number(0.25, signed=True), number(-1e-9, signed=True)
    ('0.25', '+0.2500', '0.0000')
    """
    if value != value:
        return MISSING
    text = f"{value:{'+' if signed else ''}.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", "\N{MINUS SIGN}")


def p_value(value: float) -> str:
    """A p-value as text.

    >>> p_value(0.03), p_value(1e-9)
    ('p = 0.0300', 'p < 0.0001')
    """
    return "p < 0.0001" if value < 0.0001 else f"p = {value:.4f}"
