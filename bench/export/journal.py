"""What an unfinished export has written so far, so that it can be taken up after any end."""

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench.runs.files import open_regular


@dataclass(frozen=True)
class Written:
    """What became of one image.

    Attributes:
        position: In the export.
        files: By view, relative to the view's folder.
        sizes: Bytes of its encoded form by view, as text: empty where the file is that, NOT_ENCODED where it has none.
    """

    position: int
    files: tuple[str, ...]
    sizes: tuple[str, ...]


class Journal:
    """Which images are written, line by line; a line is there once its image's files are.

    Args:
        file: The journal; a last line that was not finished is dropped.
        images: How many there are.
        views: How many each has.
    """

    def __init__(self, file: Path, images: int, views: int) -> None:
        self._images, self._views = images, views
        self.rows: dict[int, Written] = {}
        self._file = file
        whole = 0
        if file.exists():
            descriptor = open_regular(file, os.O_RDWR)
            with open(descriptor, newline="", encoding="utf-8", errors="surrogateescape") as opened:
                for line in opened:
                    if not line.endswith("\n") or not self._read(line):
                        break
                    whole += len(line.encode("utf-8", "surrogateescape"))
            os.truncate(file, whole)
        self._opened = open(  # noqa: SIM115  # closed by `__exit__`
            open_regular(file, os.O_WRONLY | os.O_APPEND), "a", newline="", encoding="utf-8", errors="surrogateescape"
        )
        self._table = csv.writer(self._opened, lineterminator="\n")

    def __enter__(self) -> Self:
        return self

    def _read(self, line: str) -> bool:
        [row] = csv.reader([line])
        if len(row) != 1 + 2 * self._views or not row[0].isdecimal() or int(row[0]) >= self._images:
            return False
        files, sizes = row[1 : 1 + self._views], row[1 + self._views :]
        self.rows[int(row[0])] = Written(int(row[0]), tuple(files), tuple(sizes))
        return True

    def left(self) -> list[int]:
        """Positions that are not written yet."""
        return [position for position in range(self._images) if position not in self.rows]

    def add(self, written: Written) -> None:
        self.rows[written.position] = written
        self._table.writerow([written.position, *written.files, *written.sizes])
        self._opened.flush()

    def __exit__(self, *_: object) -> None:
        self._opened.close()
