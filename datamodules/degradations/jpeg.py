"""JPEG: the paper's degradation, its variants, and the severities of the common-corruption benchmarks."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from PIL import Image, ImageChops, ImageFile

from datamodules.degradations.base import OneNumber, Setting, in_range, malformed
from datamodules.degradations.formats import JPEG, Degraded, FileFormat
from datamodules.errors import UserError

_SUBSAMPLINGS = {"444": "4:4:4", "422": "4:2:2", "420": "4:2:0"}
_MOST_GENERATIONS = 100
_LARGEST_SHIFT = 15  # a shift by 16 pixels puts the blocks of 4:2:0 chroma where they were


@dataclass(frozen=True)
class Jpeg:
    """A JPEG round trip by Pillow, every option that is not named here at Pillow's default.

    Several generations are saves of what the save before left. Between two saves the image may be rolled to the right
    and down, and is rolled back after the last: the block grid falls elsewhere each time, as it does when a picture is
    cropped on its way from one service to the next (non-aligned recompression; Bianchi and Piva 2012), while size and
    alignment with the original stay. Pixels that leave on one side come in on the other.

    Args:
        quality: libjpeg quality, 1 (worst) to 100.
        subsampling: chroma subsampling "444", "422" or "420"; None is Pillow's default, which is 4:2:0.
        progressive: whether coefficients are sent coarse to fine; the pixels are the same.
        optimise: whether Huffman tables are made for the image; the pixels are the same.
        generations: how often the image is saved, 1 to 100; the encoded size is that of the last.
        shift: pixels, 0 to 15, by which the image is rolled between two saves.

    >>> Jpeg(75, "444", generations=5).name
    'jpeg-75-444-x5'
    """

    quality: int
    subsampling: str | None = None
    progressive: bool = False
    optimise: bool = False
    generations: int = 1
    shift: int = 0

    head: ClassVar[str] = "jpeg"
    formats: ClassVar[tuple[FileFormat, ...]] = (JPEG,)
    size_factor: ClassVar[float | None] = 1.0
    block_period: ClassVar[float | None] = JPEG.block

    @classmethod
    def form(cls) -> str:
        return "jpeg-QUALITY[-444|-422|-420][-progressive][-optimise][-xSAVES[-shiftPIXELS]]"

    @classmethod
    def from_spec(cls, spec: str) -> Self:
        """Read a quality and, in this order, subsampling, coding, generations and shift."""
        match = re.fullmatch(
            r"jpeg-([0-9]+)(?:-([0-9]+))?(-progressive)?(-optimise)?(?:-x([0-9]+)(?:-shift([0-9]+))?)?", spec
        )
        if match is None:
            raise malformed(spec, cls.form())
        quality, subsampling, progressive, optimise, generations, shift = match.groups()
        if subsampling is not None and subsampling not in _SUBSAMPLINGS:
            choices = ", ".join(_SUBSAMPLINGS)
            raise UserError(f"degradation {spec!r}: unknown chroma subsampling {subsampling}, choose from {choices}")
        return cls(
            quality=int(in_range(spec, "JPEG quality", quality, 1, 100)),
            subsampling=subsampling,
            progressive=progressive is not None,
            optimise=optimise is not None,
            generations=int(in_range(spec, "number of saves", generations or "1", 1, _MOST_GENERATIONS)),
            shift=0 if shift is None else int(in_range(spec, "shift", shift, 1, _LARGEST_SHIFT)),
        )

    @property
    def name(self) -> str:
        return f"jpeg-{self.quality}{self._coding}{self._history}"

    @property
    def settings(self) -> tuple[Setting, ...]:
        shift = f"-shift{self.shift}" if self.shift else ""
        return (
            Setting("quality", self.quality, f"jpeg{self._coding}{self._history}"),
            Setting("generations", self.generations, f"jpeg-{self.quality}{self._coding}-x{shift}"),
        )

    @property
    def halves_chroma(self) -> bool:
        """See `datamodules.degradations.base.halves_chroma`; a shift puts the pairs of pixels elsewhere."""
        return self.subsampling in (None, "420") and not self.shift

    @property
    def _coding(self) -> str:
        parts = [self.subsampling, "progressive" if self.progressive else None, "optimise" if self.optimise else None]
        return "".join(f"-{part}" for part in parts if part is not None)

    @property
    def _history(self) -> str:
        if self.generations == 1:
            return ""
        return f"-x{self.generations}" + (f"-shift{self.shift}" if self.shift else "")

    def __call__(self, image: Image.Image) -> Degraded:
        degraded = self._save(image)
        for generation in range(1, self.generations):
            roll = generation * self.shift
            again = self._save(ImageChops.offset(degraded.image, roll))
            if roll:
                again = replace(again, image=ImageChops.offset(again.image, -roll), file=None)
            degraded = again.after(degraded)
        return degraded

    def _save(self, image: Image.Image) -> Degraded:
        options = {} if self.subsampling is None else {"subsampling": _SUBSAMPLINGS[self.subsampling]}
        with buffer_for(image) if self.progressive or self.optimise else nullcontext():
            return JPEG.round_trip(
                image, quality=self.quality, progressive=self.progressive, optimize=self.optimise, **options
            )


@contextmanager
def buffer_for(image: Image.Image) -> Iterator[None]:
    """Room for a whole file: progressive and optimised coding need it in one piece, and Pillow's guess can be short.

    It allows 8 or 16 bits for a pixel, and 4:4:4 noise takes more; nothing takes twice the raw pixels.
    """
    before = ImageFile.MAXBLOCK
    ImageFile.MAXBLOCK = before + 6 * image.width * image.height
    try:
        yield
    finally:
        ImageFile.MAXBLOCK = before


@dataclass(frozen=True)
class Cifar10CJpeg(OneNumber):
    """The JPEG corruption of CIFAR-10-C (Hendrycks and Dietterich 2019, make_cifar_c.py).

    Args:
        severity: 1 (best) to 5.
    """

    severity: int
    head = "cifar10c-jpeg"
    lowest, highest, whole = 1, 5, True
    formats = (JPEG,)
    halves_chroma: ClassVar[bool] = True
    qualities: ClassVar[tuple[int, ...]] = (80, 65, 58, 50, 40)

    @property
    def plain(self) -> Jpeg:
        """The plain JPEG that this severity stands for."""
        return Jpeg(self.qualities[self.severity - 1])

    def __call__(self, image: Image.Image) -> Degraded:
        return self.plain(image)


@dataclass(frozen=True)
class ImageNetCJpeg(OneNumber):
    """The JPEG corruption of ImageNet-C (Hendrycks and Dietterich 2019, make_imagenet_c.py), at native size.

    The published ImageNet-C was resized and cropped to 224 x 224 before it was compressed, and saved once more after:
    its files are the view `resize-256+crop-224+imagenetc-jpeg-3+jpeg-85-optimise`.

    Args:
        severity: 1 (best) to 5.
    """

    severity: int
    head = "imagenetc-jpeg"
    lowest, highest, whole = 1, 5, True
    formats = (JPEG,)
    halves_chroma: ClassVar[bool] = True
    qualities: ClassVar[tuple[int, ...]] = (25, 18, 15, 10, 7)

    @property
    def plain(self) -> Jpeg:
        """The plain JPEG that this severity stands for."""
        return Jpeg(self.qualities[self.severity - 1])

    def __call__(self, image: Image.Image) -> Degraded:
        return self.plain(image)
