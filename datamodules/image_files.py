"""Images that are files below a folder: their names and labels, held in little memory."""

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar, overload

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from datamodules.image_formats import LOSSY, extension, formats_by_extension, open_image_file
from datamodules.sources import UNLABELLED, AlreadyLossy, Source, digest
from datamodules.text import printable

Item = TypeVar("Item")

_AT_ONCE = 4096
_PATIENCE = 3  # seconds without a progress bar


class FileNames(Sequence[str]):
    """Names of files in one buffer: some 40 bytes each, which forked processes share since nothing counts references.

    Args:
        names: As the operating system has them, in order.

    >>> FileNames(["cat/1.png", "dog/2.png"])[1]
    'dog/2.png'
    """

    def __init__(self, names: Iterable[str]) -> None:
        texts = [*names]
        if (whole := "".join(texts)).isascii():
            self._take(whole.encode("ascii"), np.fromiter(map(len, texts), np.int64, len(texts)))
        else:
            encoded = [*map(os.fsencode, texts)]
            self._take(b"".join(encoded), np.fromiter(map(len, encoded), np.int64, len(encoded)))

    @classmethod
    def joined(cls, parts: Sequence["FileNames"]) -> "FileNames":
        """The names of several, one after the other."""
        whole = cls(())
        whole._take(b"".join(part._buffer for part in parts), np.concatenate([np.diff(part._ends) for part in parts]))
        return whole

    def _take(self, buffer: bytes, lengths: npt.NDArray[np.int64]) -> None:
        self._buffer = buffer
        self._ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"{index} is none of {len(self)} names")
        index %= len(self)
        return os.fsdecode(self._buffer[self._ends[index] : self._ends[index + 1]])

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), _AT_ONCE):
            ends = self._ends[first : first + _AT_ONCE + 1]
            block = self._buffer[ends[0] : ends[-1]]
            places = itertools.pairwise((ends - ends[0]).tolist())
            if block.isascii():
                text = block.decode("ascii")
                yield from (text[start:end] for start, end in places)
            else:
                yield from (os.fsdecode(block[start:end]) for start, end in places)


class ImageFiles(Source):
    """Image files with their labels.

    Args:
        root: The folder that holds them.
        files: Their paths below it.
        labels: Class indices, one for each, or UNLABELLED for all.
        classes: Class names.
        templates: Prompts that belong to them.

    Raises:
        ValueError: The arguments do not fit each other.
    """

    def __init__(
        self,
        root: Path,
        files: FileNames | Sequence[str],
        labels: npt.ArrayLike,
        classes: Sequence[str],
        templates: Sequence[str] = (),
    ) -> None:
        self.root, self.classes, self.templates = root, tuple(classes), tuple(templates)
        self.files = files if isinstance(files, FileNames) else FileNames(files)
        self.labels = np.asarray(labels, dtype=np.int32)
        if len(self.files) != len(self.labels):
            raise ValueError(f"{len(self.files)} images have {len(self.labels)} labels")
        unlabelled = bool((self.labels == UNLABELLED).all())
        if not unlabelled and not 0 <= self.labels.min() <= self.labels.max() < len(classes):
            raise ValueError(f"labels lie outside 0 to {len(classes) - 1}")

    def __len__(self) -> int:
        return len(self.files)

    def load(self, index: int) -> Image.Image:
        return open_image_file(self.root / self.files[index])

    def label(self, index: int) -> int:
        return int(self.labels[index])

    def path(self, index: int) -> str:
        return display(self.files[index])

    def file_size(self, index: int) -> int:
        return (self.root / self.files[index]).stat().st_size

    def file(self, index: int) -> bytes:
        return (self.root / self.files[index]).read_bytes()

    def content(self) -> str:
        """A digest of paths, sizes and labels: reading every file would take as long as the benchmark."""
        root = os.path.join(self.root, "")
        files = zip(followed(self.files, "Reading sizes", "file"), self.labels.tolist(), strict=True)
        return digest((display(file), _size(root + file), label) for file, label in files)

    def already_lossy(self) -> AlreadyLossy:
        """Formats of files that are lossy by their extension; what their pixels were before is the audit's to tell."""
        return self._already_lossy

    @cached_property
    def _already_lossy(self) -> AlreadyLossy:  # records ask for it several times
        lossy = {ending for ending, key in formats_by_extension().items() if key in LOSSY}
        found, first = dict.fromkeys(lossy, 0), None
        for file in self.files:
            if (ending := extension(file)) in lossy:
                found[ending] += 1
                first = first or file
        if first is None:
            return AlreadyLossy()
        formats = {formats_by_extension()[ending] for ending, count in found.items() if count}
        return AlreadyLossy(tuple(sorted(formats)), sum(found.values()), display(first))


def followed(items: Sequence[Item], what: str, unit: str) -> Iterable[Item]:
    """The items, with a progress bar where they take more than a few seconds and someone looks on."""
    hidden = True if os.environ.get("LOCAL_RANK", "0") != "0" else None  # None: where nobody looks
    bar: Iterable[Item] = tqdm(items, desc=what, unit=unit, unit_scale=True, delay=_PATIENCE, disable=hidden)
    return bar


def display(name: str) -> str:
    """A file name as one line of valid UTF-8: what does not show, and bytes that are no UTF-8, become escapes."""
    if name.isascii() and name.isprintable():
        return name
    return printable(os.fsencode(name).decode("utf-8", "backslashreplace"))


def _size(file: str) -> int | None:
    try:
        return os.stat(file).st_size
    except OSError:  # reading it later reports it with its name
        return None
