"""Result files: found, read, checked and reduced to what a report needs."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.outcomes import MEASURED
from bench.runs.finetuning_record import FINETUNING
from bench.runs.json_values import plain
from bench.runs.record import RESULTS, RunRecord
from bench.runs.untyped import SCHEMA, read_record
from bench.statistics.intervals import whole_count
from datamodules.degradations import ORIGINAL
from datamodules.errors import UserError

MEANS = (
    *("precision_macro", "calibration_error", "loss", "loss_increase", "probability", "confidence"),
    *(quantity.name for quantity in MEASURED),
)
_CONFIGURATION = "config.yaml"
_MOST_CONFUSIONS = 10


@dataclass(frozen=True)
class Confusion:
    """Images of one class that were predicted as another: how many in the original, and how many in a view."""

    true: int
    predicted: int
    before: int
    after: int


@dataclass(frozen=True)
class ViewResult:
    """One view of one run, as counts of images.

    Attributes:
        correct: Images classified right.
        broken: Images that turned from right to wrong; 0 for the original.
        repaired: Images that turned from wrong to right; 0 for the original.
        flipped: Images whose prediction changed; 0 for the original.
        means: Means over images by name, those of `MEANS` that were measured.
        recall: float64 [C] in [0, 1], NaN for classes without images; None if the record has no confusion matrix.
        confusions: Pairs of classes that are confused more often than in the original, by their growth.
    """

    correct: int
    broken: int
    repaired: int
    flipped: int
    means: Mapping[str, float]
    recall: npt.NDArray[np.float64] | None
    confusions: tuple[Confusion, ...]


@dataclass(frozen=True)
class Run:
    """What one result file says.

    Attributes:
        path: The file.
        modified: When it was written, in nanoseconds.
        images: Number of images that were classified, n.
        data: What the record says about the data.
        model: What the record says about the model.
        software: What the record says about the software.
        skipped: Images that were left out.
        views: By name.
        attribution: What the record says about Integrated Gradients, if anything.
    """

    path: Path
    modified: int
    images: int
    data: Mapping[str, Any]
    model: Mapping[str, Any]
    software: Mapping[str, Any]
    skipped: Sequence[Any]
    views: Mapping[str, ViewResult]
    attribution: Mapping[str, Any] | None

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.path.parent

    @property
    def classes(self) -> Sequence[str]:
        """Class names by label."""
        names: Sequence[str] = self.data["class_names"]
        return names


@dataclass(frozen=True)
class LeftOut:
    """A file that the report does not use, and why."""

    path: Path
    reason: str


def read_runs(places: Iterable[Path]) -> tuple[list[Run], list[LeftOut]]:
    """Read every result file in some folders and below, and result files named themselves, each once.

    Raises:
        UserError: A place does not exist, or no result can be read.
    """
    runs, left_out = [], []
    for path in dict.fromkeys(path for place in places for path in _find(place)):
        try:
            runs.append(read_run(path))
        except (OSError, ValueError, RecursionError) as error:
            left_out.append(LeftOut(path, " ".join(str(error).split())))
    if not runs:
        first = f"; the first of {len(left_out)}: {left_out[0].path}: {left_out[0].reason}" if left_out else ""
        raise UserError(f"no readable {RESULTS} in the folders given{first}: name folders of finished `test` runs")
    return runs, left_out


def _find(place: Path) -> Iterator[Path]:
    if place.is_dir():
        found = {path.resolve() for path in place.rglob(RESULTS)}
        unfinished = {
            path.resolve().with_name(RESULTS)
            for path in place.rglob(_CONFIGURATION)
            if not path.with_name(FINETUNING).exists()
        }
        yield from sorted(found | unfinished)
    elif place.exists():
        yield place.resolve()
    else:
        raise UserError(f"{str(place)!r} does not exist: name folders with runs, or {RESULTS} files")


def read_run(path: Path) -> Run:
    """Read one result file.

    Raises:
        ValueError: It is not the whole result of a run with labels; the message says why.
        OSError: It cannot be read.
    """
    if not path.exists():
        raise ValueError(f"no {RESULTS}: the run has not finished, or was no test")
    try:
        record: Any = read_record(path)
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON, or cut off ({error})") from error
    if _get(record, int, "schema") == 2:
        return _typed(path)
    if record["schema"] != SCHEMA:
        raise ValueError(f"schema {record['schema']}, and this program reads {SCHEMA}")
    images = _get(record, int, "images")
    if images < 1:
        raise ValueError(f"images is {images}: nothing was measured")
    classes = _get(record, list, "data", "class_names")
    if not classes or not all(isinstance(name, str) for name in classes):
        raise ValueError("data/class_names is no list of names")
    for keys in [("data", "name"), ("data", "split"), ("model", "encoder"), ("model", "pretrained")]:
        _get(record, str, *keys)
    _get(record, dict, "metrics", ORIGINAL)
    return Run(
        path=path,
        modified=path.stat().st_mtime_ns,
        images=images,
        data=record["data"],
        model=record["model"],
        software=_get({"software": {}} | record, dict, "software"),
        skipped=_get({"skipped": []} | record, list, "skipped"),
        views=_views(record["metrics"], images, len(classes)),
        attribution=_get(record, dict, "attribution") if "attribution" in record else None,
    )


def _typed(path: Path) -> Run:
    record = RunRecord.read(path)
    if record.class_images is None:
        raise ValueError("no precision: the images have no labels")
    return Run(
        path=path,
        modified=path.stat().st_mtime_ns,
        images=record.images,
        data=plain(record.data.to_json()),
        model=plain(record.model.to_json()),
        software=plain(record.software.to_json()),
        skipped=[vars(image) for image in record.skipped],
        views={
            view: ViewResult(
                correct=found.correct or 0,
                broken=found.broken,
                repaired=found.repaired,
                flipped=found.flipped,
                means={name: found.metrics[name] for name in MEANS if name in found.metrics},
                recall=np.array(found.classes.recall(record.class_images)) if found.classes else None,
                confusions=tuple(Confusion(**vars(pair)) for pair in found.classes.confusions) if found.classes else (),
            )
            for view, found in record.views.items()
        },
        attribution=record.attribution,
    )


def codecs(run: Run) -> dict[str, str]:
    """Versions of the libraries behind a run's codecs, by format."""
    own = {"JPEG": run.software.get("libjpeg_turbo"), **(run.software.get("codecs") or {})}
    return {name: str(version) for name, version in own.items() if version is not None}


def different_codecs(runs: Iterable[Run]) -> list[str]:
    """Codecs of which runs used several versions, as `JPEG 3.0`."""
    found = {(name, version) for run in runs for name, version in codecs(run).items()}
    times = Counter(name for name, _ in found)
    return sorted(f"{name} {version}" for name, version in found if times[name] > 1)


def _get(record: Any, kind: type, *keys: str) -> Any:
    value = record
    for depth, key in enumerate(keys):
        if not isinstance(value, dict) or key not in value:
            raise ValueError(f"{'/'.join(keys[: depth + 1])} is missing: not a result of this program, or not whole")
        value = value[key]
    if not isinstance(value, kind):
        raise ValueError(f"{'/'.join(keys)} is {type(value).__name__} instead of {kind.__name__}")
    return value


def _views(metrics: Mapping[str, Any], images: int, classes: int) -> dict[str, ViewResult]:
    """Check and reduce all views, a confusion matrix at a time: with 1000 classes each takes megabytes."""
    before = _confusion(metrics[ORIGINAL], ORIGINAL, images, classes)
    views: dict[str, ViewResult] = {}
    for view in sorted(metrics, key=lambda name: name != ORIGINAL):
        values = _get(metrics, dict, view)
        if "precision" not in values:
            raise ValueError("no precision: the images have no labels")
        shares = ("precision",) if view == ORIGINAL else ("precision", "broken", "repaired", "flip_rate")
        correct, broken, repaired, flipped = ([_count(values, share, view, images) for share in shares] + [0] * 3)[:4]
        matrix = before if view == ORIGINAL else _confusion(values, view, images, classes)
        if matrix is not None and matrix.trace() != correct:
            raise ValueError(f"{view}: the confusion matrix has {matrix.trace()} right, the precision {correct}")
        views[view] = ViewResult(
            correct=correct,
            broken=broken,
            repaired=repaired,
            flipped=flipped,
            means={name: float(values[name]) for name in MEANS if isinstance(values.get(name), int | float)},
            recall=None if matrix is None else _recall(matrix),
            confusions=() if matrix is None or before is None else _confusions(before, matrix),
        )
        if views[ORIGINAL].correct - broken + repaired != correct:
            raise ValueError(f"{view}: {broken} broken and {repaired} repaired contradict the precisions")
    return views


def _count(values: Mapping[str, Any], name: str, view: str, images: int) -> int:
    if not isinstance(values.get(name), int | float):
        raise ValueError(f"metrics/{view}/{name} is missing: not a result of this program, or not whole")
    try:
        return whole_count(values[name], images)
    except ValueError as error:
        raise ValueError(f"metrics/{view}/{name}: {error}") from error


def _confusion(values: Any, view: str, images: int, classes: int) -> npt.NDArray[np.int64] | None:
    if not isinstance(values, dict) or "confusion" not in values:
        return None
    try:
        matrix = np.array(values["confusion"], dtype=np.int64)
    except (ValueError, TypeError) as error:
        raise ValueError(f"metrics/{view}/confusion is no matrix of counts") from error
    if matrix.shape != (classes, classes) or matrix.sum() != images:
        raise ValueError(
            f"metrics/{view}/confusion has shape {matrix.shape} and {matrix.sum()} images, not {classes} classes and "
            f"{images} images"
        )
    return matrix


def _recall(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    support = confusion.sum(1)
    recall = np.full(len(confusion), np.nan)
    np.divide(confusion.diagonal(), support, out=recall, where=support > 0)
    return recall


def _confusions(before: npt.NDArray[np.int64], after: npt.NDArray[np.int64]) -> tuple[Confusion, ...]:
    growth = after - before
    np.fill_diagonal(growth, 0)
    found = []
    for cell in np.argsort(-growth, axis=None, kind="stable")[:_MOST_CONFUSIONS]:
        true, predicted = divmod(int(cell), len(growth))
        if growth[true, predicted] > 0:
            found.append(Confusion(true, predicted, int(before[true, predicted]), int(after[true, predicted])))
    return tuple(found)
