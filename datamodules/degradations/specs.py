"""Specifications: texts to degradations, ranges to views, views to curves."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import chain, product, zip_longest

from PIL import Image

from datamodules.decoding import to_rgb
from datamodules.degradations.base import ORIGINAL, Degradation, Original, Setting, halves_chroma
from datamodules.degradations.formats import Degraded, FileFormat
from datamodules.degradations.geometry import Crop, Resize
from datamodules.degradations.registry import parse_link
from datamodules.degradations.tables import JpegTables
from datamodules.degradations.target_rate import TargetRate, names_a_rate, parse_rate
from datamodules.errors import UserError

MOST_VIEWS = 200
_LONGEST_NAME = 100  # characters; a name is part of file names
_MOST_DIGITS = 9  # of a quality


@dataclass(frozen=True)
class Chain:
    """Degradations one after the other; the encoded size is that of the last codec among them, times are of all.

    Args:
        links: At least two, in the order of work.

    >>> Chain((parse("resize-0.5"), parse("jpeg-50"))).name
    'resize-0.5+jpeg-50'
    """

    links: tuple[Degradation, ...]

    @property
    def name(self) -> str:
        return "+".join(link.name for link in self.links)

    @property
    def settings(self) -> tuple[Setting, ...]:
        """Every number of every link, the last link's first."""
        names = [link.name for link in self.links]
        return tuple(
            setting._replace(curve="+".join([*names[:place], setting.curve, *names[place + 1 :]]))
            for place, link in reversed(list(enumerate(self.links)))
            for setting in link.settings
        )

    @property
    def formats(self) -> tuple[FileFormat, ...]:
        return tuple(chain.from_iterable(link.formats for link in self.links))

    @property
    def size_factor(self) -> float | None:
        factors = [link.size_factor for link in self.links]
        known = [factor for factor in factors if factor is not None]
        return math.prod(known) if len(known) == len(factors) else None

    @property
    def block_period(self) -> float | None:
        """Of the last codec if it has blocks, as large as the links after it leave them, if they do so in every image.

        >>> parse("jpeg-50+resize-0.5").block_period, parse("resize-0.5+jpeg-50").block_period
        (4.0, 8.0)
        >>> parse("jpeg-50+webp-50").block_period
        """
        period = None
        for link in self.links:
            if link.block_period is not None:
                period = float(link.block_period)
            elif link.formats:
                period = None
            elif period is not None:
                period = None if link.size_factor is None else period * link.size_factor
        return period

    @property
    def halves_chroma(self) -> bool:
        """See `datamodules.degradations.base.halves_chroma`."""
        return halves_chroma(self.links[-1])

    def __call__(self, image: Image.Image) -> Degraded:
        degraded = self.links[0](image)
        for link in self.links[1:]:
            degraded = link(degraded.image).after(degraded)
        return degraded


def parse(spec: str) -> Degradation:
    """Turn a specification into its degradation, whether or not this installation has the codec.

    Raises:
        UserError: The degradation is unknown, a parameter is out of range, or this is not its name.

    >>> parse("webp-50")
    WebP(quality=50)
    """
    if "+" not in spec:
        return _parse_link(spec)
    try:
        links = tuple(_parse_link(link) for link in spec.split("+"))
    except UserError as error:
        raise UserError(f"{error}; this is in the chain {spec!r}") from None
    if any(isinstance(link, Original) for link in links):
        raise UserError(f"degradation {spec!r}: {ORIGINAL} does nothing in a chain, leave it out")
    if len(spec) > _LONGEST_NAME:
        raise UserError(f"degradation {spec!r} is too long for a file name: stay within {_LONGEST_NAME} characters")
    return Chain(links)


def framing(degradation: Degradation) -> tuple[str, ...]:
    """The links that decide which part of an image is in the view: its crops and the resizes before them.

    Views of equal framing show the same part, so that they can be compared pixel by pixel.

    >>> framing(parse("resize-256+crop-224+jpeg-50")), framing(parse("resize-0.5+jpeg-50"))
    (('resize-256', 'crop-224'), ())
    """
    links = _links(degradation)
    frame: tuple[str, ...] = ()
    for end, link in enumerate(links, start=1):
        if isinstance(link, Crop):
            frame = tuple(one.name for one in links[:end] if isinstance(one, Crop | Resize))
    return frame


@cache
def is_cropped(view: str) -> bool:
    """Whether a view shows a part of each image, by its name; False of a name that is no specification.

    >>> is_cropped("resize-256+crop-224+jpeg-50"), is_cropped("jpeg-50"), is_cropped("by another program")
    (True, False, False)
    """
    try:
        return bool(framing(parse(view)))
    except UserError:
        return False


def _links(degradation: Degradation) -> tuple[Degradation, ...]:
    return degradation.links if isinstance(degradation, Chain) else (degradation,)


def _parse_link(spec: str) -> Degradation:
    degradation = parse_rate(spec) if names_a_rate(spec) else parse_link(spec)
    if degradation.name != spec:
        raise UserError(f"degradation {spec!r} has one name only: write {degradation.name}")
    return degradation


def degrade(image: Image.Image, view: str) -> Degraded:
    """Degrade one image as a run degrades it: converted to upright RGB first (`to_rgb`), at its native size.

    Args:
        image: An image of Pillow in any mode; it is left as it is.
        view: A view's name, such as "jpeg-75" or "resize-0.5+webp-50".

    Returns:
        The RGB image, and the size of its encoded form in bytes (None where nothing was encoded).

    Raises:
        UserError: There is no such view, or this installation lacks its codec.
        ValueError: The codec cannot hold an image of this size, or the image's mode has no defined range.

    >>> degrade(Image.new("L", (40, 30)), "jpeg-75").image
    <PIL.Image.Image image mode=RGB size=40x30 at ...>
    """
    [_, *degradations] = parse_all([view])
    rgb = to_rgb(image.copy())
    return degradations[0](rgb) if degradations else Degraded(rgb, None)


def parse_all(specs: Sequence[str] | str) -> tuple[Degradation, ...]:
    """Parse the views of a run, or a single one; `original` always comes first, whether it was listed or not.

    Ranges are written as in bash: `jpeg-{95..5..10}`, `webp-{75,50}`, `resize-0.{25,5}+jpeg-{75,50}`.

    Raises:
        UserError: A specification is wrong or listed twice, there are too many, or a codec is missing here, or the
            tables of a view.

    >>> [degradation.name for degradation in parse_all(["jpeg-{75..25..25}"])]
    ['original', 'jpeg-75', 'jpeg-50', 'jpeg-25']
    """
    names = [name for spec in ([specs] if isinstance(specs, str) else specs) for name in _expand(spec)]
    if len(names) > MOST_VIEWS:
        raise UserError(f"the degradations are {len(names)} views: a run holds at most {MOST_VIEWS}")
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise UserError(f"degradation {min(repeated)!r} is listed twice: list each view once")
    degradations = Original(), *(parse(name) for name in names if name != ORIGINAL)
    for degradation in degradations:
        try:
            for file_format in degradation.formats:
                file_format.require()
            table_hashes([degradation])
        except UserError as error:
            raise UserError(f"degradation {degradation.name!r}: {error}", option=error.options) from error
    return degradations


def _expand(spec: str) -> list[str]:
    literals, braces = (parts := re.split(r"\{([^{}]*)\}", spec))[::2], parts[1::2]
    choices = [_choices(spec, brace) for brace in braces]
    if math.prod(len(choice) for choice in choices) > MOST_VIEWS:
        raise UserError(f"degradation {spec!r} is more than {MOST_VIEWS} views: take larger steps")
    return [
        "".join(chain.from_iterable(zip_longest(literals, map(str, chosen), fillvalue="")))
        for chosen in product(*choices)
    ]


def _choices(spec: str, brace: str) -> Sequence[str | int]:
    """What stands in a pair of braces: a list, or a range of integers that includes its end."""
    if "," in brace:
        return brace.split(",")
    number = "(0|[1-9][0-9]{0,8})"
    match = re.fullmatch(rf"{number}\.\.{number}(?:\.\.-?{number})?", brace)
    if match is None or match[3] == "0":
        raise UserError(f"degradation {spec!r}: {brace!r} is no range, write one like {{95..5..10}} or {{90,50}}")
    first, last, step = int(match[1]), int(match[2]), int(match[3] or 1)
    return range(first, last + 1, step) if first <= last else range(first, last - 1, -step)


def curves(views: Iterable[str], quantity: str | None = None) -> dict[str, list[tuple[float, str]]]:
    """Views that differ in one number only: (number, view) in increasing order, by what they have in common.

    A view can lie on several curves. One that shares none with another view is a curve of its own, along its first
    number; views without a number, and names that are no specifications, lie on none.

    Args:
        views: Names.
        quantity: Only the curves along this quantity (`Setting.quantity`), which an axis can share; None takes all.

    >>> curves(["original", "jpeg-75", "jpeg-50", "jpeg-50-444"])
    {'jpeg': [(50, 'jpeg-50'), (75, 'jpeg-75')], 'jpeg-444': [(50, 'jpeg-50-444')]}
    >>> curves(["jpeg-75", "jpeg-75-x5", "blur-1"], "generations")
    {'jpeg-75-x': [(1, 'jpeg-75'), (5, 'jpeg-75-x5')]}
    """
    settings: dict[str, tuple[Setting, ...]] = {}
    for view in views:
        with suppress(UserError):
            settings[view] = parse(view).settings
    sizes = Counter(setting.curve for found in settings.values() for setting in found)
    points: dict[str, list[tuple[float, str]]] = {}
    for view, found in settings.items():
        shared = [setting for setting in found if sizes[setting.curve] > 1]
        for setting in shared or found[:1]:
            if quantity in (None, setting.quantity):
                points.setdefault(setting.curve, []).append((setting.value, view))
    return {curve: sorted(on_curve) for curve, on_curve in points.items()}


def quality_of(codec: str, view: str) -> int | None:
    """The quality of a view of a codec, a specification with `{}` in its place; None of any other view.

    >>> quality_of("jpeg-{}", "jpeg-25"), quality_of("jpeg-{}", "jpeg-25-444"), quality_of("jpeg-{}", "webp-25")
    (25, None, None)
    """
    head, _, tail = codec.partition("{}")
    quality = view.removeprefix(head).removesuffix(tail)
    known = view == f"{head}{quality}{tail}" and quality.isascii() and quality.isdecimal()
    return int(quality) if known and len(quality) <= _MOST_DIGITS else None


def codec_versions(degradations: Iterable[Degradation]) -> dict[str, str | None]:
    """Versions of the libraries behind the codecs, by format, for the record; the codecs are there."""
    formats = {file_format for degradation in degradations for file_format in degradation.formats}
    return {one.title: one.version() for one in sorted(formats, key=lambda one: one.title)}


def table_hashes(degradations: Iterable[Degradation]) -> dict[str, str]:
    """SHA-256 of the JPEG tables at work, by name, for the record.

    Raises:
        UserError: Tables are not known, or lack a scale.
    """
    links = chain.from_iterable(map(_links, degradations))
    steps = chain.from_iterable(link.steps if isinstance(link, TargetRate) else (link,) for link in links)
    tables = [step.require() for step in steps if isinstance(step, JpegTables)]
    by_name = {one.name: one for one in tables}
    return {name: by_name[name].sha256 for name in sorted(by_name)}
