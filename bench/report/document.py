"""What a report is made of, whatever it is written as."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.report.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_PICTURE_BYTES = 2**26
"""Of a file that a gallery shows."""


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


def is_picture(path: Path) -> bool:
    """Whether a gallery can show a file: a regular one, no link to one, of a bearable size."""
    return path.is_file() and not path.is_symlink() and path.stat().st_size <= MOST_PICTURE_BYTES


Terms = Mapping[str, str]
"""Terms and what is said about them."""


@dataclass(frozen=True)
class Findings:
    """Sentences that a reader has to know, each with title and anchor of the section that holds its numbers."""

    sentences: tuple[tuple[str, str, str], ...]


Block = str | Terms | Table | Plot | Gallery | Findings
"""A text is a paragraph."""


@dataclass(frozen=True)
class Section:
    """A titled part of a report.

    Attributes:
        title: For readers; a chapter's sections have different ones.
        blocks: What is shown, in order.
        findings: Sentences made from its numbers that stand at the top of the page, the most important first.
    """

    title: str
    blocks: tuple[Block, ...]
    findings: tuple[str, ...] = ()


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

    def anchor(self, section: Section | None = None) -> str:
        """Where a link to the chapter, or to a section of it, leads.

        >>> Chapter("cifar10/test", (), "cifar10-test").anchor(Section("Between encoders", ()))
        'cifar10-test.between-encoders'
        """
        parts = [self.group or self.title, *([] if section is None else [section.title])]
        return ".".join(re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") for part in parts)


@dataclass(frozen=True)
class Report:
    """A whole report."""

    title: str
    summary: str
    chapters: tuple[Chapter, ...]

    @property
    def blocks(self) -> list[tuple[Chapter, Block]]:
        """Everything that is shown, with its chapter."""
        return [(chapter, block) for chapter in self.chapters for one in chapter.sections for block in one.blocks]
