"""Codecs other than JPEG; every option that is not named here is at Pillow's or its plugin's default."""

from dataclasses import dataclass
from typing import ClassVar, Self

from PIL import Image

from datamodules.degradations.base import OneNumber, Setting, malformed
from datamodules.degradations.formats import AVIF, HEIC, JPEG_2000, JPEG_XL, WEBP, Degraded, FileFormat


@dataclass(frozen=True)
class WebP(OneNumber):
    """Lossy WebP.

    Args:
        quality: libwebp quality, 0 (worst) to 100.
    """

    quality: int
    head = "webp"
    lowest, highest, whole = 0, 100, True
    formats = (WEBP,)

    def __call__(self, image: Image.Image) -> Degraded:
        return WEBP.round_trip(image, quality=self.quality)


@dataclass(frozen=True)
class LosslessWebP:
    """Lossless WebP: the pixels stay, and the size says what keeping them costs."""

    name: str = "webp-lossless"
    head: ClassVar[str] = "webp-lossless"
    settings: ClassVar[tuple[Setting, ...]] = ()
    formats: ClassVar[tuple[FileFormat, ...]] = (WEBP,)
    size_factor: ClassVar[float | None] = 1.0
    block_period: ClassVar[float | None] = None

    @classmethod
    def form(cls) -> str:
        return cls.head

    @classmethod
    def from_spec(cls, spec: str) -> Self:
        """Read `webp-lossless`."""
        if spec != cls.head:
            raise malformed(spec, cls.form())
        return cls()

    def __call__(self, image: Image.Image) -> Degraded:
        return WEBP.round_trip(image, lossless=True)


@dataclass(frozen=True)
class Avif(OneNumber):
    """AVIF by libavif, 4:2:0.

    One encoder thread: with more, libavif cuts large images into tiles, and pixels would depend on the cores there are.

    Args:
        quality: libavif quality, 0 (worst) to 100.
    """

    quality: int
    head = "avif"
    lowest, highest, whole = 0, 100, True
    formats = (AVIF,)

    def __call__(self, image: Image.Image) -> Degraded:
        return AVIF.round_trip(image, quality=self.quality, max_threads=1)


@dataclass(frozen=True)
class Jpeg2000Ratio(OneNumber):
    """JPEG 2000 by OpenJPEG, held to a size: one layer, Pillow's reversible wavelet, channels coded by themselves.

    The file has about 200 bytes of headers, so that a thumbnail of a few thousand raw bytes cannot be held to a high
    ratio: nothing is left for its pixels.

    Args:
        ratio: raw bytes per encoded byte, 1 to 1000.
    """

    ratio: float
    head = "jp2-ratio"
    lowest, highest = 1, 1000
    formats = (JPEG_2000,)

    def __call__(self, image: Image.Image) -> Degraded:
        return JPEG_2000.round_trip(image, quality_mode="rates", quality_layers=[self.ratio])


@dataclass(frozen=True)
class Jpeg2000Psnr(OneNumber):
    """JPEG 2000 by OpenJPEG, held to a fidelity: one layer, as `Jpeg2000Ratio` otherwise.

    Args:
        psnr: peak signal-to-noise ratio in decibels, 1 to 100.
    """

    psnr: float
    head = "jp2-psnr"
    lowest, highest = 1, 100
    formats = (JPEG_2000,)

    def __call__(self, image: Image.Image) -> Degraded:
        return JPEG_2000.round_trip(image, quality_mode="dB", quality_layers=[self.psnr])


@dataclass(frozen=True)
class JpegXl(OneNumber):
    """Lossy JPEG XL by libjxl.

    One thread: the bytes are the same, and loader workers keep the cores busy.

    Args:
        quality: libjxl quality, 0 (worst) to 99; the plugin fails at 100.
    """

    quality: int
    head = "jxl"
    lowest, highest, whole = 0, 99, True
    formats = (JPEG_XL,)

    def __call__(self, image: Image.Image) -> Degraded:
        return JPEG_XL.round_trip(image, quality=self.quality, num_threads=0)


@dataclass(frozen=True)
class Heic(OneNumber):
    """HEIC: HEVC by x265 in libheif's container, 4:2:0.

    Args:
        quality: libheif quality, 0 (worst) to 100.
    """

    quality: int
    head = "heic"
    lowest, highest, whole = 0, 100, True
    formats = (HEIC,)

    def __call__(self, image: Image.Image) -> Degraded:
        return HEIC.round_trip(image, quality=self.quality)
