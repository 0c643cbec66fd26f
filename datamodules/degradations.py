"""Degradations: what happens to an image at its native size before any encoder sees it.

A degradation's specification is its name everywhere (YAML, metric keys, columns, TensorBoard tags, file names):
`original`, `jpeg-75`, `jpeg-75-444`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Protocol

from PIL import Image

from datamodules.errors import UserError

ORIGINAL = "original"
DEFAULT_DEGRADATIONS = (ORIGINAL, "jpeg-75", "jpeg-50", "jpeg-25")
"""The views of Chen, Namboodiri and Padget (2023)."""

_JPEG_LONGEST_SIDE = 65500  # libjpeg's own limit, a little below the format's 65535
_SUBSAMPLINGS = {"444": "4:4:4", "422": "4:2:2", "420": "4:2:0"}


@dataclass(frozen=True)
class Degraded:
    """An RGB image after a degradation, and the size of its encoded form in bytes (None where nothing was encoded)."""

    image: Image.Image
    encoded_bytes: int | None


class Degradation(Protocol):
    """A pure function from an RGB image to an RGB image; a codec round trip keeps the size."""

    @property
    def name(self) -> str:
        """The specification that `parse` turns into this degradation."""

    def __call__(self, image: Image.Image) -> Degraded:
        """Degrade one image of mode RGB; the argument is left as it is.

        Raises:
            ValueError: The codec cannot hold an image of this size.
        """


@dataclass(frozen=True)
class Original:
    """The source's own pixels.

    >>> Original()(Image.new("RGB", (2, 2))).encoded_bytes is None
    True
    """

    name: str = ORIGINAL

    def __call__(self, image: Image.Image) -> Degraded:
        return Degraded(image, None)


@dataclass(frozen=True)
class Jpeg:
    """A JPEG round trip by Pillow, every option but these two at Pillow's default.

    Args:
        quality: libjpeg quality, 1 (worst) to 100.
        subsampling: chroma subsampling "444", "422" or "420"; None is Pillow's default, which is 4:2:0.

    >>> Jpeg(75, "444").name
    'jpeg-75-444'
    """

    quality: int
    subsampling: str | None = None

    @property
    def name(self) -> str:
        return f"jpeg-{self.quality}" + (f"-{self.subsampling}" if self.subsampling else "")

    @classmethod
    def from_spec(cls, spec: str) -> "Jpeg":
        """Read `jpeg-<quality>` or `jpeg-<quality>-<subsampling>`."""
        match = re.fullmatch(r"jpeg-(0|[1-9][0-9]*)(?:-([0-9]+))?", spec)
        if match is None:
            raise UserError(f"degradation {spec!r} is malformed: write jpeg-QUALITY or jpeg-QUALITY-SUBSAMPLING")
        quality, subsampling = match.groups()
        if len(quality) > 3 or not 1 <= int(quality) <= 100:
            raise UserError(f"degradation {spec!r}: JPEG quality {quality} is out of range, choose 1 to 100")
        if subsampling is not None and subsampling not in _SUBSAMPLINGS:
            choices = ", ".join(_SUBSAMPLINGS)
            raise UserError(f"degradation {spec!r}: unknown chroma subsampling {subsampling}, choose from {choices}")
        return cls(int(quality), subsampling)

    def __call__(self, image: Image.Image) -> Degraded:
        if max(image.size) > _JPEG_LONGEST_SIDE:
            width, height = image.size
            raise ValueError(f"{width} x {height} pixels: JPEG holds at most {_JPEG_LONGEST_SIDE} on a side")
        options = {} if self.subsampling is None else {"subsampling": _SUBSAMPLINGS[self.subsampling]}
        buffer = BytesIO()
        image.save(buffer, format="JPEG", quality=self.quality, **options)
        decoded = Image.open(buffer)
        decoded.load()
        return Degraded(decoded, buffer.getbuffer().nbytes)


def parse(spec: str) -> Degradation:
    """Turn a specification into its degradation.

    Raises:
        UserError: The codec is unknown or a parameter is out of range.

    >>> parse("jpeg-75")
    Jpeg(quality=75, subsampling=None)
    """
    if spec == ORIGINAL:
        return Original()
    if spec.split("-")[0] == "jpeg":
        return Jpeg.from_spec(spec)
    raise UserError(f"unknown degradation {spec!r}: choose from {ORIGINAL}, jpeg-QUALITY, jpeg-QUALITY-SUBSAMPLING")


def parse_all(specs: Sequence[str]) -> tuple[Degradation, ...]:
    """Parse the views of a run; `original` always comes first, whether it was listed or not.

    Raises:
        UserError: A specification is wrong or listed twice.

    >>> [degradation.name for degradation in parse_all(["jpeg-75"])]
    ['original', 'jpeg-75']
    """
    if isinstance(specs, str):
        raise UserError(f"degradations {specs!r} is one text: write a list such as [original, jpeg-75]")
    repeated = {spec for spec in specs if specs.count(spec) > 1}
    if repeated:
        raise UserError(f"degradation {min(repeated)!r} is listed twice: list each view once")
    return Original(), *(parse(spec) for spec in specs if spec != ORIGINAL)
