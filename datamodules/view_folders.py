"""Views that are there already: one folder per view beside that of the originals."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from time import process_time
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from datamodules.base import DegradedDataModule
from datamodules.class_names import ClassNames
from datamodules.decoding import to_rgb
from datamodules.degradations import ORIGINAL, Degradation, Degraded, FileFormat, Setting, parse
from datamodules.degradations.base import VIEW_NAME
from datamodules.errors import UserError
from datamodules.exports import IMAGES, MANIFEST, SIZES, UNFINISHED, Manifest, read_images, read_sizes, view_names
from datamodules.folders import FolderSource, visible
from datamodules.image_files import FileNames, ImageFiles
from datamodules.opening import require_root
from datamodules.shard_source import NUMBER_OF_SHARDS, sample_key
from datamodules.sources import AlreadyLossy, Source, digest
from datamodules.tar_shards import open_shards
from datamodules.views import NOT_ENCODED


@dataclass(frozen=True)
class StoredView:
    """A view whose images lie in a folder.

    Args:
        name: Of the folder, and the view's.
    """

    name: str
    formats: ClassVar[tuple[FileFormat, ...]] = ()

    @property
    def settings(self) -> tuple[Setting, ...]:
        return () if self._known is None else self._known.settings

    @property
    def size_factor(self) -> float | None:
        return None if self._known is None else self._known.size_factor

    @property
    def block_period(self) -> float | None:
        return None if self._known is None else self._known.block_period

    @property
    def _known(self) -> Degradation | None:
        """What the name says, if it is a specification."""
        try:
            return parse(self.name)
        except UserError:
            return None

    def __call__(self, image: Image.Image) -> Degraded:
        raise TypeError(f"view {self.name!r} is not made but read, by its source: see `ViewFolderSource.degraded`")


class ViewFolderSource(Source):
    """Originals below `root/original`, and an image for each of them below the folder of each view.

    Args:
        root: What holds the folders.
        split: Of the shards in them, where the images lie in shards and are no export, which knows its own.
        views: Names of the view folders.
        class_names: As in `FolderSource`, for folders that are no export.

    Raises:
        UserError: A folder is missing or holds other images than the originals' folder.
    """

    def __init__(self, root: Path, split: str, views: Sequence[str], class_names: ClassNames = None) -> None:
        self.root = root
        if (root / UNFINISHED).exists():
            raise UserError(f"the export in {str(root)!r} is not complete: give the same `lightning export` again")
        self.manifest = Manifest.read(root / MANIFEST) if (root / MANIFEST).exists() else None
        if self.manifest is not None and class_names is not None:
            raise UserError(f"{str(root)!r} is an export, which has class names: leave `class_names` out")
        if self.manifest is not None:
            split = self.manifest.split
        sharded = (root / ORIGINAL / split / NUMBER_OF_SHARDS).exists()
        read = partial(_sharded, split=split) if sharded else _filed
        self._originals, self._views = read(root, views, self.manifest, class_names)
        self.classes, self.templates = self._originals.classes, self._originals.templates
        self._sizes = {
            view: _stated(root / view / SIZES, source)
            for view, source in {ORIGINAL: self._originals, **self._views}.items()
            if (root / view / SIZES).exists()
        }

    def __len__(self) -> int:
        return len(self._originals)

    def load(self, index: int) -> Image.Image:
        return self._originals.load(index)

    def label(self, index: int) -> int:
        return self._originals.label(index)

    def path(self, index: int) -> str | None:
        return None if self.manifest and not self.manifest.files else self._originals.path(index)

    def file_size(self, index: int) -> int | None:
        return self._size(ORIGINAL, self._originals, index)

    def file(self, index: int) -> bytes | None:
        return self._originals.file(index) if ORIGINAL not in self._sizes else None

    def degraded(self, index: int, image: Image.Image, degradation: Degradation) -> Degraded:
        """The file of a view, decoded; its size is that of the file, or what the folder's `bytes.csv` says.

        With a `bytes.csv` the files need not be the codec's own, and the time of decoding them says nothing about it.
        """
        if degradation.name == ORIGINAL:
            return degradation(image)
        source = self._views[degradation.name]
        start = process_time()
        with source.load(index) as opened:
            rgb = to_rgb(opened)
        decode_ms = None if degradation.name in self._sizes else 1e3 * (process_time() - start)
        return Degraded(rgb, self._size(degradation.name, source, index), decode_ms=decode_ms)

    def _size(self, view: str, source: Source, index: int) -> int | None:
        if (sizes := self._sizes.get(view)) is None:
            return source.file_size(index)
        return None if sizes[index] == NOT_ENCODED else int(sizes[index])

    def content(self) -> str:
        """Of the originals: the same as of the data that an export was made of."""
        return self._originals.content() if self.manifest is None else self.manifest.content

    @cached_property
    def views_content(self) -> str:
        """A digest of the files of all views by name and size."""
        return digest((view, source.content()) for view, source in self._views.items())

    def already_lossy(self) -> AlreadyLossy:
        return self._originals.already_lossy()

    def passed_over(self) -> str | None:
        return self._originals.passed_over()


Sources = tuple[Source, dict[str, Source]]
"""The originals, and each view's images in their order."""


def _filed(root: Path, views: Sequence[str], manifest: Manifest | None, class_names: ClassNames) -> Sources:
    """Images that are files."""
    originals: ImageFiles
    if manifest is None:
        originals = FolderSource(root / ORIGINAL, class_names)
    else:
        files, labels = read_images(root / IMAGES, len(manifest.class_names))
        originals = ImageFiles(root / ORIGINAL, files, labels, manifest.class_names, manifest.templates)
    return originals, {
        view: ImageFiles(
            root / view, matched_files(root / view, view, originals.files), originals.labels, originals.classes
        )
        for view in views
    }


def _sharded(
    root: Path, views: Sequence[str], manifest: Manifest | None, class_names: ClassNames, split: str
) -> Sources:
    """Images in tar shards, a set of them below each folder, in the same order."""
    names = list(manifest.class_names) if manifest is not None else class_names
    originals, *others = (open_shards(root / view, split, names) for view in (ORIGINAL, *views))
    for view, source in zip(views, others, strict=True):
        if len(source) != len(originals):
            raise UserError(
                f"view {view!r} has {len(source)} images and {ORIGINAL} {len(originals)}: shards of views hold the same"
            )
        pairs = ((originals.path(index), source.path(index)) for index in range(len(originals)))
        for first, second in pairs:
            if sample_key(first) != sample_key(second):
                raise UserError(f"view {view!r} has {second!r} where {ORIGINAL} has {first!r}: keep the same order")
    return originals, dict(zip(views, others, strict=True))


class ViewFolders(DegradedDataModule):
    """Views that some other program made, one folder per view beside that of the originals; nothing is degraded here.

    The layout is `<root>/[<split>/]original/<class>/**/<image>`, the same with a view's name in place of `original`.
    A view's image has the path of its original, whatever its extension. The file's own size counts; where files are
    decoded copies, a `bytes.csv` in the view's folder says what the encoded ones took: a line `file,bytes`, then a line
    per file. A folder that `lightning export` wrote has this layout; its one split is read, whichever is asked for.

    Args:
        root: The folder.
        views: Names of the view folders that are used; None takes all.
        class_names: As for `ImageFolder`; an export knows its own.
        **kwargs: See `DegradedDataModule`; `degradations` are left out, since the folders are the views.

    Raises:
        UserError: There are no such folders.

    >>> ViewFolders("codec_study", ["vvc-qp32", "jpeg-50"]).views
    ('original', 'vvc-qp32', 'jpeg-50')
    """

    dataset_name: ClassVar[str] = "view_folders"
    splits: ClassVar[tuple[str, ...]] = ("train", "val", "valid", "validation", "test")

    def __init__(
        self, root: Path, views: Sequence[str] | str | None = None, class_names: ClassNames = None, **kwargs: Any
    ) -> None:
        if kwargs.pop("degradations", None) is not None:
            raise UserError(
                "`ViewFolders` degrades nothing: choose among its folders with `views`", option="data.views"
            )
        super().__init__(degradations=(), **kwargs)
        self.root, self.names = Path(root).expanduser(), class_names
        chosen = [views] if isinstance(views, str) else views
        self.degradations = (*self.degradations, *map(StoredView, self._found() if chosen is None else chosen))
        for name in self.views[1:]:
            if name == ORIGINAL:
                raise UserError(f"view {name!r} is not one beside {ORIGINAL}: leave it out", option="data.views")
            if re.fullmatch(VIEW_NAME, name) is None:
                raise UserError(
                    f"view {name!r} cannot be the name of one: give its folder a name of up to 200 letters, digits and "
                    "- . + _, or leave it out",
                    option="data.views",
                )
        if len(set(self.views)) < len(self.views):
            raise UserError("a view is listed twice: list each once", option="data.views")

    def source(self, split: str) -> ViewFolderSource:
        place = self._place_of(split)
        return ViewFolderSource(place, split, self.views[1:], self.names)

    def describe(self) -> dict[str, Any]:
        """What a result record says about the data, JSON-able; of an export what the data it was made of say."""
        source = self.chosen
        assert isinstance(source, ViewFolderSource)
        own: dict[str, Any] = {"root": self.root.name, "views_content": source.views_content}
        if source.manifest is None:
            return {**super().describe(), **own}
        own |= {"name": source.manifest.name, "split": source.manifest.split, "made_with": source.manifest.software}
        return {**super().describe(), **own}

    def _place_of(self, split: str) -> Path:
        require_root(self.root)
        own = self.root / split
        place = own if (own / ORIGINAL).is_dir() else self.root
        if not (place / ORIGINAL).is_dir():
            raise UserError(
                f"data root {str(self.root)!r} has no folder {ORIGINAL!r}, nor {split}/{ORIGINAL}: lay images out as "
                f"{ORIGINAL}/<class>/<image>, and each view beside it",
                option="data.root",
            )
        return place

    def _found(self) -> list[str]:
        place = self._place_of(self.split)
        names = Manifest.read(place / MANIFEST).views if (place / MANIFEST).exists() else visible(place)[0]
        return [name for name in names if name != ORIGINAL]


def matched_files(folder: Path, view: str, originals: Sequence[str]) -> FileNames:
    """The file of each original in the folder of a view.

    Raises:
        UserError: Images of one have no counterpart in the other.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {str(folder)!r} for view {view!r}: check `views`", option="data.views")
    flat = not visible(folder)[0]
    files = FolderSource(folder, ("", " ") if flat else None).files
    own, by_stem = {file: file for file in files}, {os.path.splitext(file)[0]: file for file in files}
    stems = [os.path.splitext(file)[0] for file in originals]
    found: list[str | None] = []
    for ways in (
        [(by_stem.get(name),) for name in view_names(originals)],
        [(by_stem.get(stem),) for stem in stems],  # as another program names them
        [(own.get(file), by_stem.get(file), by_stem.get(stem)) for file, stem in zip(originals, stems, strict=True)],
    ):
        found = [next(filter(None, one), None) for one in ways]
        if None not in found and len(set(found)) == len(found):
            break
    times = Counter(found)
    found = [file if times[file] == 1 else None for file in found]
    if None in found:
        lacking = [file for file, match in zip(originals, found, strict=True) if match is None]
        raise UserError(
            f"view {view!r} lacks {len(lacking)} of {len(originals)} images, first that of {lacking[0]!r}: each "
            "original needs a file of the same path, whatever its extension"
        )
    if others := sorted(set(files) - set(found)):
        raise UserError(f"view {view!r} has {len(others)} files without an original, first {others[0]!r}: remove them")
    return FileNames(file for file in found if file is not None)


def _stated(table: Path, source: Source) -> npt.NDArray[np.int64]:
    """Encoded sizes in the order of images, NOT_ENCODED where there are none."""
    sizes, files = read_sizes(table), [str(source.path(index)) for index in range(len(source))]
    if missing := [file for file in files if file not in sizes]:
        raise UserError(f"{str(table)!r} lacks {len(missing)} files, first {missing[0]!r}: a line for each")
    return np.array([NOT_ENCODED if (size := sizes[file]) is None else size for file in files], dtype=np.int64)
