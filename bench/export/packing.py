"""Packs an export into tar shards, in CLIP_benchmark's layout."""

import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.export.lock import locked
from bench.runs.files import read_bounded, write_atomically
from datamodules.degradations import ORIGINAL
from datamodules.errors import UserError
from datamodules.exports import IMAGES, MANIFEST, SIZES, UNFINISHED, Manifest, read_images, read_sizes, write_sizes
from datamodules.shard_source import NUMBER_OF_SHARDS
from datamodules.tar_shards import CLASSES, TEMPLATES
from datamodules.view_folders import matched_files

_LARGEST_CLAIM = 2**10  # bytes

Progress = Callable[[Iterable[Any], int, int], Iterator[Any]]


def pack(output: Path, images_per_shard: int, progress: Progress) -> None:
    """Put the files of each view of an export into tar shards, view by view, going on where an earlier call stopped.

    `<output>/<view>` becomes a data set of its own, which webdataset and CLIP_benchmark read, too: `<split>/<n>.tar`
    with image and `.cls` label of each sample, `<split>/nshards.txt`, `classnames.txt`, and prompts where some are
    known. Members are called as the originals are, or by their number where these names have more than one dot or
    differ in nothing but the extension.

    Args:
        output: A complete export.
        images_per_shard: At least 1.
        progress: Takes the shards, how many there are and how many are done, and gives them on.

    Raises:
        UserError: The images have no labels, an earlier call stopped at shards of another size, or another process is
            at work in the folder.
        OSError: The folder cannot be written.
    """
    manifest = Manifest.read(output / MANIFEST)
    with locked(output):
        if (output / IMAGES).exists():
            _pack(output, manifest, images_per_shard, progress)
            (output / IMAGES).unlink()
        (output / UNFINISHED).unlink(missing_ok=True)


def _pack(output: Path, manifest: Manifest, images_per_shard: int, progress: Progress) -> None:
    originals, labels = read_images(output / IMAGES, len(manifest.class_names))
    if min(labels) < 0:
        raise UserError("the images have no labels, which shards have: leave `--shards` out")
    _check_claim(output, images_per_shard)
    keys = _keys(originals)
    starts = range(0, len(keys), images_per_shard)
    shards = [
        (view, number, range(start, min(start + images_per_shard, len(keys))))
        for view in manifest.views
        if not (output / view / manifest.split / NUMBER_OF_SHARDS).exists()
        for number, start in enumerate(starts)
    ]
    left = [shard for shard in shards if not _file(output, manifest.split, *shard[:2]).exists()]
    files: dict[str, Sequence[str]] = {}
    for view, number, positions in progress(left, len(shards), len(shards) - len(left)):
        if view not in files:
            files = {view: _files(output, view, originals)}
        place = _file(output, manifest.split, view, number)
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_suffix(".part")
        with tarfile.open(temporary, "w") as archive:
            for position in positions:
                file = files[view][position]
                key, ending = keys[position], os.path.splitext(file)[1]
                _add(archive, f"{key}{ending}", (output / view / file).read_bytes())
                _add(archive, f"{key}.cls", str(labels[position]).encode())
        temporary.replace(place)
    for view in manifest.views:
        packed, folder = _packed(output, view), output / view
        if not packed.exists():
            continue  # an earlier call has put it in the place of the files
        if not (packed / manifest.split / NUMBER_OF_SHARDS).exists():
            _add_texts(output, view, manifest, keys, originals, len(starts))
        if folder.exists():
            shutil.rmtree(folder)
        packed.replace(folder)


def _check_claim(output: Path, images_per_shard: int) -> None:
    """Note how large the shards are, or go on with shards of the same size."""
    file, claim = output / UNFINISHED, json.dumps({"images_per_shard": images_per_shard}) + "\n"
    if not file.exists():
        write_atomically(file, claim)
    elif (begun := read_bounded(file, _LARGEST_CLAIM).decode()) != claim:
        raise UserError(
            f"{str(output)!r} is packed in part, with {begun.strip()}: give the same `--shards` again, or export anew"
        )


def _add_texts(
    output: Path, view: str, manifest: Manifest, keys: Sequence[str], originals: Sequence[str], shards: int
) -> None:
    """Put beside a view's shards what says what they hold; their number last, after which the files are not needed."""
    packed = _packed(output, view)
    if (output / view / SIZES).exists():
        sizes = read_sizes(output / view / SIZES)
        write_sizes(
            packed / SIZES,
            (
                (f"{key}{os.path.splitext(file)[1]}", sizes[file])
                for key, file in zip(keys, _files(output, view, originals), strict=True)
            ),
        )
    (packed / CLASSES).write_text("\n".join(manifest.class_names) + "\n", encoding="utf-8")
    if manifest.templates:
        prompts = [template.replace("{}", "{c}") for template in manifest.templates]
        (packed / TEMPLATES).write_text("\n".join(prompts) + "\n", encoding="utf-8")
    write_atomically(packed / manifest.split / NUMBER_OF_SHARDS, f"{shards}\n")


def _files(output: Path, view: str, originals: Sequence[str]) -> Sequence[str]:
    return originals if view == ORIGINAL else matched_files(output / view, view, originals)


def _keys(files: Sequence[str]) -> list[str]:
    """What the members of each image are called, without their extensions."""
    stems = [os.path.splitext(file)[0] for file in files]
    if len(set(stems)) == len(stems) and not any("." in os.path.basename(stem) for stem in stems):
        return stems
    width = len(str(len(files) - 1))
    return [f"{position:0{width}d}" for position in range(len(files))]


def _packed(output: Path, view: str) -> Path:
    return output / f".{view}"


def _file(output: Path, split: str, view: str, number: int) -> Path:
    return _packed(output, view) / split / f"{number}.tar"


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # without a date or an owner: the same images make the same archive
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
