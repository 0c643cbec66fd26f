"""Packs an export into tar shards, in CLIP_benchmark's layout."""

import io
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.runs.files import write_atomically
from datamodules.degradations import ORIGINAL
from datamodules.errors import UserError
from datamodules.exports import IMAGES, MANIFEST, SIZES, UNFINISHED, Manifest, read_images, read_sizes, write_sizes
from datamodules.shard_source import NUMBER_OF_SHARDS
from datamodules.tar_shards import CLASSES, TEMPLATES
from datamodules.view_folders import matched_files

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
        UserError: The images have no labels.
        OSError: The folder cannot be written.
    """
    manifest = Manifest.read(output / MANIFEST)
    if not (output / IMAGES).exists():
        return  # it is packed
    write_atomically(output / UNFINISHED, "{}\n")
    originals, labels = read_images(output / IMAGES, len(manifest.class_names))
    if min(labels) < 0:
        raise UserError("the images have no labels, which shards have: leave `--shards` out")
    keys = _keys(originals)
    shards = [
        (view, number, range(start, min(start + images_per_shard, len(keys))))
        for view in manifest.views
        if not (output / view / manifest.split / NUMBER_OF_SHARDS).exists()
        for number, start in enumerate(range(0, len(keys), images_per_shard))
    ]
    left = [shard for shard in shards if not _file(output, manifest.split, *shard[:2]).exists()]
    files: dict[str, Sequence[str]] = {}
    for view, number, positions in progress(left, len(shards), len(shards) - len(left)):
        if view not in files:
            files = {view: originals if view == ORIGINAL else matched_files(output / view, view, originals)}
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
        _swap(output, view, manifest, keys, originals, len(range(0, len(keys), images_per_shard)))
    (output / IMAGES).unlink()
    (output / UNFINISHED).unlink()


def _swap(
    output: Path, view: str, manifest: Manifest, keys: Sequence[str], originals: Sequence[str], shards: int
) -> None:
    """Put a view's shards in the place of its files."""
    packed, folder = _packed(output, view), output / view
    if not packed.exists():
        return  # an earlier call has
    if (folder / SIZES).exists():
        files = originals if view == ORIGINAL else matched_files(folder, view, originals)
        sizes = read_sizes(folder / SIZES)
        write_sizes(
            packed / SIZES,
            ((f"{key}{os.path.splitext(file)[1]}", sizes[file]) for key, file in zip(keys, files, strict=True)),
        )
    (packed / CLASSES).write_text("\n".join(manifest.class_names) + "\n", encoding="utf-8")
    if manifest.templates:
        prompts = [template.replace("{}", "{c}") for template in manifest.templates]
        (packed / TEMPLATES).write_text("\n".join(prompts) + "\n", encoding="utf-8")
    (packed / manifest.split / NUMBER_OF_SHARDS).write_text(f"{shards}\n", encoding="ascii")
    if folder.exists():
        shutil.rmtree(folder)
    packed.replace(folder)


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
