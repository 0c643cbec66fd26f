"""The result record of a run: what was measured, on what, with what."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

from bench.runs.files import write_atomically
from bench.runs.json_values import Value, as_text, read_json, sealed
from bench.runs.provenance import DataRecord, ModelRecord, SoftwareRecord
from datamodules.degradations import ORIGINAL

SCHEMA = 2
RESULTS = "results.json"
MOST_BYTES = 2**27
"""Of a record; those of schema 1 take 8 MB per view with 1,000 classes."""

MOST_CONFUSIONS = 10
"""That a record keeps of each view."""

_VIEW = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,199}")
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


@dataclass(frozen=True)
class Skipped:
    """An image that was left out.

    Attributes:
        index: Position in its split.
        path: Its file, if it is one.
        reason: Why, in one line.
    """

    index: int
    path: str | None
    reason: str

    @classmethod
    def from_json(cls, value: Value) -> Self:
        """Read back what `vars` of it made."""
        path = value.get("path")
        return cls(value["index"].whole(), None if path is None else path.text(), value["reason"].text())


@dataclass(frozen=True)
class RunInfo:
    """How a run went; None where a record does not say it.

    Attributes:
        command: "test" or "predict".
        processes: Number of processes.
        device: Type of the device.
        compiled: Whether the encoder was compiled.
        seconds: Time from its start to its results.
        images_taken_up: Images that an interrupted run had classified before.
    """

    command: str
    processes: int | None = None
    device: str | None = None
    seconds: float | None = None
    images_taken_up: int = 0
    compiled: bool | None = None

    @classmethod
    def from_json(cls, value: Value) -> Self:
        """Read back what `vars` of it made."""
        processes, device, seconds = value.get("processes"), value.get("device"), value.get("seconds")
        taken_up, compiled = value.get("images_taken_up"), value.get("compiled")
        return cls(
            command=value["command"].text(),
            processes=None if processes is None else processes.whole(1),
            device=None if device is None else device.text(),
            seconds=None if seconds is None else seconds.real(),
            images_taken_up=0 if taken_up is None else taken_up.whole(),
            compiled=None if compiled is None else compiled.flag(),
        )


@dataclass(frozen=True)
class RunRecord:
    """What one run measured, and on what and with what: the content of its `results.json`.

    Attributes:
        images: Number of images that were classified, n, at least 1.
        views: By name, the original first.
        model: What classified them.
        data: What they are.
        software: With what.
        run: How it went.
        class_images: Number of images of each class, C numbers; None without labels.
        skipped: Images that were left out.
        attribution: What Integrated Gradients found, if they were asked for; JSON-able.
    """

    images: int
    views: Mapping[str, ViewRecord]
    model: ModelRecord
    data: DataRecord
    software: SoftwareRecord
    run: RunInfo
    class_images: tuple[int, ...] | None = None
    skipped: tuple[Skipped, ...] = ()
    attribution: Mapping[str, Any] | None = None

    @property
    def labelled(self) -> bool:
        """Whether the images have labels, so that there is something to be right about."""
        return self.class_images is not None

    def to_json(self) -> dict[str, Any]:
        """As `results.json` has it."""
        classes = {
            view: {
                "correct": one.classes.correct,
                "predicted": one.classes.predicted,
                "confusions": [list(vars(pair).values()) for pair in one.classes.confusions],
            }
            for view, one in self.views.items()
            if one.classes is not None
        }
        return {
            "schema": SCHEMA,
            "images": self.images,
            "metrics": {view: dict(one.metrics) for view, one in self.views.items()},
            "counts": {
                view: {"flipped": one.flipped, "broken": one.broken, "repaired": one.repaired}
                for view, one in self.views.items()
            },
            "classes": {"images": self.class_images, "views": classes} if self.labelled else None,
            "model": self.model.to_json(),
            "data": self.data.to_json(),
            "software": self.software.to_json(),
            "skipped": [vars(image) for image in self.skipped],
            "run": vars(self.run),
            **({} if self.attribution is None else {"attribution": self.attribution}),
        }

    @classmethod
    def from_json(cls, value: Value) -> Self:
        """Read back what `to_json` made, or a record of schema 1, and check that its numbers agree.

        Raises:
            FileError: A value is missing, has another type, is out of range or contradicts another one.
        """
        schema = value["schema"].whole()
        if schema == 1:
            from bench.runs.first_schema import upgraded

            value = upgraded(value)
        elif schema != SCHEMA:
            value["schema"].fail(f"is {schema}, and this program reads 1 and {SCHEMA}")
        images = value["images"].whole()
        if images < 1:
            value["images"].fail(f"is {images}: nothing was measured")
        data = DataRecord.from_json(value["data"])
        classes = value.get("classes")
        counts = None if classes is None else classes["images"].wholes(0, images, len(data.class_names))
        if classes is not None and counts is not None and sum(counts) != images:
            classes["images"].fail(f"has {sum(counts)} images in all instead of {images}")
        attribution = value.get("attribution")
        return cls(
            images=images,
            views=_views(value, images, counts),
            model=ModelRecord.from_json(value["model"]),
            data=data,
            software=SoftwareRecord.from_json(value["software"]) if "software" in value else SoftwareRecord(),
            run=RunInfo.from_json(value["run"]) if "run" in value else RunInfo("test"),
            class_images=counts,
            skipped=tuple(Skipped.from_json(one) for one in value["skipped"].elements()) if "skipped" in value else (),
            attribution=None if attribution is None else attribution.mapping(),
        )

    def write(self, folder: Path) -> None:
        """Write `results.json` in a run's folder, whole or not at all.

        Raises:
            OSError: The folder cannot be written.
        """
        write_atomically(folder / RESULTS, as_text(sealed(self.to_json())))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a `results.json`, or the one in a run's folder.

        Raises:
            FileError: It is damaged, or no result of this program; the message names the key.
            FileNotFoundError: It is not there.
            OSError: It cannot be read.
        """
        value = read_json(path / RESULTS if path.is_dir() else path, MOST_BYTES)
        record = cls.from_json(value)
        if value["schema"].content == SCHEMA:
            value.check_seal()
        return record


def whole_count(share: Value, images: int) -> int:
    """The count k of which a share is k / images, rounded to float32 or better; unambiguous up to four million.

    Raises:
        FileError: The share is no whole number of images.
    """
    count = round(share.real() * images)
    if not 0 <= count <= images or abs(share.real() * images - count) > images * _FLOAT32_ULP:
        share.fail(f"is {share.content}, not a whole number of {images} images")
    return count


def _views(value: Value, images: int, class_images: tuple[int, ...] | None) -> dict[str, ViewRecord]:
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
