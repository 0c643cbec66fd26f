"""Geometry: images made smaller, brought to a size, cropped."""

from dataclasses import dataclass
from typing import Self

from PIL import Image

from datamodules.degradations.base import OneNumber, Setting
from datamodules.degradations.formats import Degraded, in_pixels
from datamodules.errors import UserError

_LARGEST_FACTOR, _SMALLEST_SIDE, _LARGEST_SIDE = 0.99, 8, 4096
_MOST_PIXELS = 2**26


@dataclass(frozen=True)
class Resize(OneNumber):
    """A thumbnail by a factor, or an image whose shorter side has a given length; a number is one or the other.

    By a factor it is Pillow's antialiased bicubic filter, sides rounded (halves to even), to 1 at least. To a side it
    is torchvision's `Resize(side)` of a PIL image, which the makers of ImageNet-C applied: Pillow's antialiased
    bilinear filter, the longer side cut off to whole pixels, and larger images out of smaller ones.

    Args:
        to: a factor of width and height, 0.01 to 0.99, or the shorter side in whole pixels, 8 to 4096.

    >>> Resize(0.5)(Image.new("RGB", (500, 375))).image.size, Resize(256)(Image.new("RGB", (500, 375))).image.size
    ((250, 188), (341, 256))
    """

    to: float
    head = "resize"
    lowest, highest = 0.01, _LARGEST_SIDE

    @classmethod
    def form(cls) -> str:
        return "resize-FACTOR, resize-SIDE"

    @classmethod
    def from_spec(cls, spec: str) -> Self:
        """Read a factor or a side."""
        resize = super().from_spec(spec)
        if resize.to > _LARGEST_FACTOR and (resize.to < _SMALLEST_SIDE or not float(resize.to).is_integer()):
            raise UserError(
                f"degradation {spec!r}: {resize.to:g} is neither a factor nor a shorter side: choose "
                f"{cls.lowest:g} to {_LARGEST_FACTOR:g}, or {_SMALLEST_SIDE} to {_LARGEST_SIDE} whole pixels"
            )
        return resize

    @property
    def settings(self) -> tuple[Setting, ...]:
        return (Setting("factor" if self._is_factor else "side", self.to, self.head),)

    @property
    def size_factor(self) -> float | None:
        return self.to if self._is_factor else None

    @property
    def _is_factor(self) -> bool:
        return self.to <= _LARGEST_FACTOR

    def __call__(self, image: Image.Image) -> Degraded:
        return Degraded(shrink(image, self.to) if self._is_factor else _with_shorter_side(image, int(self.to)), None)


@dataclass(frozen=True)
class Crop(OneNumber):
    """The square in the middle, as torchvision's `CenterCrop` of a PIL image cuts it.

    Args:
        side: of the square in pixels, 8 to 4096; no side of the image may be shorter.
    """

    side: int
    head = "crop"
    lowest, highest, whole = _SMALLEST_SIDE, _LARGEST_SIDE, True

    def __call__(self, image: Image.Image) -> Degraded:
        if min(image.size) < self.side:
            raise ValueError(f"{in_pixels(image)}: no square of {self.side} can be cropped from it")
        left, top = (round((length - self.side) / 2) for length in image.size)
        return Degraded(image.crop((left, top, left + self.side, top + self.side)), None)


def shrink(image: Image.Image, factor: float) -> Image.Image:
    """An image by a factor below 1, by Pillow's antialiased bicubic filter; sides are rounded, to 1 at least."""
    width, height = (max(1, round(side * factor)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _with_shorter_side(image: Image.Image, side: int) -> Image.Image:
    shorter = min(image.size)
    width, height = (side if length == shorter else int(side * length / shorter) for length in image.size)
    if width * height > max(_MOST_PIXELS, image.width * image.height):
        raise ValueError(f"{in_pixels(image)}: {width} x {height} with a shorter side of {side}, which is too many")
    return image.resize((width, height), Image.Resampling.BILINEAR)
