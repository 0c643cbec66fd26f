"""The audit of a data set: each image's container and history, and what they add up to."""

import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from scipy.stats import binom, fisher_exact

from bench.audit.double_jpeg import earlier_quality
from bench.audit.history import SMALLEST_SIDE, History, cut_tiles, histories
from bench.audit.jpeg_format import JpegHeader, read_header
from bench.audit.lattice import clipped, luma
from bench.statistics.significance import holm
from datamodules.decoding import to_rgb
from datamodules.image_formats import LOSSY
from datamodules.sources import UNLABELLED, Source

Bytes = npt.NDArray[np.uint8]

_MAY_BE_LOSSLESS = ("JPEG2000", "JXL")
_VALUES_AT_ONCE = 2**25
_IMAGES_AT_ONCE = 1000
_REARRANGEMENTS = 2000
_MOST_CHUNKS = 100
_LEAST_SECONDS = 0.05  # the first image takes 0.02 to 0.1 s, by its size
FALSE_POSITIVES = 0.01
"""Largest share of lossless images that show a lossy past by chance: of 32 x 32 pixels; larger ones show it less."""

LEAK = 0.02
"""Largest share of lossy images that show that they are lossless."""

_CHANCE = 0.01
_RULED_OUT, _MOST = 90, 0.9
_IN_RECORDS = ("images", "conclusion", "lossy", "lossless", "unreadable", "qualities", "containers")


@dataclass(frozen=True)
class Examined:
    """An image of a data set.

    Attributes:
        index: Position in the split.
        path: Relative to the data root; None if it is no file.
        label: Class, or UNLABELLED.
        container: Pillow's name of the format; None for arrays.
        header: Of a JPEG file; None for all others.
        history: None where it cannot be read.
        error: Why it cannot be read, in one line.
    """

    index: int
    path: str | None
    label: int
    container: str | None = None
    header: JpegHeader | None = None
    history: History | None = None
    error: str = ""

    @property
    def lossy(self) -> bool:
        """Whether a lossy past is certain or shows."""
        return self.history is not None and self.history.verdict in ("jpeg", "lossy")

    @property
    def certain(self) -> bool:
        """Whether its container says that it is lossy, which is no estimate."""
        return self.lossy and self.container in LOSSY

    @property
    def kind(self) -> str:
        """Its lossy past in a word or two; whether there shows none or none can be told depends on what is pictured."""
        if not self.lossy or self.history is None:
            return "none shows"
        quality = self.history.quality
        return self.history.verdict if quality is None else f"{self.history.verdict} {quality}"


def examine(source: Source, indices: Iterable[int]) -> Iterator[Examined]:
    """Look at images of a source, in order; what cannot be read is told in its place.

    Args:
        source: Where they are.
        indices: Positions in it.
    """
    waiting: list[tuple[Examined, Bytes | None]] = []
    values = 0
    for index in indices:
        opened, rgb = _open(source, index)
        waiting.append((opened, rgb))
        values += 0 if rgb is None else rgb.size
        if values > _VALUES_AT_ONCE or len(waiting) >= _IMAGES_AT_ONCE:
            yield from _finish(waiting)
            waiting, values = [], 0
    yield from _finish(waiting)


def _open(source: Source, index: int) -> tuple[Examined, Bytes | None]:
    """An image, with its pixels where these have to be looked at."""
    known = Examined(index, source.path(index), source.label(index))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with source.load(index) as image:
                known = replace(known, container=image.format)
                if isinstance(image, JpegImageFile):
                    header = read_header(image)
                    return replace(known, header=header, history=_of_file(header, image)), None
                stored = _lossy_container(image)
                rgb = np.asarray(to_rgb(image))  # also of those that are not looked at: it may be cut
                return (known, rgb) if stored is None else (replace(known, history=stored), None)
    except Exception as error:  # whatever a decoder raises
        return replace(known, error=" ".join(str(error).split()) or type(error).__name__), None


def _finish(waiting: Sequence[tuple[Examined, Bytes | None]]) -> Iterator[Examined]:
    told = iter(histories([rgb for _, rgb in waiting if rgb is not None]))
    for opened, rgb in waiting:
        yield opened if rgb is None else replace(opened, history=next(told))


def _of_file(header: JpegHeader, image: Image.Image) -> History:
    """The history of a JPEG file, which may have been saved before."""
    earlier, rgb = None, np.asarray(image.convert("RGB"))
    if min(rgb.shape[:2]) >= SMALLEST_SIDE:
        tiles = cut_tiles(rgb)
        earlier = earlier_quality(luma(tiles), clipped(tiles), header.luma)
    return History("jpeg", 1.0, 0.0, header.quality, (0, 0), earlier, header.subsampling == "4:2:0")


def _lossy_container(image: Image.Image) -> History | None:
    """What the format of a file that is not decoded yet says of its pixels; None where it takes nothing from them."""
    if image.format not in LOSSY or (image.format == "WEBP" and _lossless_webp(image)):
        return None
    if image.format in _MAY_BE_LOSSLESS:
        return History("unknown", 0.0, 0.5, reason=f"stored as {image.format}, which may be lossless or not")
    return History("lossy", 0.0, 0.0, reason=f"stored as {image.format}")


def _lossless_webp(image: Image.Image) -> bool:
    """Whether the first picture's chunk is VP8L: RFC 9649, sections 2.5 to 2.7."""
    file = image.fp  # type: ignore[attr-defined]  # of images from files, until they are decoded
    file.seek(12)
    for _ in range(_MOST_CHUNKS):
        head = file.read(8)
        if head[:4] in (b"VP8L", b"VP8 ", b"ANMF") or len(head) < 8:
            return bytes(head[:4]) == b"VP8L"
        size = int.from_bytes(head[4:], "little")
        file.seek(size + size % 2, 1)
    return False


@dataclass(frozen=True)
class Dependence:
    """Whether histories depend on the class, by a permutation test of the chi-squared statistic.

    Attributes:
        cramers_v: Strength, 0 (none) to 1 (the history tells the class, or the other way round).
        p_value: Of independence, at least 1 / 2001.
    """

    cramers_v: float
    p_value: float


def dependence(labels: Sequence[int], kinds: Sequence[str], seed: int = 0) -> Dependence | None:
    """Test whether what images went through tells their class; None where there is one class or one kind only.

    Args:
        labels: Of N images.
        kinds: Their histories in a word.
        seed: Of the rearrangements.
    """
    _, rows = np.unique(np.asarray(labels), return_inverse=True)
    _, columns = np.unique(np.asarray(kinds), return_inverse=True)
    shape = (int(rows.max(initial=0)) + 1, int(columns.max(initial=0)) + 1)
    if len(rows) == 0 or min(shape) < 2:
        return None
    expected = np.outer(np.bincount(rows), np.bincount(columns)) / len(rows)

    def statistic(order: npt.NDArray[np.int64]) -> float:
        counts = np.bincount(rows * shape[1] + order, minlength=shape[0] * shape[1]).reshape(shape)
        return float(((counts - expected) ** 2 / expected).sum())

    observed = statistic(columns)
    generator = np.random.default_rng(seed)
    as_large = sum(statistic(generator.permutation(columns)) >= observed - 1e-9 for _ in range(_REARRANGEMENTS))
    strength = float(np.sqrt(observed / len(rows) / (min(shape) - 1)))
    return Dependence(strength, (1 + as_large) / (1 + _REARRANGEMENTS))


def by_class(images: Sequence[Examined], classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Images and lossy ones of each class that has any, and whether its share differs from all others'.

    `p_holm` is of Fisher's exact test of the class against the rest, adjusted by Holm's method for the classes.
    """
    found = {}
    total = len(images), sum(image.lossy for image in images)
    for label, name in enumerate(classes):
        mine = [image.lossy for image in images if image.label == label]
        if mine:
            rest = total[0] - len(mine), total[1] - sum(mine)
            p_value = fisher_exact([[sum(mine), len(mine) - sum(mine)], [rest[1], rest[0] - rest[1]]])[1]
            found[name] = {"images": len(mine), "lossy": sum(mine), "p_holm": float(p_value)}
    for row, p_value in zip(found.values(), holm([row["p_holm"] for row in found.values()]), strict=True):
        row["p_holm"] = float(p_value)
    return found


def summarise(images: Sequence[Examined], classes: Sequence[str] = ()) -> dict[str, Any]:
    """What single images add up to, JSON-able.

    Args:
        images: Of one split.
        classes: Names by label; empty for images without labels.

    Returns:
        `images`, `lossy`, `lossless` and `unreadable` (counts), `lossy_share` of the readable ones, the `conclusion`,
        `verdicts`, `containers`, `qualities`, `subsamplings`, `offsets`, `earlier_saves` and `ruled_out` (counts by
        value), `reasons` of what is unknown, `by_class` of `by_class`, and the `dependence` on the class.

        The conclusion is "lossy" where a container says so, or more images show a lossy past than `FALSE_POSITIVES` of
        lossless ones would with a probability of 1%; else "lossless" where more images show that they are than `LEAK`
        of lossy ones would; else "no save at this size" where nine in ten rule out a JPEG of quality 90 or lower since
        their last resize; else "unknown". `by_class` and `dependence` are empty and None where it is not "lossy":
        what a few false positives have in common is what is pictured.
    """
    readable = [image for image in images if image.history is not None]
    past = [image.history for image in readable if image.history is not None]
    lossy, verdicts = sum(image.lossy for image in readable), Counter(history.verdict for history in past)
    conclusion = "unknown"
    if any(image.certain for image in readable) or _beyond(lossy, len(readable), FALSE_POSITIVES):
        conclusion = "lossy"
    elif _beyond(verdicts["lossless"], len(readable), LEAK):
        conclusion = "lossless"
    elif sum(history.ruled_out >= _RULED_OUT for history in past) >= _MOST * len(readable) > 0:
        conclusion = "no save at this size"
    labelled = [image for image in readable if image.label != UNLABELLED] if classes and conclusion == "lossy" else []
    test = dependence([image.label for image in labelled], [image.kind for image in labelled])
    return {
        "images": len(images),
        "conclusion": conclusion,
        "lossy": lossy,
        "lossless": verdicts["lossless"],
        "lossy_share": lossy / len(readable) if readable else None,
        "unreadable": len(images) - len(readable),
        "verdicts": _counts(history.verdict for history in past),
        "containers": _counts(image.container or "array" for image in readable),
        "qualities": _counts("custom" if one.quality is None else one.quality for one in past if one.verdict == "jpeg"),
        "subsamplings": _counts(image.header.subsampling for image in readable if image.header is not None),
        "offsets": _counts(f"{one.offset[0]},{one.offset[1]}" for one in past if one.offset is not None),
        "earlier_saves": _counts(one.earlier_quality for one in past if one.earlier_quality is not None),
        "ruled_out": _counts(one.ruled_out for one in past if one.verdict in ("lossless", "unknown")),
        "reasons": _counts(one.reason for one in past if one.verdict == "unknown"),
        "by_class": by_class(labelled, classes),
        "dependence": None if test is None else {"cramers_v": test.cramers_v, "p_value": test.p_value},
    }


def _beyond(count: int, images: int, rate: float) -> bool:
    """Whether a count is larger than chance makes it."""
    return count > 0 and float(binom.sf(count - 1, images, rate)) < _CHANCE


def _counts(values: Iterable[object]) -> dict[str, int]:
    return {str(value): count for value, count in Counter(values).most_common()}


def sample_summary(source: Source, indices: Sequence[int], seconds: float) -> dict[str, Any]:
    """The audit of a few images, evenly chosen, as a run's record holds it: JSON-able.

    Args:
        source: Where they are.
        indices: Positions of the images that the run went through.
        seconds: That it may take: the sample is doubled from one image on while the next one is expected to fit.

    Returns:
        Some keys of `summarise`; the conclusion is "not looked at" where there is no time for an image.
    """
    start, count = time.monotonic(), 1
    examined: dict[int, Examined] = {}
    while seconds >= _LEAST_SECONDS:
        places = {indices[int(place)] for place in np.linspace(0, len(indices) - 1, count)} - examined.keys()
        examined |= {image.index: image for image in examine(source, sorted(places))}
        spent = time.monotonic() - start
        if count >= len(indices) or not examined or 3 * spent > seconds:  # twice as many more, after what was spent
            break
        count = min(2 * count, len(indices))
    summary = summarise(list(examined.values())) | ({} if examined else {"conclusion": "not looked at"})
    return {key: summary[key] for key in _IN_RECORDS}
