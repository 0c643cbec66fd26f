"""What the folder that `lightning export` writes and `ViewFolders` reads says about itself."""

import csv
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from datamodules.errors import UserError
from datamodules.files import open_regular

MANIFEST = "export.json"
IMAGES = "images.csv"
SIZES = "bytes.csv"
UNFINISHED = "unfinished.json"
"""Is there as long as an export is not complete."""

SCHEMA = 1
_LARGEST_MANIFEST = 2**24  # bytes
_LONGEST_LINE = 2**14  # characters
_LARGEST_SIZE = 2**31 - 1  # bytes, which outcomes hold as int32
_IMAGE_COLUMNS = ["file", "label"]
_SIZE_COLUMNS = ["file", "bytes"]


@dataclass(frozen=True)
class Manifest:
    """What an export says about the images that it was made of.

    Attributes:
        name: Of the data set, for records.
        split: Of the data set.
        content: Digest of the images and labels of the split.
        class_names: As they are put into prompts; labels are positions in it.
        templates: Prompts that belong to the data set; empty where none are known.
        views: Names of the views, the original first.
        files: Whether the images were files of their own, whose paths records show.
        selection: Which images of the split these are.
        software: Versions of Pillow and the codecs' libraries.
    """

    name: str
    split: str
    content: str
    class_names: list[str]
    templates: list[str]
    views: list[str]
    files: bool
    selection: dict[str, Any]
    software: dict[str, str | None]

    def text(self) -> str:
        """The file's content: JSON."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, file: Path) -> "Manifest":
        """Read a manifest.

        Raises:
            UserError: It is none.
        """
        with open_regular(file, "export manifest") as opened:
            content = opened.read(_LARGEST_MANIFEST + 1)
        try:
            if len(content) > _LARGEST_MANIFEST:
                raise ValueError(f"it has more than {_LARGEST_MANIFEST:,} bytes")
            found = json.loads(content)
            if found.pop("schema", None) != SCHEMA:
                raise ValueError(f"its schema is not {SCHEMA}")
            manifest = cls(**found)
            texts = (manifest.name, manifest.split, manifest.content)
            lists = (manifest.class_names, manifest.templates, manifest.views)
            if not all(isinstance(text, str) for text in texts) or not isinstance(manifest.files, bool):
                raise ValueError("a value is of another kind")
            if not all(isinstance(value, list) and all(isinstance(text, str) for text in value) for value in lists):
                raise ValueError("its lists are not of texts")
            if not stays_inside(manifest.split):
                raise ValueError(f"its split {manifest.split[:80]!r} leads out of the folder")
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{str(file)!r} is no manifest of an export ({reason}): export again") from error
        return manifest


def write_images(file: Path, rows: Iterable[tuple[str, int]]) -> None:
    """Write the list of images in order: path of the original below its folder, and label."""
    _write(file, _IMAGE_COLUMNS, rows)


def read_images(file: Path, classes: int) -> tuple[list[str], list[int]]:
    """Paths and labels of the images of an export, in order.

    Args:
        file: The list.
        classes: Number of classes; labels are below it, or -1 for all images.

    Raises:
        UserError: It is no such list.
    """
    paths, labels = [], []
    for line, (path, label) in enumerate(_rows(file, _IMAGE_COLUMNS), start=2):
        if not stays_inside(path):
            raise UserError(f"{str(file)!r}, line {line}: {path[:80]!r} leads out of the folder: export again")
        paths.append(path)
        labels.append(_whole(file, line, label, -1))
    if labels and not (max(labels) < classes and (min(labels) >= 0 or max(labels) < 0)):
        raise UserError(f"{str(file)!r} has labels beyond the {classes} classes: export again")
    return paths, labels


def write_sizes(file: Path, rows: Iterable[tuple[str, int | None]]) -> None:
    """Write the encoded size in bytes of each image of a view, blank where nothing was encoded, by file."""
    _write(file, _SIZE_COLUMNS, ((path, "" if size is None else size) for path, size in rows))


def read_sizes(file: Path) -> dict[str, int | None]:
    """Encoded size in bytes by file.

    Raises:
        UserError: It is no such table.
    """
    return {
        path: _whole(file, line, size, 0) if size else None
        for line, (path, size) in enumerate(_rows(file, _SIZE_COLUMNS), start=2)
    }


def _write(file: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    temporary = file.with_name(f".{file.name}")
    with temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as opened:
        table = csv.writer(opened, lineterminator="\n")
        table.writerow(columns)
        table.writerows(rows)
    temporary.replace(file)


def _rows(file: Path, columns: Sequence[str]) -> Iterable[list[str]]:
    open_regular(file, "table").close()
    with file.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as opened:  # Excel's begins with a mark
        table = csv.reader(_short_lines(opened, file))
        try:
            if next(table, None) != list(columns):
                raise UserError(f"{str(file)!r} has to begin with a line {','.join(columns)!r}")
            for number, row in enumerate(table, start=2):
                if len(row) != len(columns):
                    raise UserError(f"{str(file)!r}, line {number}: {len(row)} values in place of {len(columns)}")
                yield row
        except csv.Error as error:
            raise UserError(f"{str(file)!r} is no table ({error}): write one with the columns {columns}") from error


def _short_lines(opened: Any, file: Path) -> Iterable[str]:
    while line := opened.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise UserError(f"{str(file)!r} has a line of more than {_LONGEST_LINE} characters: it is no such table")
        yield line


def _whole(file: Path, line: int, text: str, least: int) -> int:
    digits = text.removeprefix("-").isdecimal() and text.isascii() and len(text) < 16
    if not (digits and least <= int(text) <= _LARGEST_SIZE):
        raise UserError(
            f"{str(file)!r}, line {line}: {text[:40]!r} is no whole number of at least {least} and at most "
            f"{_LARGEST_SIZE:,}"
        )
    return int(text)


def view_names(originals: Sequence[str]) -> list[str]:
    """What the files of a view are called before their ending, by the paths of their originals: no two alike.

    >>> view_names(["cat/1.png", "2.png", "2.jpg", "2.png.png"])
    ['cat/1', '2.png', '2.jpg', '2.png.png']
    """
    stems = [os.path.splitext(path)[0] for path in originals]
    times = Counter(stems) + Counter(originals)
    return [stem if times[stem] == 1 else path for stem, path in zip(stems, originals, strict=True)]


def stays_inside(path: str) -> bool:
    """Whether a relative path leads to a place below the folder that it is relative to.

    >>> stays_inside("cat/1.png"), stays_inside("../1.png"), stays_inside("/1.png")
    (True, False, False)
    """
    parts = PurePosixPath(path).parts
    return bool(parts) and not PurePosixPath(path).is_absolute() and ".." not in parts and "\0" not in path
