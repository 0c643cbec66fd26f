"""Images that are files below a folder."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from PIL import Image

from datamodules.class_names import ClassNames, prompt_names
from datamodules.errors import UserError
from datamodules.image_formats import LOSSY, extension, formats_by_extension, open_image_file, why_passed_over
from datamodules.sources import UNLABELLED, AlreadyLossy, Source, digest
from datamodules.text import printable

_EXTENSIONS_NAMED = 6


class FolderSource(Source):
    """Image files below a folder: `<class folder>/**/<image>`, or images without labels when there are no such folders.

    Hidden files and folders are passed over. Within a class each folder counts once, however many links lead to it.

    Args:
        root: The folder.
        class_names: Prompt names: by folder name, in the order of the sorted folders, or a file that holds them; None
            takes the folders' names. Images that lie directly in `root` have no label and need the names as a list.

    Raises:
        UserError: A folder is missing, cannot be listed or holds no image, or the names do not fit the folders.
    """

    def __init__(self, root: Path, class_names: ClassNames = None) -> None:
        if not root.is_dir():
            raise UserError(
                f"data root {str(root)!r} is not a folder: give an existing one with `root`", option="data.root"
            )
        self.root = root
        self._others: Counter[str] = Counter()
        folders, loose = visible(root)
        flat = self._images(root / name for name in loose)
        if folders and flat:
            raise UserError(
                f"data root {str(root)!r} holds class folders and loose images such as {flat[0]!r}: "
                "move the loose images away or into a class folder"
            )
        self.files: list[str] = flat
        self.labels = [UNLABELLED] * len(flat)
        enclosing = {os.path.realpath(root), *map(str, root.resolve().parents)}  # links to them are loops
        for label, folder in enumerate(folders):
            found = self._images(_walk(root / folder, set(enclosing)))
            if not found:
                raise UserError(
                    f"class folder {str(root / folder)!r} holds no image that Pillow can decode{self._because()}: "
                    "remove it or fill it"
                )
            self.files += found
            self.labels += [label] * len(found)
        if not self.files:
            raise UserError(
                f"data root {str(root)!r} holds no image that Pillow can decode{self._because()}: give a folder laid "
                "out as <class>/<image> with `root`",
                option="data.root",
            )
        self.classes = prompt_names(root, [_display(folder) for folder in folders], class_names)

    def __len__(self) -> int:
        return len(self.files)

    def load(self, index: int) -> Image.Image:
        return open_image_file(self.root / self.files[index])

    def label(self, index: int) -> int:
        return self.labels[index]

    def path(self, index: int) -> str:
        return _display(self.files[index])

    def file_size(self, index: int) -> int:
        return (self.root / self.files[index]).stat().st_size

    def file(self, index: int) -> bytes:
        return (self.root / self.files[index]).read_bytes()

    def content(self) -> str:
        """A digest of paths, sizes and labels: reading every file would take as long as the benchmark."""

        def size(index: int) -> int | None:
            try:
                return self.file_size(index)
            except OSError:  # reading it later reports it with its name
                return None

        return digest((self.path(index), size(index), self.labels[index]) for index in range(len(self)))

    def already_lossy(self) -> AlreadyLossy:
        """Formats of files that are lossy by their extension; what its pixels were before is the audit's to tell."""
        by_extension = formats_by_extension()
        formats = [by_extension[extension(file)] for file in self.files]
        lossy = [index for index, key in enumerate(formats) if key in LOSSY]
        if not lossy:
            return AlreadyLossy()
        return AlreadyLossy(tuple(sorted({formats[index] for index in lossy})), len(lossy), self.path(lossy[0]))

    def passed_over(self) -> str | None:
        """Files that are no images, counted by extension, and what would make images of them."""
        if not self._others:
            return None
        counts = [
            f"{count} {_display(ending) if ending else 'without extension'}{_reason(ending)}"
            for ending, count in self._others.most_common(_EXTENSIONS_NAMED)
        ]
        more = len(self._others) - len(counts)
        return ", ".join([*counts, *([f"and {more} other extensions"] if more else [])])

    def _because(self) -> str:
        return f" ({self.passed_over()})" if self._others else ""

    def _images(self, files: Iterator[Path]) -> list[str]:
        """Those whose extension is of a format that can be decoded, relative to the root, sorted."""
        by_extension, images = formats_by_extension(), []
        for file in files:
            if extension(file.name) in by_extension:
                images.append(str(file.relative_to(self.root)))
            else:
                self._others[extension(file.name)] += 1
        return sorted(images)


def _reason(ending: str) -> str:
    reason = why_passed_over(ending)
    return f" ({reason})" if reason else ""


def visible(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the folders, sorted, and of everything else that is not hidden in a folder.

    Raises:
        UserError: The folder cannot be listed.
    """
    _, folders, files = next(os.walk(folder, onerror=_refuse))
    return sorted(filter(_is_visible, folders)), list(filter(_is_visible, files))


def _walk(top: Path, seen: set[str]) -> Iterator[Path]:
    """Everything visible below `top` that is no folder; folders in `seen` (real paths) are not entered again."""
    for here, folders, files in os.walk(top, followlinks=True, onerror=_refuse):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(filter(_is_visible, folders))
        yield from (Path(here, name) for name in filter(_is_visible, files))


def _refuse(error: OSError) -> NoReturn:
    raise UserError(f"folder {str(error.filename)!r} cannot be listed ({error.strerror}): make it readable") from error


def _is_visible(name: str) -> bool:
    return not name.startswith(".")


def _display(name: str) -> str:
    """A file name as one line of valid UTF-8: what does not show, and bytes that are no UTF-8, become escapes."""
    return printable(os.fsencode(name).decode("utf-8", "backslashreplace"))
