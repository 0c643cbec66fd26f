"""Image file formats, and the round trip of an image through one of them, in memory."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.metadata import version
from io import BytesIO
from time import process_time
from typing import Any

from PIL import Image, features

from datamodules.errors import UserError


@dataclass(frozen=True)
class Degraded:
    """An RGB image after a degradation.

    Attributes:
        image: The image.
        encoded_bytes: The size of its encoded form; None where nothing was encoded.
        file: The encoded form itself, where decoding it gives just these pixels; else None.
        encode_ms: Milliseconds of processor time that encoding took, of all threads of the process together, so that a
            codec with threads of its own compares with one without, and work of other processes does not count; None
            where it is not known or nothing was encoded.
        decode_ms: The same of decoding.
    """

    image: Image.Image
    encoded_bytes: int | None
    file: bytes | None = None
    encode_ms: float | None = field(default=None, compare=False)
    decode_ms: float | None = field(default=None, compare=False)

    def after(self, earlier: "Degraded") -> "Degraded":
        """This image as what an earlier one became: encoded if either was, and with the times of both.

        >>> image = Image.new("RGB", (1, 1))
        >>> last = Degraded(image, 9, encode_ms=2.0).after(Degraded(image, 8, encode_ms=1.0))
        >>> last.encoded_bytes, last.encode_ms, last.decode_ms
        (9, 3.0, None)
        """
        return replace(
            self,
            encoded_bytes=earlier.encoded_bytes if self.encoded_bytes is None else self.encoded_bytes,
            encode_ms=total((self.encode_ms, earlier.encode_ms)),
            decode_ms=total((self.decode_ms, earlier.decode_ms)),
        )


def total(times: Iterable[float | None]) -> float | None:
    """The sum of the times that are known; None where none is."""
    known = [time for time in times if time is not None]
    return sum(known) if known else None


@dataclass(frozen=True)
class FileFormat:
    """A file format that Pillow writes and reads, by itself or with a plugin.

    Attributes:
        key: Pillow's name of the format.
        title: What people call it.
        feature: Pillow's name of the build option that brings it; None where a plugin does.
        library: What the version is asked of: Pillow's name of a library, or the package that holds the plugin.
        plugin: The module whose import makes the format known to Pillow.
        longest_side: Pixels that fit on a side; None where memory ends first.
        decoder: Pillow's name of the decoder that reads the files it writes; None where only `Image.open` knows.
        extension: Of its files, with the dot.
        block: Side in pixels of the blocks that every image is cut into, whose borders can show as a regular grid; None
            where there are none, or of more than one size: wavelets, and codecs that choose block sizes by content.
    """

    key: str
    title: str
    feature: str | None
    library: str
    extension: str
    plugin: str | None = None
    longest_side: int | None = None
    decoder: str | None = None
    block: int | None = None

    def require(self) -> None:
        """Make the format known to Pillow.

        Raises:
            UserError: This installation lacks it.
        """
        if self.feature is not None and not features.check(self.feature):
            raise UserError(
                f"this Pillow lacks {self.title}: install a newer one, as a wheel, with "
                "`pip install --upgrade --force-reinstall --only-binary :all: pillow`"
            )
        if self.plugin is not None:
            try:
                import_module(self.plugin)
            except ImportError as error:
                raise UserError(f"{self.title} needs a plugin: `pip install {self.library}`") from error

    def version(self) -> str | None:
        """The version of the library, for the record; the format is there."""
        return features.version(self.library) if self.plugin is None else version(self.library)

    def round_trip(self, image: Image.Image, **options: Any) -> Degraded:
        """Encode and decode an RGB image; of the decoded file only the pixels are kept.

        Args:
            image: It is left as it is.
            **options: Of Pillow's `Image.save`.

        Raises:
            ValueError: The codec cannot hold an image of this size.
            UserError: This installation lacks the format.
        """
        if self.decoder is None:
            self.require()  # a loader worker may be a fresh process, which knows no plugin yet
        if self.longest_side is not None and max(image.size) > self.longest_side:
            raise ValueError(f"{in_pixels(image)}: {self.title} holds at most {self.longest_side} on a side")
        buffer = BytesIO()
        try:
            start = process_time()
            image.save(buffer, format=self.key, **options)
            encoded = buffer.getvalue()
            middle = process_time()
            if self.decoder is not None:  # mode and size are known: reading the header takes as long as a thumbnail
                pixels = Image.new("RGB", image.size, None)
                pixels.frombytes(encoded, self.decoder, "RGB", "")
            else:
                pixels = Image.open(buffer, formats=[self.key]).convert("RGB")
            end = process_time()
        except (OSError, RuntimeError) as error:
            raise ValueError(f"{in_pixels(image)}: {self.title} failed: {error}") from error
        pixels.info = {}  # Pillow would write one codec's comment or colour profile into the next one's file
        return Degraded(pixels, len(encoded), encoded, 1e3 * (middle - start), 1e3 * (end - middle))


def last_block(formats: Iterable[FileFormat]) -> float | None:
    """Side in pixels of the blocks of the last format that has any; None if none has."""
    sides = [file_format.block for file_format in formats if file_format.block is not None]
    return float(sides[-1]) if sides else None


def in_pixels(image: Image.Image) -> str:
    """The size of an image in words, for messages."""
    return f"{image.width} x {image.height} pixels"


# 65500 is libjpeg's own limit, a little below the format's 65535; libavif encodes 65536, but decodes 32768.
JPEG = FileFormat("JPEG", "JPEG", "jpg", "libjpeg_turbo", ".jpg", longest_side=65500, decoder="jpeg", block=8)
WEBP = FileFormat("WEBP", "WebP", "webp", "webp", ".webp", longest_side=16383)
AVIF = FileFormat("AVIF", "AVIF", "avif", "avif", ".avif", longest_side=32768)
JPEG_2000 = FileFormat("JPEG2000", "JPEG 2000", "jpg_2000", "jpg_2000", ".jp2")
JPEG_XL = FileFormat("JXL", "JPEG XL", None, "pillow-jxl-plugin", ".jxl", plugin="pillow_jxl")
HEIC = FileFormat("HEIF", "HEIC", None, "pillow-heif", ".heic", plugin="pillow_heif.HeifImagePlugin")
