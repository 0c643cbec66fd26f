"""Images in tar shards, as CLIP_benchmark and webdataset write them, addressed by index."""

import io
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from datamodules.errors import UserError
from datamodules.files import open_regular
from datamodules.image_files import FileNames, display, followed
from datamodules.image_formats import LOSSY, extension, formats_by_extension, open_image
from datamodules.sources import AlreadyLossy, Source, digest
from datamodules.tar_index import Member, TarError, members
from datamodules.text import printable

NUMBER_OF_SHARDS = "nshards.txt"
_LABEL = "cls"
_LONGEST_LABEL = 20  # bytes
_MOST_SHARDS = 100_000
_LOSSY, _LOSSLESS = sorted(LOSSY), -1
_LOSSLESS_WEBP = b"VP8L"  # at byte 12 of a WebP file


class ShardSource(Source):
    """The images of `<folder>/<n>.tar`, n from 0 below the number in `<folder>/nshards.txt`.

    A sample is the files of one name up to the first dot: an image and its label as a number in `<name>.cls`; others
    are passed over. Headers are read once; an image is then read from its place in the shard, by any process.

    Args:
        folder: Holds the shards.
        classes: Class names by label.
        templates: Prompts that belong to them.

    Raises:
        UserError: A shard is missing or damaged, a sample has no image or no label, or a label has no class name.
    """

    def __init__(self, folder: Path, classes: Sequence[str], templates: Sequence[str] = ()) -> None:
        self.folder, self.classes, self.templates = folder, tuple(classes), tuple(templates)
        numbers, names = array("q"), []
        for shard in followed(range(_number_of_shards(folder)), "Indexing", "shard"):
            with self._opened(shard) as file:
                for image, label in self._samples(shard, file):
                    numbers.extend((shard, image.offset, image.size, label, _lossy_format(file, image)))
                    names.append(image.name)
        if not names:
            raise UserError(f"the shards in {str(folder)!r} hold no sample: fill them, or name another split")
        # [N, 5]: shard, offset, size, label, format
        self._places = np.frombuffer(numbers, dtype=np.int64).reshape(len(names), -1)
        self._names = FileNames(names)

    def __len__(self) -> int:
        return len(self._places)

    def load(self, index: int) -> Image.Image:
        return open_image(io.BytesIO(self.file(index)))

    def file(self, index: int) -> bytes:
        shard, offset, size, *_ = map(int, self._places[index])
        with open_regular(self._file(shard), "shard") as file:
            file.seek(offset)
            content = file.read(size)
        if len(content) < size:
            raise OSError(f"shard {shard}.tar has become shorter")
        return content

    def label(self, index: int) -> int:
        return int(self._places[index, 3])

    def path(self, index: int) -> str:
        """The image's name in its shard."""
        return display(self._names[index])

    def file_size(self, index: int) -> int:
        return int(self._places[index, 2])

    def content(self) -> str:
        """A digest of names, sizes and labels, equal to that of the same files in a folder."""
        sizes, labels = self._places[:, 2].tolist(), self._places[:, 3].tolist()
        return digest((self.path(index), sizes[index], labels[index]) for index in range(len(self)))

    def already_lossy(self) -> AlreadyLossy:
        """Formats of files that are lossy by their extension; WebP that is stored without loss is told by its head."""
        lossy = np.flatnonzero(self._places[:, 4] != _LOSSLESS)
        if not len(lossy):
            return AlreadyLossy()
        formats = tuple(_LOSSY[number] for number in np.unique(self._places[lossy, 4]))
        return AlreadyLossy(formats, len(lossy), self.path(int(lossy[0])))

    def _file(self, shard: int) -> Path:
        return self.folder / f"{shard}.tar"

    @contextmanager
    def _opened(self, shard: int) -> Iterator[BinaryIO]:
        path = self._file(shard)
        if not path.exists():
            raise UserError(
                f"shard {str(path)!r} is missing, of which nshards.txt says that it is there: bring it, or correct the "
                "number"
            )
        try:
            with open_regular(path, "shard") as file:
                yield file
        except (TarError, OSError) as error:
            raise UserError(f"shard {str(path)!r} cannot be used: {printable(str(error))}; replace it") from error

    def _samples(self, shard: int, file: BinaryIO) -> Iterator[tuple[Member, int]]:
        """Image and label of each sample."""
        length = file.seek(0, io.SEEK_END)
        key, image, label = "", None, None
        for member in members(file, length):
            stem, ending = _stem_and_ending(member.name)
            if stem != key:
                if key:
                    yield self._sample(shard, key, image, label)
                key, image, label = stem, None, None
            if ending == _LABEL:
                label = self._read_label(file, member)
            elif f".{ending}" in formats_by_extension():
                if image is not None:
                    raise TarError(f"sample {key!r} has two images")
                image = member
        if key:
            yield self._sample(shard, key, image, label)

    def _sample(self, shard: int, key: str, image: Member | None, label: int | None) -> tuple[Member, int]:
        if image is None:
            raise TarError(f"sample {key!r} has no image")
        if label is None:
            raise TarError(f"sample {key!r} has no label in a file {key}.{_LABEL}")
        if not 0 <= label < len(self.classes):
            raise TarError(f"sample {key!r} has label {label}, and there are {len(self.classes)} class names")
        return image, label

    @staticmethod
    def _read_label(file: BinaryIO, member: Member) -> int:
        text = b""
        if member.size <= _LONGEST_LABEL:
            file.seek(member.offset)
            text = file.read(member.size).strip()
        if not text.isdigit():
            raise TarError(f"{member.name!r} holds no label: a whole number from 0")
        return int(text)


def _stem_and_ending(name: str) -> tuple[str, str]:
    """What webdataset takes for a sample's key, and the rest in lower case.

    >>> _stem_and_ending("cats/1.seg.PNG"), _stem_and_ending("v1.2/s7.cls")
    (('cats/1', 'seg.png'), ('v1.2/s7', 'cls'))
    """
    folder, slash, file = name.rpartition("/")
    stem, _, ending = file.partition(".")
    return folder + slash + stem, ending.lower()


def sample_key(path: str) -> str:
    """What all files of a sample have in common.

    >>> sample_key("cat/1.png") == sample_key("cat/1.jpg")
    True
    """
    return _stem_and_ending(path)[0]


def _number_of_shards(folder: Path) -> int:
    path = folder / NUMBER_OF_SHARDS
    with open_regular(path, "number of shards") as file:
        text = file.read(_LONGEST_LABEL).strip()
    if not text.isdigit() or not 0 < int(text) <= _MOST_SHARDS:
        raise UserError(f"{str(path)!r} holds {printable(repr(text))}: write the number of shards into it")
    return int(text)


def _lossy_format(file: BinaryIO, image: Member) -> int:
    """Position in `_LOSSY` of an image's format."""
    key = formats_by_extension()[extension(image.name)]
    if key == "WEBP":
        file.seek(image.offset + 12)
        return _LOSSLESS if file.read(4) == _LOSSLESS_WEBP else _LOSSY.index(key)
    return _LOSSY.index(key) if key in LOSSY else _LOSSLESS
