"""The audit of a data set: each image's container and history, and what they add up to."""

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.stats import binom

from bench.audit.history import History, earlier_quality, histories
from bench.audit.jpeg_headers import JpegHeader, read_header
from bench.audit.lattice import clipped, luma
from bench.audit.tiles import SMALLEST_SIDE, cut_tiles
from datamodules.decoding import to_rgb
from datamodules.image_formats import LOSSY
from datamodules.sources import UNLABELLED, Source

Bytes = npt.NDArray[np.uint8]

_JPEG = ("JPEG", "MPO")
_PIXELS_AT_ONCE = 2**25
_IMAGES_AT_ONCE = 1000
_REARRANGEMENTS = 2000
FALSE_POSITIVES = 0.01
"""Largest share of lossless images that show a lossy past by chance: of 32 x 32 pixels; larger ones show it less."""
_CHANCE = 0.01
_IN_RECORDS = ("images", "lossy", "beyond_chance", "unreadable", "verdicts", "qualities")


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
    def kind(self) -> str:
        """Verdict and quality in one word or two."""
        if self.history is None:
            return "unreadable"
        quality = self.history.quality
        return self.history.verdict if quality is None else f"{self.history.verdict} {quality}"


def examine(source: Source, indices: Iterable[int]) -> Iterator[Examined]:
    """Look at images of a source, in order; what cannot be read is told in its place.

    Args:
        source: Where they are.
        indices: Positions in it.
    """
    waiting: list[tuple[Examined, Bytes | None]] = []
    pixels = 0
    for index in indices:
        one, rgb = _open(source, index)
        waiting.append((one, rgb))
        pixels += 0 if rgb is None else rgb.size
        if pixels > _PIXELS_AT_ONCE or len(waiting) >= _IMAGES_AT_ONCE:
            yield from _finish(waiting)
            waiting, pixels = [], 0
    yield from _finish(waiting)


def _open(source: Source, index: int) -> tuple[Examined, Bytes | None]:
    """An image with its pixels where these have to be looked at; only tiles of large ones are kept."""
    path, label = source.path(index), source.label(index)
    container = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with source.load(index) as image:
                container = image.format
                if container in _JPEG:
                    header = _header(image)
                    history = _from_header(header, np.asarray(image.convert("RGB")))
                    return Examined(index, path, label, container, header, history), None
                if container in LOSSY and not _is_lossless_webp(image):
                    history = History("lossy", 0.0, reason=f"stored as {container}")
                    return Examined(index, path, label, container, None, history), None
                return Examined(index, path, label, container), np.asarray(to_rgb(image))
    except Exception as error:  # whatever a decoder raises
        reason = " ".join(str(error).split()) or type(error).__name__
        return Examined(index, path, label, container, error=reason), None


def _finish(waiting: Sequence[tuple[Examined, Bytes | None]]) -> Iterator[Examined]:
    found = iter(histories([rgb for _, rgb in waiting if rgb is not None]))
    for one, rgb in waiting:
        yield one if rgb is None else Examined(one.index, one.path, one.label, one.container, None, next(found))


def _header(image: Image.Image) -> JpegHeader:
    with Path(image.filename).open("rb") as file:  # type: ignore[attr-defined]  # of images from files
        return read_header(file)


def _from_header(header: JpegHeader, rgb: Bytes) -> History:
    earlier = None
    if min(rgb.shape[:2]) >= SMALLEST_SIDE:
        tiles = cut_tiles(rgb)
        earlier = earlier_quality(luma(tiles), clipped(tiles), header.luma)
    return History("jpeg", 1.0, header.quality, (0, 0), earlier, header.subsampling == "4:2:0")


def _is_lossless_webp(image: Image.Image) -> bool:
    if image.format != "WEBP":
        return False
    with Path(image.filename).open("rb") as file:  # type: ignore[attr-defined]  # of images from files
        return file.read(16)[12:] == b"VP8L"


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


def summarise(images: Sequence[Examined], classes: Sequence[str] = ()) -> dict[str, Any]:
    """What single images add up to, JSON-able.

    Args:
        images: Of one split.
        classes: Names by label; empty for images without labels.

    Returns:
        `images`, `lossy` and `unreadable` (counts), `lossy_share` of the readable ones, whether that is
        `beyond_chance` for a lossless set, `verdicts`, `containers`,
        `qualities`, `offsets`, `earlier_saves` and `ruled_out` (counts by value), `by_class`
        (images and lossy ones by class name), `dependence` on the class, and `reasons` of what is unknown.
    """
    readable = [one for one in images if one.history is not None]
    past = [one.history for one in readable if one.history is not None]
    lossy = sum(one.lossy for one in readable)
    labelled = [one for one in readable if one.label != UNLABELLED] if classes else []
    test = dependence([one.label for one in labelled], [one.kind for one in labelled])
    by_class = {
        name: {"images": len(mine), "lossy": sum(one.lossy for one in mine)}
        for label, name in enumerate(classes)
        if (mine := [one for one in labelled if one.label == label])
    }
    by_container = sum(one.container in LOSSY for one in readable if one.lossy)
    return {
        "images": len(images),
        "lossy": lossy,
        "beyond_chance": bool(by_container or binom.sf(lossy - 1, len(readable), FALSE_POSITIVES) < _CHANCE),
        "lossy_share": lossy / len(readable) if readable else None,
        "unreadable": len(images) - len(readable),
        "verdicts": _counts(one.verdict for one in past),
        "containers": _counts(one.container or "array" for one in images),
        "qualities": _counts("custom" if one.quality is None else one.quality for one in past if one.verdict == "jpeg"),
        "offsets": _counts(f"{one.offset[0]},{one.offset[1]}" for one in past if one.offset is not None),
        "earlier_saves": _counts(one.earlier_quality for one in past if one.earlier_quality is not None),
        "ruled_out": _counts(one.ruled_out for one in past if one.verdict == "no trace"),
        "reasons": _counts(one.reason for one in past if one.verdict == "unknown"),
        "by_class": by_class,
        "dependence": None if test is None else {"cramers_v": test.cramers_v, "p_value": test.p_value},
    }


def _counts(values: Iterable[object]) -> dict[str, int]:
    return {str(value): count for value, count in Counter(values).most_common()}


def in_one_line(summary: dict[str, Any]) -> str:
    """What a summary comes to, for a screen.

    >>> counts = {"verdicts": {"jpeg": 1, "no trace": 2}, "qualities": {"75": 1}, "dependence": None}
    >>> in_one_line({"images": 3, "lossy": 1, "beyond_chance": True, "unreadable": 0} | counts)
    '1 of 3 images show a lossy past (JPEG quality 75); no trace in 2; unknown for 0'
    """
    verdicts = summary["verdicts"]
    best = list(summary["qualities"])[:3]
    more = ", ..." if len(summary["qualities"]) > len(best) else ""
    which = f" (JPEG quality {', '.join(best)}{more})" if best else ""
    chance = "" if summary["beyond_chance"] or not summary["lossy"] else ", no more than lossless sets do by chance"
    line = (
        f"{summary['lossy']} of {summary['images']} images show a lossy past{which}{chance}; no trace in "
        f"{verdicts.get('no trace', 0)}; unknown for {verdicts.get('unknown', 0)}"
    )
    if summary["unreadable"]:
        line += f"; {summary['unreadable']} unreadable"
    test = summary["dependence"]
    if test is not None and test["p_value"] < 0.01:
        line += f"; it depends on the class (p = {test['p_value']:.2g}, V = {test['cramers_v']:.2f})"
    return line


def sample_summary(source: Source, indices: Sequence[int], most: int) -> dict[str, Any]:
    """The audit of a few images, evenly chosen, as a run's record holds it: JSON-able.

    Args:
        source: Where they are.
        indices: Positions of the images that the run went through.
        most: Number of images to look at, at least 1.
    """
    count = min(most, len(indices))
    places = [int(place) for place in np.unique(np.linspace(0, len(indices) - 1, count).astype(np.int64))]
    summary = summarise(list(examine(source, [indices[place] for place in places])))
    return {key: summary[key] for key in _IN_RECORDS}
