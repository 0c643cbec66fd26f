"""The square that an encoder sees of an image, and how an image is brought to it on the host."""

from dataclasses import dataclass
from typing import Literal

from PIL import Image

from datamodules.errors import UserError

Interpolation = Literal["bicubic", "bilinear"]
Mode = Literal["shortest", "squash"]

_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
_MOST_PIXELS = 2**24  # that an image may have between resize and crop, 64 MiB


@dataclass(frozen=True)
class Geometry:
    """What an encoder's preprocessing does to the shape of an image: torchvision's `Resize` and `CenterCrop`.

    Attributes:
        size: Side of the square in pixels.
        mode: "shortest" scales the shorter side to `size` and crops the centre; "squash" scales both.
        interpolation: Pillow's antialiased "bicubic" or "bilinear".

    Raises:
        UserError: `mode` or `interpolation` is one that is not supported.

    >>> Geometry(224).fit(Image.new("RGB", (500, 375))).size
    (224, 224)
    """

    size: int
    mode: Mode = "shortest"
    interpolation: Interpolation = "bicubic"

    def __post_init__(self) -> None:
        if self.mode not in ("shortest", "squash"):
            raise UserError(f"resize mode {self.mode!r} is not supported: use an encoder with 'shortest' or 'squash'")
        if self.interpolation not in _FILTERS:
            raise UserError(
                f"interpolation {self.interpolation!r} is not supported: use an encoder with 'bicubic' or 'bilinear'"
            )

    def resized(self, sides: tuple[int, int]) -> tuple[int, int]:
        """Sides in pixels before the crop, in the order given: torchvision rounds the longer one down.

        >>> Geometry(224).resized((500, 375)), Geometry(224, "squash").resized((500, 375))
        ((298, 224), (224, 224))
        """
        if self.mode == "squash":
            return self.size, self.size
        short = min(sides)
        first, second = (self.size if side == short else int(self.size * side / short) for side in sides)
        return first, second

    def crop(self, resized: int) -> int:
        """First kept pixel of a resized side: torchvision rounds half to even.

        >>> Geometry(224).crop(225), Geometry(224).crop(227)
        (0, 2)
        """
        return round((resized - self.size) / 2)

    def shrinks(self, sides: tuple[int, int]) -> bool:
        """Whether no side is shorter than the square's: what is fitted is then no larger than the image."""
        return min(sides) >= self.size

    def within_reach(self, sides: tuple[int, int]) -> bool:
        """Whether `fit` takes little memory: a thin strip grows without bound before it is cropped."""
        width, height = self.resized(sides)
        return width * height <= max(_MOST_PIXELS, sides[0] * sides[1])

    def fit(self, image: Image.Image) -> Image.Image:
        """The square that the encoder sees, bit for bit what `bench.clip.preprocess` makes of the pixels on a device.

        Args:
            image: Of mode RGB; it is left as it is.
        """
        width, height = self.resized(image.size)
        if image.size != (width, height):
            image = image.resize((width, height), _FILTERS[self.interpolation])
        left, top = self.crop(width), self.crop(height)
        return image.crop((left, top, left + self.size, top + self.size))
