"""Where images come from: an indexed collection of lossless (or declared lossy) images with labels."""

import hashlib
import os
import stat
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from datamodules.errors import UserError
from datamodules.text import printable

UNLABELLED = -1
_LOSSY_FORMATS = {"JPEG", "MPO", "WEBP", "AVIF", "JPEG2000", "JXL", "HEIF"}
_UNDECODABLE = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}  # left to other programs by Pillow
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

    @abstractmethod
    def content(self) -> str:
        """A digest of images and labels, `sha256:<hex>`; equal for equal sources wherever they lie."""

    def lossy_formats(self) -> tuple[str, ...]:
        """Lossy formats that images of this source are stored in, sorted."""
        return ()


class ArraySource(Source):
    """Images held in memory.

    Args:
        images: uint8 [N, H, W, 3].
        labels: N class indices.
        classes: Class names.

    Raises:
        ValueError: The arguments do not fit each other.
    """

    def __init__(self, images: npt.NDArray[np.uint8], labels: Sequence[int], classes: Sequence[str]) -> None:
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
            raise ValueError(f"images are {images.dtype} {list(images.shape)}, not uint8 [N, H, W, 3]")
        if len(images) != len(labels):
            raise ValueError(f"{len(images)} images have {len(labels)} labels")
        if not set(np.unique(labels).tolist()) <= set(range(len(classes))):
            raise ValueError(f"labels lie outside 0 to {len(classes) - 1}")
        self.images = np.ascontiguousarray(images)  # torchvision hands over planes, which Pillow takes slowly
        self.labels, self.classes = np.asarray(labels), tuple(classes)

    def __len__(self) -> int:
        return len(self.images)

    def load(self, index: int) -> Image.Image:
        return Image.fromarray(self.images[index])

    def label(self, index: int) -> int:
        return int(self.labels[index])

    def content(self) -> str:
        return digest(
            [str(self.images.shape), *self.labels.tolist()], (np.ascontiguousarray(image).data for image in self.images)
        )


class FolderSource(Source):
    """Image files below a folder: `<class folder>/**/<image>`, or images without labels when there are no such folders.

    Hidden files and folders are passed over. Within a class each folder counts once, however many links lead to it.

    Args:
        root: The folder.
        class_names: Prompt names: by folder name, or in the order of the sorted folders; None takes the folders' names.
            Images that lie directly in `root` have no label and need the names as a list.

    Raises:
        UserError: A folder is missing, cannot be listed or holds no image, or the names do not fit the folders.
    """

    def __init__(self, root: Path, class_names: Mapping[str, str] | Sequence[str] | None = None) -> None:
        if not root.is_dir():
            raise UserError(
                f"data root {str(root)!r} is not a folder: give an existing one with `root`", option="data.root"
            )
        Image.init()
        self.root, self.formats = root, [name for name in Image.ID if name not in _UNDECODABLE]
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
                    f"class folder {str(root / folder)!r} holds no image that Pillow can decode: remove it or fill it"
                )
            self.files += found
            self.labels += [label] * len(found)
        if not self.files:
            raise UserError(
                f"data root {str(root)!r} holds no image that Pillow can decode: give a folder laid out as "
                "<class>/<image> with `root`",
                option="data.root",
            )
        self.classes = _prompt_names(root, folders, class_names)

    def __len__(self) -> int:
        return len(self.files)

    def load(self, index: int) -> Image.Image:
        file = self.root / self.files[index]
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise OSError("not a regular file")  # opening a named pipe would wait for ever
        if status.st_size == 0:
            raise OSError("the file is empty")
        try:
            return Image.open(file, formats=self.formats)
        except UnidentifiedImageError:
            raise UnidentifiedImageError("not in a format that Pillow can decode") from None

    def label(self, index: int) -> int:
        return self.labels[index]

    def path(self, index: int) -> str:
        return _display(self.files[index])

    def content(self) -> str:
        """Of paths, sizes and labels: reading every file would take as long as the benchmark."""

        def size(file: str) -> int | None:
            try:
                return (self.root / file).stat().st_size
            except OSError:  # reading it later reports it with its name
                return None

        return digest((self.path(i), size(file), self.labels[i]) for i, file in enumerate(self.files))

    def lossy_formats(self) -> tuple[str, ...]:
        """Lossy formats by the extension of every file and by the header of a few, for files that lie."""
        by_extension = Image.registered_extensions()
        formats = {by_extension[_extension(file)] for file in self.files}
        for index in range(0, len(self), -(-len(self) // _HEADERS_PROBED)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    with self.load(index) as image:
                        formats.add(image.format or "")
                except Exception:  # reading it later reports it with its name
                    continue
        return tuple(sorted(formats & _LOSSY_FORMATS))

    def _images(self, files: Iterator[Path]) -> list[str]:
        """Those whose extension is of a format that can be decoded, relative to the root, sorted."""
        by_extension = Image.registered_extensions()
        images = (file for file in files if by_extension.get(_extension(file.name)) in self.formats)
        return sorted(str(file.relative_to(self.root)) for file in images)


def digest(facts: Iterable[object], blocks: Iterable[bytes | memoryview] = ()) -> str:
    """`sha256:<hex>` of the representations of facts, a line each, and of blocks of bytes.

    >>> digest(["a", 1]) == digest(["a", 1]) != digest(["a", "1"])
    True
    """
    found = hashlib.sha256()
    for fact in facts:
        found.update(f"{fact!r}\n".encode("utf-8", "backslashreplace"))
    for block in blocks:
        found.update(block)
    return f"sha256:{found.hexdigest()}"


def visible(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the folders, sorted, and of everything else that is not hidden in a folder.

    Raises:
        UserError: The folder cannot be listed.
    """
    _, folders, files = next(os.walk(folder, onerror=_refuse))
    return sorted(filter(_is_visible, folders)), list(filter(_is_visible, files))


def _prompt_names(
    root: Path, folders: Sequence[str], class_names: Mapping[str, str] | Sequence[str] | None
) -> tuple[str, ...]:
    if not folders:
        if class_names is None or isinstance(class_names, Mapping):
            raise UserError(
                f"the images in {str(root)!r} have no class folders: list the candidate classes with `class_names`",
                option="data.class_names",
            )
        return tuple(class_names)
    own = [_display(folder) for folder in folders]
    if class_names is None:
        return tuple(own)
    if isinstance(class_names, Mapping):
        for name in class_names:
            if name not in own:
                raise UserError(f"class_names maps {name!r}, but {str(root)!r} has no such class folder: remove it")
        return tuple(class_names.get(name, name) for name in own)
    if len(class_names) != len(folders):
        raise UserError(
            f"class_names lists {len(class_names)} names, but {str(root)!r} has {len(folders)} class folders: "
            "list one name per folder, in the order of the sorted folder names"
        )
    return tuple(class_names)


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


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _display(name: str) -> str:
    """A file name as one line of valid UTF-8: what does not show, and bytes that are no UTF-8, become escapes."""
    return printable(os.fsencode(name).decode("utf-8", "backslashreplace"))
