"""What a degradation is, and the base of those whose specification holds one number."""

import re
from dataclasses import dataclass, fields
from typing import ClassVar, NamedTuple, Protocol, Self

from PIL import Image

from datamodules.degradations.formats import Degraded, FileFormat, last_block
from datamodules.errors import UserError

VIEW_NAME = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}"
"""What names of views match, which are parts of file names, columns and tags."""

ORIGINAL = "original"


class Setting(NamedTuple):
    """One number of a degradation, and the curve that it runs along.

    Attributes:
        quantity: What is set: "quality", "generations", "ratio", "rate", "psnr", "severity", "factor", "side",
            "sigma", "deviation".
        value: The number.
        curve: What all views have in common that differ from this one in nothing but the number.
    """

    quantity: str
    value: float
    curve: str


class Degradation(Protocol):
    """A pure function from an RGB image to an RGB image; all but `resize` and `crop` keep the size."""

    @property
    def name(self) -> str:
        """The specification that `parse` turns into this degradation."""

    @property
    def settings(self) -> tuple[Setting, ...]:
        """The numbers that can be varied, first the one that most people would vary."""

    @property
    def formats(self) -> tuple[FileFormat, ...]:
        """The file formats that an image passes through."""

    @property
    def size_factor(self) -> float | None:
        """Pixels of the view per pixel of the image, along a side; None where that depends on the image's size."""

    @property
    def block_period(self) -> float | None:
        """Distance in pixels of the view between borders of a codec's blocks; None where there is no regular grid."""

    def __call__(self, image: Image.Image) -> Degraded:
        """Degrade one image of mode RGB; the argument is left as it is.

        Raises:
            ValueError: The codec cannot hold an image of this size.
        """


class Kind(Degradation, Protocol):
    """A degradation that is written HEAD or HEAD-PARAMETERS."""

    head: ClassVar[str]

    @classmethod
    def form(cls) -> str:
        """How it is written, parameters in capitals."""

    @classmethod
    def from_spec(cls, spec: str) -> Self:
        """Read a specification that begins with the head; numbers may be written in any way.

        Raises:
            UserError: It is malformed, or a parameter is out of range.
        """


@dataclass(frozen=True)
class Original:
    """The source's own pixels.

    >>> Original()(Image.new("RGB", (2, 2))).encoded_bytes is None
    True
    """

    name: str = ORIGINAL
    head: ClassVar[str] = ORIGINAL
    settings: ClassVar[tuple[Setting, ...]] = ()
    formats: ClassVar[tuple[FileFormat, ...]] = ()
    size_factor: ClassVar[float | None] = 1.0
    block_period: ClassVar[float | None] = None

    @classmethod
    def form(cls) -> str:
        return cls.head

    @classmethod
    def from_spec(cls, spec: str) -> Self:
        """Read `original`."""
        if spec != cls.head:
            raise malformed(spec, cls.form())
        return cls()

    def __call__(self, image: Image.Image) -> Degraded:
        return Degraded(image, None)


@dataclass(frozen=True)
class OneNumber:
    """Base of degradations written HEAD-NUMBER: a subclass has one field, and the field's name says what is set.

    Attributes:
        head: What its specification begins with.
        lowest: The least number allowed.
        highest: The greatest number allowed.
        whole: Whether the number is an integer.
        formats: The file formats that an image passes through.
    """

    head: ClassVar[str]
    lowest: ClassVar[float]
    highest: ClassVar[float]
    whole: ClassVar[bool] = False
    formats: ClassVar[tuple[FileFormat, ...]] = ()

    @classmethod
    def quantity(cls) -> str:
        """What the number sets."""
        return fields(cls)[0].name

    @classmethod
    def form(cls) -> str:
        return f"{cls.head}-{cls.quantity().upper()}"

    @classmethod
    def from_spec(cls, spec: str) -> Self:
        """Read HEAD-NUMBER."""
        text = spec.removeprefix(f"{cls.head}-")
        if re.fullmatch(r"[0-9]+\.?[0-9]*|\.[0-9]+", text) is None:
            raise malformed(spec, cls.form())
        what = f"{cls.head} {cls.quantity()}"
        value = in_range(spec, what, text, cls.lowest, cls.highest)
        if cls.whole and not value.is_integer():
            raise UserError(f"degradation {spec!r}: {what} {text} is not whole, choose an integer")
        return cls(int(value) if cls.whole else value)  # type: ignore[call-arg]  # subclasses have the one field

    @property
    def value(self) -> float:
        """The number."""
        return float(getattr(self, self.quantity()))

    @property
    def name(self) -> str:
        return f"{self.head}-{self.value:g}"

    @property
    def settings(self) -> tuple[Setting, ...]:
        return (Setting(self.quantity(), self.value, self.head),)

    @property
    def size_factor(self) -> float | None:
        return 1.0

    @property
    def block_period(self) -> float | None:
        return last_block(self.formats)


def halves_chroma(degradation: Degradation) -> bool:
    """Whether what comes last is a JPEG that stores chroma at half the resolution, means of 2 x 2 pixels of the image.

    A degradation that does so has an attribute of this name.
    """
    return bool(getattr(degradation, "halves_chroma", False))


def malformed(spec: str, form: str) -> UserError:
    """The error for a specification that is not written as its kind is."""
    return UserError(f"degradation {spec!r} is malformed: write {form}")


def in_range(spec: str, what: str, text: str, lowest: float, highest: float) -> float:
    """Read a number.

    Raises:
        UserError: It is out of range.

    >>> in_range("blur-1.50", "blur sigma", "1.50", 0, 100)
    1.5
    """
    value = float(text)
    if not lowest <= value <= highest:
        raise UserError(f"degradation {spec!r}: {what} {text} is out of range, choose {lowest:g} to {highest:g}")
    return value
