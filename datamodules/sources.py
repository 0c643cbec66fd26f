"""Where images come from: an indexed collection of lossless (or declared lossy) images with labels."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from datamodules.errors import UserError

UNLABELLED = -1
_LOSSY_FORMATS = {"JPEG", "MPO", "WEBP", "AVIF", "JPEG2000", "JXL", "HEIF"}
_HEADERS_PROBED = 32


class Source(ABC):
    """Images of one split of a data set, addressed by index.

    Attributes:
        classes: Class names as they are put into the prompt; a label is an index into them.
    """

    classes: tuple[str, ...]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def load(self, index: int) -> Image.Image:
        """Open image `index` in whatever mode it is stored; may raise whatever the decoder raises."""

    @abstractmethod
    def label(self, index: int) -> int:
        """Class of image `index`, or UNLABELLED."""

    @property
    def labelled(self) -> bool:
        """Whether the images have labels: all of them or none."""
        return len(self) > 0 and self.label(0) != UNLABELLED

    def path(self, index: int) -> str | None:
        """Where image `index` lies, relative to the data root, in valid UTF-8; None if it is no file."""
        return None

    def lossy_formats(self) -> tuple[str, ...]:
        """Lossy formats that images of this source are stored in, sorted."""
        return ()


class ArraySource(Source):
    """Images held in memory.

    Args:
        images: uint8 [N, H, W, 3].
        labels: N class indices.
        classes: Class names.
    """

    def __init__(self, images: npt.NDArray[np.uint8], labels: Sequence[int], classes: Sequence[str]) -> None:
        self.images, self.labels, self.classes = images, np.asarray(labels), tuple(classes)

    def __len__(self) -> int:
        return len(self.images)

    def load(self, index: int) -> Image.Image:
        return Image.fromarray(self.images[index])

    def label(self, index: int) -> int:
        return int(self.labels[index])


class FolderSource(Source):
    """Image files below a folder: `<class folder>/**/<image>`, or images without labels when there are no such folders.

    Args:
        root: The folder.
        class_names: Prompt names: by folder name, or in the order of the sorted folders; None takes the folders' names.
            Images that lie directly in `root` have no label and need the names as a list.

    Raises:
        UserError: The folder is missing or holds no image, or the names do not fit the folders.
    """

    def __init__(self, root: Path, class_names: Mapping[str, str] | Sequence[str] | None = None) -> None:
        if not root.is_dir():
            raise UserError(f"data root {str(root)!r} is not a folder: give an existing one with --data.root")
        self.root = root
        folders = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        flat = [root / file for file in _image_files(root, recurse=False)]
        if folders and flat:
            raise UserError(
                f"data root {str(root)!r} holds class folders and loose images such as {_display(flat[0].name)!r}: "
                "move the loose images away or into a class folder"
            )
        self.files: list[Path] = flat
        self.labels = [UNLABELLED] * len(flat)
        for label, folder in enumerate(folders):
            found = _image_files(root / folder)
            self.files += found
            self.labels += [label] * len(found)
        if not self.files:
            raise UserError(
                f"data root {str(root)!r} holds no image that Pillow can open: expected {root}/<class>/<image>"
            )
        self.classes = _prompt_names(root, folders, class_names)

    def __len__(self) -> int:
        return len(self.files)

    def load(self, index: int) -> Image.Image:
        return Image.open(self.files[index])

    def label(self, index: int) -> int:
        return self.labels[index]

    def path(self, index: int) -> str:
        return _display(os.path.relpath(self.files[index], self.root))

    def lossy_formats(self) -> tuple[str, ...]:
        """Lossy formats by the extension of every file and by the header of a few, for files that lie."""
        by_extension = Image.registered_extensions()
        formats = {by_extension[file.suffix.lower()] for file in self.files}
        for file in self.files[:: -(-len(self.files) // _HEADERS_PROBED)]:
            try:
                with Image.open(file) as image:
                    formats.add(image.format or "")
            except OSError:
                continue  # reading it later reports it with its name
        return tuple(sorted(formats & _LOSSY_FORMATS))


def _prompt_names(
    root: Path, folders: Sequence[str], class_names: Mapping[str, str] | Sequence[str] | None
) -> tuple[str, ...]:
    if not folders:
        if class_names is None or isinstance(class_names, Mapping):
            raise UserError(
                f"the images in {str(root)!r} have no class folders: list the candidate classes with --data.class_names"
            )
        return tuple(class_names)
    if class_names is None:
        return tuple(_display(folder) for folder in folders)
    if isinstance(class_names, Mapping):
        for name in set(class_names) - set(folders):
            raise UserError(f"class_names maps {name!r}, but {str(root)!r} has no such class folder: remove it")
        return tuple(class_names.get(folder, _display(folder)) for folder in folders)
    if len(class_names) != len(folders):
        raise UserError(
            f"class_names lists {len(class_names)} names, but {str(root)!r} has {len(folders)} class folders: "
            "list one name per folder, in the order of the sorted folder names"
        )
    return tuple(class_names)


def _image_files(folder: Path, *, recurse: bool = True) -> list[Path]:
    """Visible files below `folder` whose extension Pillow can open, sorted; folder links are followed once."""
    extensions = Image.registered_extensions()
    readable = {extension for extension, name in extensions.items() if name in Image.OPEN}
    return sorted(file for file in _walk(folder, recurse, set()) if file.suffix.lower() in readable)


def _walk(folder: Path, recurse: bool, ancestors: set[str]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in ancestors:
        return
    for entry in os.scandir(folder):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if recurse:
                yield from _walk(folder / entry.name, recurse, ancestors | {real})
        else:
            yield folder / entry.name


def _display(name: str) -> str:
    """A file name as valid UTF-8: bytes that are none are written as escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
