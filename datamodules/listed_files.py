"""Images that are files of a list, wherever below a folder they lie."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from datamodules.image_formats import LOSSY, extension, formats_by_extension, open_image_file
from datamodules.sources import AlreadyLossy, Source, digest
from datamodules.text import printable


class ListedFiles(Source):
    """Image files with their labels.

    Args:
        root: A folder above them.
        files: Their paths, absolute or as seen from the working directory.
        labels: Class indices, one for each.
        classes: Class names.
        templates: Prompts that belong to them.

    Raises:
        ValueError: The arguments do not fit each other.
    """

    def __init__(
        self,
        root: Path,
        files: Sequence[str | Path],
        labels: Sequence[int],
        classes: Sequence[str],
        templates: Sequence[str] = (),
    ) -> None:
        self.root, self.classes, self.templates = root, tuple(classes), tuple(templates)
        self.files = [os.path.relpath(file, root) for file in files]
        self.labels = np.asarray(labels, dtype=np.int64)
        if len(self.files) != len(self.labels):
            raise ValueError(f"{len(self.files)} images have {len(self.labels)} labels")
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(classes):
            raise ValueError(f"labels lie outside 0 to {len(classes) - 1}")

    def __len__(self) -> int:
        return len(self.files)

    def load(self, index: int) -> Image.Image:
        return open_image_file(self.root / self.files[index])

    def label(self, index: int) -> int:
        return int(self.labels[index])

    def path(self, index: int) -> str:
        return printable(os.fsencode(self.files[index]).decode("utf-8", "backslashreplace"))

    def file_size(self, index: int) -> int:
        return (self.root / self.files[index]).stat().st_size

    def file(self, index: int) -> bytes:
        return (self.root / self.files[index]).read_bytes()

    def content(self) -> str:
        """A digest of paths, sizes and labels."""

        def size(index: int) -> int | None:
            try:
                return self.file_size(index)
            except OSError:  # reading it later reports it with its name
                return None

        return digest((self.path(index), size(index), int(self.labels[index])) for index in range(len(self)))

    def already_lossy(self) -> AlreadyLossy:
        """Formats of files that are lossy by their extension."""
        by_extension = formats_by_extension()
        formats = [by_extension.get(extension(file), "") for file in self.files]
        lossy = [index for index, key in enumerate(formats) if key in LOSSY]
        if not lossy:
            return AlreadyLossy()
        return AlreadyLossy(tuple(sorted({formats[index] for index in lossy})), len(lossy), self.path(lossy[0]))
