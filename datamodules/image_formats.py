"""Which files are images: those that Pillow or one of two plugins reads, whatever else a program has imported."""

import math
import os
import stat
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from datamodules.degradations.formats import HEIC, JPEG_XL, FileFormat
from datamodules.errors import UserError
from datamodules.jpeg_xl_size import claimed_size

LOSSY = frozenset({"JPEG", "MPO", "WEBP", "AVIF", "JPEG2000", "JXL", "HEIF"})
"""Pillow's names of formats that lose detail, or can."""

_BY_PLUGIN: dict[str, FileFormat] = {".heic": HEIC, ".heif": HEIC, ".hif": HEIC, ".jxl": JPEG_XL}
_LEFT_TO_OTHER_PROGRAMS = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
_JPEG_WITH_MORE = "MPO"  # several pictures, read by Pillow's JPEG plugin, which finds out by itself


def extension(name: str) -> str:
    """A file's extension in lower case, with its dot; empty where there is none.

    >>> extension("photos/A.JPG"), extension("README")
    ('.jpg', '')
    """
    return os.path.splitext(name)[1].lower()


@cache
def formats_by_extension() -> dict[str, str]:
    """Pillow's names of the formats of all extensions that can be decoded here."""
    readable = {*readable_formats(), _JPEG_WITH_MORE}
    known = {ending: key for ending, key in Image.registered_extensions().items() if key in readable}
    return known | {ending: fmt.key for ending, fmt in _BY_PLUGIN.items() if fmt.key in readable}


@cache
def readable_formats() -> tuple[str, ...]:
    """What `Image.open` may try: Pillow's own decoders and the plugins that are installed, in a fixed order."""
    Image.init()
    own = [key for key, (decoder, _) in Image.OPEN.items() if decoder.__module__.startswith("PIL.")]
    plugins = [fmt.key for fmt in dict.fromkeys(_BY_PLUGIN.values()) if missing_plugin(fmt) is None]
    return tuple(key for key in own if key not in _LEFT_TO_OTHER_PROGRAMS) + tuple(plugins)


def open_image(file: Path | BinaryIO) -> Image.Image:
    """Open an image in one of `readable_formats`.

    Raises:
        UnidentifiedImageError: It is in none of them.
        DecompressionBombError: It claims more pixels than Pillow allows.
        OSError: It cannot be read.
    """
    if JPEG_XL.key in readable_formats() and Image.MAX_IMAGE_PIXELS:
        with file.open("rb") if isinstance(file, Path) else nullcontext(file) as opened:
            size = claimed_size(opened)
        if size and math.prod(size) > 2 * Image.MAX_IMAGE_PIXELS:
            raise Image.DecompressionBombError(f"{size[0]} x {size[1]} pixels are too many, as in a decompression bomb")
    try:
        return Image.open(file, formats=readable_formats())
    except UnidentifiedImageError:
        raise UnidentifiedImageError("not in a format that Pillow can decode") from None


def open_image_file(file: Path) -> Image.Image:
    """Open an image file, and no pipe or device, which could wait for ever.

    Raises:
        UnidentifiedImageError: It is in none of `readable_formats`.
        OSError: It is no regular file, is empty or cannot be read.
    """
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError("not a regular file")
    if status.st_size == 0:
        raise OSError("the file is empty")
    return open_image(file)


def why_passed_over(ending: str) -> str | None:
    """What is missing here to read files that end so; None where the ending is of no image format that is read."""
    return missing_plugin(_BY_PLUGIN[ending]) if ending in _BY_PLUGIN else None


def missing_plugin(file_format: FileFormat) -> str | None:
    """What to install for a format, or None where it can be read."""
    try:
        file_format.require()
    except UserError as error:
        return str(error)
    return None
