"""What a report is made of, whatever it is written as."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.report.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plot:
    """A figure, drawn when it is written; its name is that of its PNG and SVG files."""

    name: str
    title: str
    draw: Callable[[], "Figure"]
    note: str = ""


@dataclass(frozen=True)
class Gallery:
    """Pictures that lie in PNG files, by caption; the name is the beginning of their copies' names."""

    name: str
    title: str
    pictures: Mapping[str, Path]
    note: str = ""

    def copies(self) -> list[tuple[str, Path, str]]:
        """Caption, file, and name of the copy of each."""
        return [(caption, path, f"{self.name}-{n}.png") for n, (caption, path) in enumerate(self.pictures.items(), 1)]


Terms = Mapping[str, str]
"""Terms and what is said about them."""

Block = str | Terms | Table | Plot | Gallery
"""A text is a paragraph."""


@dataclass(frozen=True)
class Section:
    """A titled part of a report: what is shown, in order."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Chapter:
    """A titled sequence of sections: a group of runs over the same images, or what concerns all of them.

    Attributes:
        title: For readers.
        sections: In order.
        group: Name of the group, which the rows of its CSV files begin with; empty for what concerns all of them.
    """

    title: str
    sections: tuple[Section, ...]
    group: str = ""


@dataclass(frozen=True)
class Report:
    """All of it."""

    title: str
    summary: str
    chapters: tuple[Chapter, ...]

    @property
    def blocks(self) -> list[tuple[Chapter, Block]]:
        """Everything that is shown, with its chapter."""
        return [(chapter, block) for chapter in self.chapters for one in chapter.sections for block in one.blocks]
