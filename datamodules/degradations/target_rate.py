"""A codec held to a rate: image by image, the best quality whose file fits a budget of bits."""

import math
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace

from PIL import Image

from datamodules.degradations.base import Degradation, Setting, halves_chroma, in_range
from datamodules.degradations.formats import Degraded, FileFormat, in_pixels, total
from datamodules.degradations.registry import parse_link
from datamodules.degradations.tables import JpegTables
from datamodules.errors import UserError

_RATE = re.compile(r"-([0-9]+\.?[0-9]*|\.[0-9]+)bpp(?=-|$)")
_LOWEST, _HIGHEST = 0.001, 100.0  # bits per pixel
_MIDDLE_QUALITY, _BEST_QUALITY = 50, 100
_QUALITY = "quality"


@dataclass(frozen=True)
class TargetRate:
    """The largest quality of a codec at which the file of an image takes at most so many bits per pixel.

    Found by bisection on the files themselves, headers included, some seven per image; all of them count as the time of
    encoding. Where a file shrinks although the quality rises, the quality found fits and the next one does not, and a
    larger one might.

    Args:
        codec: A codec's specification with "{}" in the place of its quality.
        rate: Bits per pixel of the image that is given, above 0.
        steps: The codec at every whole quality that it knows, from the worst to the best.

    >>> step = parse_rate("jpeg-0.5bpp-444").steps[-1]
    >>> step.name
    'jpeg-100-444'
    """

    codec: str
    rate: float
    steps: tuple[Degradation, ...] = field(compare=False, repr=False)

    @property
    def name(self) -> str:
        return self.codec.format(f"{self.rate:g}bpp")

    @property
    def settings(self) -> tuple[Setting, ...]:
        return (Setting("rate", self.rate, self.codec.format("bpp")),)

    @property
    def formats(self) -> tuple[FileFormat, ...]:
        return self.steps[0].formats

    @property
    def size_factor(self) -> float | None:
        return self.steps[0].size_factor

    @property
    def block_period(self) -> float | None:
        return self.steps[0].block_period

    @property
    def halves_chroma(self) -> bool:
        """See `datamodules.degradations.base.halves_chroma`."""
        return all(map(halves_chroma, self.steps))

    def __call__(self, image: Image.Image) -> Degraded:
        """Degrade one image of mode RGB; the argument is left as it is.

        Raises:
            ValueError: Even the worst quality takes more, or the codec cannot hold an image of this size.
        """
        budget = self.rate * image.width * image.height / 8
        best = self.steps[0](image)
        if _size(best) > budget:
            worst, least = self.steps[0].name, math.ceil(80 * _size(best) / image.width / image.height) / 10
            raise ValueError(
                f"{in_pixels(image)}: {worst} takes {_size(best)} bytes, and {self.name} allows {int(budget)}; ask for "
                f"at least {least:g}bpp"
            )
        fits, too_large, times = 0, len(self.steps), [best.encode_ms]
        while too_large - fits > 1:
            middle = (fits + too_large) // 2
            tried = self.steps[middle](image)
            times.append(tried.encode_ms)
            if _size(tried) <= budget:
                fits, best = middle, tried
            else:
                too_large = middle
        return replace(best, encode_ms=total(times))


def names_a_rate(spec: str) -> bool:
    """Whether a specification has a rate in the place of a quality.

    >>> names_a_rate("webp-0.5bpp"), names_a_rate("webp-50")
    (True, False)
    """
    return _RATE.search(spec) is not None


def parse_rate(spec: str) -> TargetRate:
    """Read a specification with a rate in the place of a quality.

    Raises:
        UserError: The codec has no quality, or the rate is out of range.
    """
    codec = _RATE.sub("-{}", spec, count=1)
    text = _RATE.findall(spec)[0]
    if "{" in spec or "}" in spec:
        raise UserError(f"degradation {spec!r} is malformed: write a codec with a quality, and a number before bpp")
    qualities = range(_BEST_QUALITY + 1)
    steps = tuple(step for quality in qualities if (step := _step(codec.format(quality))) is not None)
    if not steps:
        try:
            parse_link(codec.format(_MIDDLE_QUALITY))  # which says what is wrong with an unknown codec
        except UserError as error:
            raise UserError(f"degradation {spec!r}: {error}") from None
        raise UserError(
            f"degradation {spec!r}: only codecs with a quality can be held to bits per pixel, such as jpeg-{text}bpp, "
            f"jpeg-{text}bpp-444 or webp-{text}bpp"
        )
    return TargetRate(codec, in_range(spec, "bits per pixel", text, _LOWEST, _HIGHEST), steps)


def _step(spec: str) -> Degradation | None:
    with suppress(UserError):
        step = parse_link(spec)
        if isinstance(step, JpegTables) and step.known is not None:
            step.require()  # of the scales those that there are
        if step.settings and step.settings[0].quantity == _QUALITY and step.formats:
            return step
    return None


def _size(degraded: Degraded) -> int:
    if degraded.encoded_bytes is None:
        raise ValueError("the codec does not say what it takes")
    return degraded.encoded_bytes
