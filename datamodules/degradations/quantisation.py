"""JPEG quantisation tables: sets of them by name, read from files that need not be trusted."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn

from datamodules.errors import UserError
from datamodules.files import open_regular
from datamodules.text import printable

SCHEMA = 1
SUBSAMPLINGS = ("4:2:0", "4:4:4")
NAME = "[A-Za-z0-9]+(?:[._][A-Za-z0-9]+)*"
"""What a set may be called: it is part of a view's name, whose hyphens part its pieces."""
SCALE = "[1-9][0-9]?|100"
"""How a scale is written."""

_COEFFICIENTS = 64
_LARGEST_STEP = 255  # of baseline JPEG, which every decoder reads
_LARGEST_FILE = 2**20  # bytes; a hundred scales take 70 thousand
_LONGEST_NAME = 40
_LEVELS = 60


@dataclass(frozen=True)
class Quantisation:
    """The tables of one file, and the sampling of chroma.

    Attributes:
        luma: 64 steps in 1..255, row by row of the 8 x 8 block, the horizontal frequency rising within a row.
        chroma: The same for Cb and Cr.
        subsampling: "4:2:0" or "4:4:4".
    """

    luma: tuple[int, ...]
    chroma: tuple[int, ...]
    subsampling: str = "4:2:0"

    @property
    def one_table(self) -> bool:
        """Whether luma and chroma have the same table, which a file then holds once: that saves 69 bytes."""
        return self.luma == self.chroma

    def options(self) -> dict[str, Any]:
        """Of Pillow's `Image.save(format="JPEG")`, with Huffman tables made for the image."""
        tables = [list(self.luma)] if self.one_table else [list(self.luma), list(self.chroma)]
        return {"qtables": tables, "subsampling": self.subsampling, "optimize": True}


@dataclass(frozen=True)
class TableSet:
    """Tables for a range of sizes, under a name that views have.

    Attributes:
        name: Letters and digits, with dots and underscores between them.
        scales: By scale, 1 to 100: tables are meant to take about the bytes of the standard ones at that quality.
        card: What is known about where they come from, JSON-able.
    """

    name: str
    scales: Mapping[int, Quantisation]
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Of the tables alone, whatever the name and the card."""
        content = {str(scale): [*vars(tables).values()] for scale, tables in sorted(self.scales.items())}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def at(self, scale: int) -> Quantisation:
        """The tables of a scale.

        Raises:
            UserError: There are none.
        """
        if scale not in self.scales:
            there = ", ".join(map(str, sorted(self.scales)))
            raise UserError(f"the tables {self.name!r} have no scale {scale}: choose from {there}")
        return self.scales[scale]

    def to_json(self) -> dict[str, Any]:
        """What `read_tables` reads."""
        scales = {
            str(scale): {"subsampling": tables.subsampling, "luma": list(tables.luma), "chroma": list(tables.chroma)}
            for scale, tables in sorted(self.scales.items())
        }
        return {"schema": SCHEMA, "name": self.name, "scales": scales, "card": dict(self.card)}


def scaled(table: Sequence[int], quality: int) -> tuple[int, ...]:
    """A table at a quality, by libjpeg's rule (`jpeg_quality_scaling`), held to 1..255.

    Args:
        table: 64 steps, which are those of quality 50.
        quality: 1 to 100.

    >>> scaled([16] * 64, 25)[0], scaled([16] * 64, 90)[0]
    (32, 3)
    """
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return tuple(min(max((step * percent + 50) // 100, 1), _LARGEST_STEP) for step in table)


def trouble_with_name(name: str) -> str | None:
    """Why tables cannot be called so; None where they can.

    >>> trouble_with_name("mine_2"), trouble_with_name("mine-2")
    (None, "the name 'mine-2' is not letters and digits with dots or underscores between them")
    """
    if len(name) > _LONGEST_NAME:
        return f"the name {name[:_LONGEST_NAME]!r}... has more than {_LONGEST_NAME} characters"
    if re.fullmatch(NAME, name) is None:
        return f"the name {name!r} is not letters and digits with dots or underscores between them"
    return f"the name {name!r} is that of published tables" if name in families() else None


def read_tables(path: Path) -> TableSet:
    """Read a file of tables, as `lightning tables` writes it.

    Args:
        path: JSON of at most a mebibyte.

    Raises:
        UserError: There is no such file, or it is none of tables.
    """
    with open_regular(path.expanduser(), "file of JPEG tables") as opened:
        content = opened.read(_LARGEST_FILE + 1)

    def refuse(problem: str) -> NoReturn:
        raise UserError(
            f"file of JPEG tables {printable(str(path))!r} cannot be used: {printable(problem)}; "
            "name one that `lightning tables` wrote"
        )

    if len(content) > _LARGEST_FILE:
        refuse(f"it has more than {_LARGEST_FILE:,} bytes")
    try:
        found = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        refuse(f"no JSON ({' '.join(str(error).split())[:200]})")
    if not isinstance(found, dict) or not isinstance(found.get("scales"), dict) or not found["scales"]:
        refuse("it has no `scales`")
    if found.get("schema") != SCHEMA or isinstance(found["schema"], bool):
        refuse(f"its schema is {str(found.get('schema'))[:20]}, and {SCHEMA} is read")
    name, card = found.get("name"), found.get("card", {})
    if not isinstance(name, str):
        refuse("its name is no text")
    if trouble := trouble_with_name(name):
        refuse(trouble)
    if not isinstance(card, dict):
        refuse("its card is no mapping")
    scales = {}
    for key, value in found["scales"].items():
        if re.fullmatch(SCALE, key) is None:
            refuse(f"its scale {key[:_LEVELS]!r} is no whole number from 1 to 100")
        if not isinstance(value, dict) or value.get("subsampling") not in SUBSAMPLINGS:
            refuse(f"the subsampling of scale {key} is neither {' nor '.join(SUBSAMPLINGS)}")
        for plane in ("luma", "chroma"):
            steps = value.get(plane)
            if not isinstance(steps, list) or len(steps) != _COEFFICIENTS:
                refuse(f"the {plane} of scale {key} is no list of {_COEFFICIENTS} steps")
            if not all(type(step) is int and 1 <= step <= _LARGEST_STEP for step in steps):
                refuse(f"the {plane} of scale {key} has a step that is no whole number from 1 to {_LARGEST_STEP}")
        scales[int(key)] = Quantisation(tuple(value["luma"]), tuple(value["chroma"]), value["subsampling"])
    return TableSet(name, scales, card)


@cache
def families() -> Mapping[str, str]:
    """Published tables by name, and what they are: those of mozjpeg's `cjpeg -quant-table`; `mozjpeg1` is flat."""
    return {name: family["title"] for name, family in _published().items()}


@cache
def family(name: str) -> TableSet:
    """Published tables at every scale, which is libjpeg's quality."""
    found = _published()[name]
    scales = {q: Quantisation(scaled(found["luma"], q), scaled(found["chroma"], q)) for q in range(1, 101)}
    return TableSet(name, scales, {"title": found["title"]})


@cache
def _published() -> dict[str, Any]:
    text = (files("datamodules.degradations") / "families.json").read_text(encoding="utf-8")
    return dict(json.loads(text)["families"])


_loaded: dict[str, TableSet] = {}


def load_tables(path: Path | str) -> TableSet:
    """Read a file of tables and make its views known in this process: `jpeg-tables-NAME-SCALE`.

    Tables of the same name that were loaded earlier give way.

    Raises:
        UserError: As in `read_tables`.
    """
    tables = read_tables(Path(path))
    make_known(tables)
    return tables


def make_known(tables: TableSet) -> None:
    """Make the views of tables known in this process, in place of earlier ones of that name."""
    _loaded[tables.name] = tables


def loaded_tables() -> tuple[TableSet, ...]:
    """The tables that were loaded in this process."""
    return tuple(_loaded.values())


def names_of_tables() -> list[str]:
    """Names of the tables that are published, and of those that were loaded in this process."""
    return [*families(), *_loaded]


def known_tables(name: str) -> TableSet | None:
    """Tables that are published, or were loaded in this process; None where there are none of this name."""
    return family(name) if name in families() else _loaded.get(name)
