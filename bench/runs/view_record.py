"""What a record says about each view: metrics, counts of images, counts by class."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from bench.runs.json_values import Value
from datamodules.degradations import ORIGINAL
from datamodules.degradations.base import VIEW_NAME

MOST_CONFUSIONS = 10
"""That a record keeps of each view."""

_VIEW = re.compile(VIEW_NAME)
_METRIC = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
_FLOAT32_ULP = 2.0**-23


@dataclass(frozen=True)
class Confusion:
    """A pair of classes that a view takes for each other more often than its original does.

    Attributes:
        true: The true class.
        predicted: What its images were taken for.
        before: Number of such images in the original.
        after: Number of such images in the view.
    """

    true: int
    predicted: int
    before: int
    after: int


@dataclass(frozen=True)
class ClassCounts:
    """Images by class in one view, C whole numbers each.

    Attributes:
        correct: Images of each class that were predicted as it.
        predicted: Images that were predicted as each class.
        confusions: Those that grew most over the original, the largest growth first.
    """

    correct: tuple[int, ...]
    predicted: tuple[int, ...]
    confusions: tuple[Confusion, ...] = ()

    @property
    def precision(self) -> tuple[float, ...]:
        """Share in [0, 1] of the images predicted as each class that are of it; NaN where there are none."""
        return _shares(self.correct, self.predicted)

    def recall(self, class_images: tuple[int, ...]) -> tuple[float, ...]:
        """Share in [0, 1] of the images of each class that were predicted as it; NaN where there are none.

        Args:
            class_images: Number of images of each class.
        """
        return _shares(self.correct, class_images)


@dataclass(frozen=True)
class ViewRecord:
    """What was measured of one view.

    Attributes:
        metrics: Scalars by name, see `bench.metrics.METRICS`; a metric that is not defined is not there.
        flipped: Images whose prediction is another one than that of the original; 0 for the original.
        broken: Images that turned from right to wrong; 0 for the original and without labels.
        repaired: Images that turned from wrong to right; 0 for the original and without labels.
        classes: None without labels.
    """

    metrics: Mapping[str, float]
    flipped: int = 0
    broken: int = 0
    repaired: int = 0
    classes: ClassCounts | None = None

    @property
    def correct(self) -> int | None:
        """Images that were classified right; None without labels."""
        return None if self.classes is None else sum(self.classes.correct)


def whole_count(share: Value, images: int) -> int:
    """The count k of which a share is k / images, rounded to float32 or better; unambiguous up to four million.

    Raises:
        FileError: The share is no whole number of images.
    """
    count = round(share.real() * images)
    if not 0 <= count <= images or abs(share.real() * images - count) > images * _FLOAT32_ULP:
        share.fail(f"is {share.content}, not a whole number of {images} images")
    return count


def read_views(value: Value, images: int, class_images: tuple[int, ...] | None) -> dict[str, ViewRecord]:
    """The views of a record, the original first, checked against each other.

    Args:
        value: The whole record.
        images: Number of images.
        class_images: Number of images of each class; None without labels.

    Raises:
        FileError: A value is missing, has another type, is out of range or contradicts another one.
    """
    metrics, counts = value["metrics"], value["counts"]
    metrics[ORIGINAL].mapping()
    views = {}
    for view in sorted(metrics.mapping(), key=lambda name: name != ORIGINAL):
        if not _VIEW.fullmatch(view):
            metrics.fail(f"has a view named {view[:100]!r}, which is no name of a view")
        classes = None if class_images is None else _classes(value["classes"]["views"][view], class_images)
        kinds = {kind: counts[view][kind].whole(0, images) for kind in ("flipped", "broken", "repaired")}
        views[view] = ViewRecord(_metrics(metrics[view]), **kinds, classes=classes)
        _check_changes(counts[view], views[view], views[ORIGINAL])
        _check_shares(metrics[view], views[view], images)
    return views


def _metrics(value: Value) -> dict[str, float]:
    for name in value.mapping():
        if not _METRIC.fullmatch(name):
            value.fail(f"has {name[:100]!r}, which is no name of a metric")
    return {name: one.real() for name, one in value.items() if one.content is not None}


def _check_shares(metrics: Value, view: ViewRecord, images: int) -> None:
    """The metrics that are counts over images say what the counts say."""
    if view.correct is not None and "precision" not in view.metrics:
        metrics["precision"].fail("is missing, though the images have labels")
    shares = {
        "precision": view.correct,
        "flip_rate": view.flipped,
        "broken": view.broken,
        "repaired": view.repaired,
    }
    for name, count in shares.items():
        if name in view.metrics and count is not None and whole_count(metrics[name], images) != count:
            metrics[name].fail(f"is {view.metrics[name]}, but the counts say {count} of {images}")
    if "bits_per_pixel" in view.metrics:
        for name in ("encoded_bytes", "bits_per_pixel"):
            if metrics[name].real() <= 0:
                metrics[name].fail(f"is {view.metrics[name]}, which no encoded image has")
    drop = (view.broken - view.repaired) / images
    if abs(view.metrics.get("drop", drop) - drop) > 4 * _FLOAT32_ULP:
        metrics["drop"].fail(f"is {view.metrics['drop']}, but the counts say {drop}")


def _check_changes(counts: Value, view: ViewRecord, original: ViewRecord) -> None:
    if view.broken + view.repaired > view.flipped:
        counts.fail(f"has {view.broken} broken and {view.repaired} repaired, but {view.flipped} flipped")
    if view is original and view.flipped:
        counts.fail(f"has {view.flipped} flipped: the original cannot differ from itself")
    if view.correct is None or original.correct is None:
        if view.broken or view.repaired:
            counts.fail("has broken or repaired without labels")
    elif original.correct - view.broken + view.repaired != view.correct:
        counts.fail(f"has {view.broken} broken and {view.repaired} repaired, which contradict the precisions")


def _classes(value: Value, class_images: tuple[int, ...]) -> ClassCounts:
    images, number = sum(class_images), len(class_images)
    correct = value["correct"].wholes(0, images, number)
    predicted = value["predicted"].wholes(0, images, number)
    if sum(predicted) != images:
        value["predicted"].fail(f"has {sum(predicted)} images in all instead of {images}")
    for name, most in (("images", class_images), ("predicted", predicted)):
        if any(right > limit for right, limit in zip(correct, most, strict=True)):
            value["correct"].fail(f"has more than `{name}` of a class")
    return ClassCounts(
        correct, predicted, tuple(_confusion(one, class_images) for one in value["confusions"].elements())
    )


def _confusion(value: Value, class_images: tuple[int, ...]) -> Confusion:
    numbers = value.wholes(count=4)
    pair = Confusion(*cast(tuple[int, int, int, int], numbers))
    last = len(class_images) - 1
    if pair.true > last or pair.predicted > last or pair.true == pair.predicted:
        value.fail(f"names classes {pair.true} and {pair.predicted}, of classes 0 to {last}")
    if not pair.before < pair.after <= class_images[pair.true]:
        value.fail(f"says {pair.before} before and {pair.after} after, of {class_images[pair.true]} images")
    return pair


def _shares(part: tuple[int, ...], whole: tuple[int, ...]) -> tuple[float, ...]:
    return tuple(one / of if of else math.nan for one, of in zip(part, whole, strict=True))
