"""Writes the views of a data set as files, in a layout that `datamodules.ViewFolders` reads."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import PIL
from PIL import Image
from torch.utils.data import Dataset

from bench.export.journal import Journal, Written
from bench.export.lock import LOCK, locked
from bench.runs.files import read_bounded, write_atomically
from datamodules.base import DegradedDataModule
from datamodules.dataset import why_unreadable
from datamodules.decoding import to_rgb
from datamodules.degradations import ORIGINAL, Degradation, Degraded, codec_versions
from datamodules.errors import UserError
from datamodules.exports import (
    IMAGES,
    MANIFEST,
    SIZES,
    UNFINISHED,
    Manifest,
    stays_inside,
    view_names,
    write_images,
    write_sizes,
)
from datamodules.loading import WatchedLoader
from datamodules.sources import Source
from datamodules.views import NOT_ENCODED, Unreadable

_JOURNAL = "unfinished.csv"
_LARGEST_CLAIM = 2**24  # bytes
_LOSSLESS = ".png"
_OWN = ""  # in `Written.sizes`: the file is the encoded form


_Fate = Written | Unreadable | OSError


class _Images(Dataset[_Fate]):
    """Writes an image's views when it is asked for it.

    Args:
        source: The images.
        degradations: The views, the original first.
        places: Position in the source, file of the original and name of the views' files by position in the export.
        output: The folder.
        left: Positions in the export.
    """

    def __init__(
        self,
        source: Source,
        degradations: Sequence[Degradation],
        places: Sequence[tuple[int, str, str]],
        output: Path,
        left: Sequence[int],
    ) -> None:
        self.source, self.degradations, self.places = source, degradations, places
        self.output, self.left = output, left

    def __len__(self) -> int:
        return len(self.left)

    def index(self, item: int) -> int:
        """Position in the source."""
        return self.places[self.left[item]][0]

    def __getitem__(self, item: int) -> _Fate:
        """What became of an image; the trouble itself where the folder cannot be written, for the main process."""
        position, index = self.left[item], self.index(item)
        files, sizes = [], []
        try:
            with self.source.load(index) as image:
                rgb = to_rgb(image)
            for degradation in self.degradations:
                content, file, size = self._made(position, rgb, degradation)
                if trouble := _write(self.output / degradation.name / file, content):
                    return trouble
                files.append(file)
                sizes.append(size)
        except Exception as error:  # decoders and codecs raise whatever their format drove them to
            return Unreadable(index, self.source.path(index), why_unreadable(error))
        return Written(position, tuple(files), tuple(sizes))

    def collate(self, items: Sequence[_Fate]) -> list[_Fate]:
        return list(items)

    def join(self, pieces: Sequence[list[_Fate]]) -> list[_Fate]:
        return list(chain.from_iterable(pieces))

    def remove(self, index: int) -> None:
        """Remove what was written of an image, by its position in the source, before it turned out not to be had."""
        original, name = next(names for place, *names in self.places if place == index)
        for degradation in self.degradations:
            endings = (_LOSSLESS, *(file_format.extension for file_format in degradation.formats[-1:]))
            for file in [original] if degradation.name == ORIGINAL else [f"{name}{ending}" for ending in endings]:
                (self.output / degradation.name / file).unlink(missing_ok=True)

    def _made(self, position: int, rgb: Image.Image, degradation: Degradation) -> tuple[bytes, str, str]:
        """A view's content, file and size, as in `Written`."""
        index, original, name = self.places[position]
        if degradation.name == ORIGINAL:
            content = self.source.file(index)
            return (_png(rgb), original, str(NOT_ENCODED)) if content is None else (content, original, _OWN)
        degraded = self.source.degraded(index, rgb, degradation)
        if degraded.file is not None:
            return degraded.file, f"{name}{degradation.formats[-1].extension}", _OWN
        return _png(degraded.image), f"{name}{_LOSSLESS}", _size(degraded)


def _write(file: Path, content: bytes) -> OSError | None:
    """Write a file; the trouble, if there is any."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    except OSError as error:
        error.filename = error.filename or str(file)  # which a full disk does not say
        return error
    return None


def export(
    data: DegradedDataModule, output: Path, progress: Callable[[Iterable[Any], int, int], Iterator[Any]]
) -> Manifest:
    """Write every view of the chosen images of a data set, going on where an earlier call stopped.

    Args:
        data: The data set, set up.
        output: A folder, which may be there.
        progress: Takes what comes image by image, how many there are and how many are done, and gives it on.

    Raises:
        UserError: The folder holds something else, or an image cannot be had, or has ended the process that was at it
            or kept it for too long, and is not to be left out.
        OSError: The folder cannot be written.
    """
    manifest = _manifest(data)
    claim = json.dumps({**asdict(manifest), "data": data.describe()}, indent=1, sort_keys=True) + "\n"
    output.mkdir(parents=True, exist_ok=True)
    with locked(output):
        if (output / MANIFEST).exists():
            if Manifest.read(output / MANIFEST) != manifest:
                raise UserError(f"{str(output)!r} holds the export of something else: choose another `--output`")
            if (output / _JOURNAL).exists():
                _clear(output)
            return manifest
        _check_claim(output, claim)
        places = _places(data)
        with Journal(output / _JOURNAL, len(places), len(data.degradations)) as done:
            images = _Images(data.chosen, data.degradations, places, output, done.left())
            loader = WatchedLoader(
                images,
                on_error=data.on_error,
                patience=data.patience,
                processes=1,
                batch_size=1,
                num_workers=data.workers,
                collate_fn=images.collate,
            )
            for [written] in progress(loader, len(places), len(done.rows)):
                if isinstance(written, Written):
                    done.add(written)
                elif isinstance(written, OSError):
                    raise written
                else:
                    data.leave_out(written, "exported")
                    images.remove(written.index)
        _finish(data, output, places, done.rows, manifest)
        return manifest


def _manifest(data: DegradedDataModule) -> Manifest:
    source, described = data.chosen, data.describe()
    software = {"pillow": PIL.__version__, **codec_versions(data.degradations)}
    return Manifest(
        name=described["name"],
        split=described["split"],
        content=described["content"],
        class_names=list(source.classes),
        templates=list(source.templates),
        views=list(data.views),
        files=bool(data.positions) and source.path(data.positions[0]) is not None,
        selection=data.selection.describe(),
        software=software,
    )


def _check_claim(output: Path, claim: str) -> None:
    """Take a folder that is empty, or go on in one that holds a part of the same export."""
    file = output / UNFINISHED
    if file.exists():
        if read_bounded(file, _LARGEST_CLAIM).decode() != claim:
            raise UserError(
                f"{str(output)!r} holds a part of another export: choose another `--output`, or remove that one"
            )
    elif set(os.listdir(output)) != {LOCK}:
        raise UserError(f"{str(output)!r} is not empty: choose another `--output`")
    else:
        write_atomically(file, claim)


def _places(data: DegradedDataModule) -> list[tuple[int, str, str]]:
    """Position in the source, the original's file and the name of the views' files, by position in the export."""
    source, positions = data.chosen, data.positions
    paths = [source.path(index) for index in positions]
    if any(path is not None and not stays_inside(path) for path in paths):
        path = next(path for path in paths if path is not None and not stays_inside(path))
        raise UserError(f"image {path!r} would be written outside the folder: rename it")
    folders, width = _class_folders(source), len(str(len(source) - 1))
    originals = [
        f"{folders[source.label(index)]}{index:0{width}d}{_LOSSLESS}" if path is None else path
        for index, path in zip(positions, paths, strict=True)
    ]
    return list(zip(positions, originals, view_names(originals), strict=True))


def _class_folders(source: Source) -> dict[int, str]:
    """Folders of the classes, for images that are no files; none for images without labels."""
    names = ["".join(c if c.isalnum() or c in " -_.," else "-" for c in name).strip(". ") for name in source.classes]
    if len(set(names)) < len(names) or not all(names):
        names = [f"{label}-{name}" for label, name in enumerate(names)]
    return {-1: "", **{label: f"{name}/" for label, name in enumerate(names)}}


def _finish(
    data: DegradedDataModule,
    output: Path,
    places: Sequence[tuple[int, str, str]],
    done: Mapping[int, Written],
    manifest: Manifest,
) -> None:
    """Write the tables, and the manifest last."""
    rows = [done[position] for position in sorted(done)]
    if not rows:
        raise UserError("none of the images can be exported: see why with `on_error='raise'`", option="data.on_error")
    for place, view in enumerate(data.views):
        if any(row.sizes[place] != _OWN for row in rows):
            (output / view).mkdir(exist_ok=True)
            write_sizes(output / view / SIZES, ((row.files[place], _stated(output / view, row, place)) for row in rows))
    labels = (data.chosen.label(places[row.position][0]) for row in rows)
    write_images(output / IMAGES, ((row.files[0], label) for row, label in zip(rows, labels, strict=True)))
    write_atomically(output / MANIFEST, manifest.text())
    _clear(output)


def _clear(output: Path) -> None:
    """Remove what is there as long as an export is not complete; the journal last, since packing has no journal."""
    (output / UNFINISHED).unlink(missing_ok=True)
    (output / _JOURNAL).unlink()


def _stated(folder: Path, row: Written, place: int) -> int | None:
    if row.sizes[place] == _OWN:
        return (folder / row.files[place]).stat().st_size
    size = int(row.sizes[place])
    return None if size == NOT_ENCODED else size


def _size(degraded: Degraded) -> str:
    return str(NOT_ENCODED if degraded.encoded_bytes is None else degraded.encoded_bytes)


def _png(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
