"""Images that are files below a folder."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np

from datamodules.class_names import ClassNames, prompt_names
from datamodules.errors import UserError
from datamodules.image_files import FileNames, ImageFiles, display, followed
from datamodules.image_formats import extension, formats_by_extension, why_passed_over
from datamodules.opening import require_root
from datamodules.sources import UNLABELLED

_EXTENSIONS_NAMED = 6


class FolderSource(ImageFiles):
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
        require_root(root)
        self.root = root
        self._others: Counter[str] = Counter()
        folders, loose = visible(root)
        flat = self._images(loose)
        if folders and flat:
            raise UserError(
                f"data root {str(root)!r} holds class folders and loose images such as {flat[0]!r}: "
                "move the loose images away or into a class folder"
            )
        files, labels = [FileNames(flat)], [np.full(len(flat), UNLABELLED, np.int32)]
        enclosing = {os.path.realpath(root), *map(str, root.resolve().parents)}  # links to them are loops
        for label, folder in enumerate(followed(folders, "Listing images", "folder")):
            found = self._images(_walk(root, folder, set(enclosing)))
            if not found:
                raise UserError(
                    f"class folder {str(root / folder)!r} holds no image that Pillow can decode{self._because()}: "
                    "remove it or fill it"
                )
            files.append(FileNames(found))
            labels.append(np.full(len(found), label, np.int32))
        names = FileNames.joined(files)
        if not names:
            raise UserError(
                f"data root {str(root)!r} holds no image that Pillow can decode{self._because()}: give a folder laid "
                "out as <class>/<image> with `root`",
                option="data.root",
            )
        classes = prompt_names(root, [display(folder) for folder in folders], class_names)
        super().__init__(root, names, np.concatenate(labels), classes)

    def passed_over(self) -> str | None:
        """Files that are no images, counted by extension, and what would make images of them."""
        if not self._others:
            return None
        counts = [
            f"{count} {display(ending) if ending else 'without extension'}{_reason(ending)}"
            for ending, count in self._others.most_common(_EXTENSIONS_NAMED)
        ]
        more = len(self._others) - len(counts)
        return ", ".join([*counts, *([f"and {more} other extensions"] if more else [])])

    def _because(self) -> str:
        return f" ({self.passed_over()})" if self._others else ""

    def _images(self, files: Iterable[str]) -> list[str]:
        """Those whose extension is of a format that can be decoded, sorted."""
        by_extension, images = formats_by_extension(), []
        endings = set()  # as they are written, which spares a visible name the whole of `extension`
        for file in files:
            ending = file[file.rfind(".") :]
            if ending in endings:
                images.append(file)
            elif (ending := extension(file)) in by_extension:
                endings.add(file[-len(ending) :])
                images.append(file)
            else:
                self._others[ending] += 1
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


def _walk(root: Path, folder: str, seen: set[str]) -> Iterator[str]:
    """Everything visible below a folder of the root that is no folder; those in `seen` (real paths) are passed over."""
    above = len(os.path.join(root, ""))
    for here, folders, files in os.walk(os.path.join(root, folder), followlinks=True, onerror=_refuse):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(filter(_is_visible, folders))
        below = os.path.join(here[above:], "")
        yield from (below + name for name in filter(_is_visible, files))


def _refuse(error: OSError) -> NoReturn:
    raise UserError(f"folder {str(error.filename)!r} cannot be listed ({error.strerror}): make it readable") from error


def _is_visible(name: str) -> bool:
    return not name.startswith(".")
