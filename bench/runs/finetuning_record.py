"""The record of a fit: what was tuned, how, on what, and what came of it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from bench.runs.files import write_atomically
from bench.runs.json_values import Value, as_text, read_json, sealed
from bench.runs.method_text import LONGEST_NAME, check_choice
from bench.runs.provenance import DataRecord, ModelRecord, SoftwareRecord
from bench.runs.record import RunInfo, Skipped
from datamodules.degradations import ORIGINAL

SCHEMA = 1
FINETUNING = "finetuning.json"
_MOST_BYTES = 2**24

Measures = Mapping[str, Mapping[str, float]]
"""Scalars by view and name."""


@dataclass(frozen=True)
class TrainingViews:
    """What random views were drawn from.

    Attributes:
        codecs: Lowest and highest quality by codec, a specification with `{}` for the quality.
        law: Of the qualities between them.
        clean: Share of images that stay as they are, in [0, 1].
        flip: Share of images that are mirrored, in [0, 1].
        curriculum: Epochs in which the ranges grew from their best qualities; 0 where they were whole all along.
    """

    codecs: Mapping[str, tuple[int, int]]
    law: str
    clean: float
    flip: float
    curriculum: int = 0


@dataclass(frozen=True)
class Training:
    """How long and with how many images at once it was tuned.

    Attributes:
        views: What random views were drawn from.
        epochs: Number of passes.
        steps: Number of optimiser steps.
        batch_size: Images per process and batch.
        accumulated_batches: Batches per step.
        precision: Lightning's name of the arithmetic.
        moving_average: How the weights of steps were averaged, as it describes itself, JSON-able, with the name
            "no average" where the last ones count; None where an older record does not say it.
        gradient_clip_val: Bound of gradients, 0 where there was none; None where an older record does not say it.
        gradient_clip_algorithm: What was bounded, "norm" or "value"; None where nothing was, or that is not said.
    """

    views: TrainingViews
    epochs: int
    steps: int
    batch_size: int
    accumulated_batches: int
    precision: str
    moving_average: Mapping[str, Any] | None = None
    gradient_clip_val: float | None = None
    gradient_clip_algorithm: str | None = None

    def said(self) -> dict[str, Any]:
        """What is known about it, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Export:
    """A file with weights.

    Attributes:
        alpha: Share of the tuned weights in them, in [0, 1]; the rest is the original's.
        best: Whether no other share did better on the held-out images.
        file: Its name.
        sha256: Its hash.
    """

    alpha: float
    best: bool
    file: str
    sha256: str


@dataclass(frozen=True)
class FineTuningRecord:
    """What one fit did: the content of its `finetuning.json`.

    Attributes:
        name: Of the tuned encoder.
        method: Objective and what was trained, as they describe themselves, JSON-able.
        original: The encoder before.
        templates: Prompts.
        training: How it was tuned.
        data: On which images.
        images_per_class: Number of images that were tuned on, by class name.
        validation_images: Number of images that were held out.
        validation_every: Step between them among the chosen images; None where an older record does not say it.
        skipped: Images of either kind that could not be read; neither number counts them.
        members: SHA-256 of the weights that it is the mean of, where it is one.
        seed: Of the data.
        seed_everything: Of everything else, where one was set.
        frozen_sha256: Hash of all that was not to be touched, equal before and after.
        interpolation: Metrics on the held-out images by share of the tuned weights, from 0 to 1.
        exports: Files, by growing share; the last is the tuned encoder itself.
        software: With what.
        run: How it went.
    """

    name: str
    method: Mapping[str, Any]
    original: ModelRecord
    templates: tuple[str, ...]
    training: Training
    data: DataRecord
    images_per_class: Mapping[str, int]
    validation_images: int
    seed: int
    seed_everything: str | None
    frozen_sha256: str
    interpolation: Mapping[float, Measures]
    exports: tuple[Export, ...]
    software: SoftwareRecord
    run: RunInfo
    skipped: tuple[Skipped, ...] = ()
    members: tuple[str, ...] = ()
    validation_every: int | None = None

    @property
    def before(self) -> Measures:
        """Metrics of the original on the held-out images."""
        return self.interpolation[0.0]

    @property
    def after(self) -> Measures:
        """Metrics of the tuned encoder on the held-out images."""
        return self.interpolation[1.0]

    @property
    def averaged(self) -> str | None:
        """Of how many seeds of which fit it is the mean, for readers; None where it was fitted."""
        average = self.method.get("average")
        if not self.members or not isinstance(average, Mapping):
            return None
        return f"{average.get('name')}, mean of {len(self.members)} seeds"[:LONGEST_NAME]

    @property
    def label_free(self) -> bool:
        """Whether the objective uses no label; see `bench.finetuning.objectives.Objective`."""
        return bool(self.method["objective"]["label_free"])

    def to_json(self) -> dict[str, Any]:
        """The record as the object that `finetuning.json` holds."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "method": self.method,
            "original": self.original.to_json(),
            "templates": self.templates,
            "training": {**self.training.said(), "views": vars(self.training.views)},
            "data": self.data.to_json(),
            "images_per_class": self.images_per_class,
            "validation_images": self.validation_images,
            "validation_every": self.validation_every,
            "skipped": [vars(image) for image in self.skipped],
            "seeds": {"data": self.seed, "everything": self.seed_everything},
            "frozen": {"sha256": self.frozen_sha256, "unchanged": True},
            "metrics": {"before": self.before, "after": self.after},
            "interpolation": [{"alpha": alpha, "metrics": measures} for alpha, measures in self.interpolation.items()],
            **({"members": self.members} if self.members else {}),
            "exports": [vars(export) for export in self.exports],
            "software": self.software.to_json(),
            "run": vars(self.run),
        }

    @classmethod
    def from_json(cls, value: Value) -> Self:
        """Read back what `to_json` made.

        Raises:
            FileError: A value is missing, has another type or is out of range.
        """
        schema = value["schema"].whole()
        if schema != SCHEMA:
            value["schema"].fail(f"is {schema}, and this program reads {SCHEMA}")
        method = value["method"]
        method["objective"]["label_free"].flag()
        check_choice(method["objective"])
        if method["trainable"].content is not None:
            check_choice(method["trainable"])
        if "trained_parameters" in method:
            method["trained_parameters"].whole()
        points = value["interpolation"].elements()
        curve = {_share(point["alpha"]): _measures(point["metrics"]) for point in points}
        if not {0.0, 1.0} <= curve.keys():
            value["interpolation"].fail("lacks the original or the tuned encoder")
        exports = tuple(_export(one) for one in value["exports"].elements())
        if not exports:
            value["exports"].fail("is empty: nothing was exported")
        seed_everything = value["seeds"].get("everything")
        return cls(
            name=value["name"].text(LONGEST_NAME),
            method=method.mapping(),
            original=ModelRecord.from_json(value["original"]),
            templates=value["templates"].texts(),
            training=_training(value["training"]),
            data=DataRecord.from_json(value["data"]),
            images_per_class={name: count.whole() for name, count in value["images_per_class"].items()},
            validation_images=value["validation_images"].whole(),
            seed=value["seeds"]["data"].whole(-(2**63), 2**64),
            seed_everything=None if seed_everything is None else str(seed_everything.content)[:LONGEST_NAME],
            frozen_sha256=value["frozen"]["sha256"].text(),
            interpolation=curve,
            exports=exports,
            software=SoftwareRecord.from_json(value["software"]),
            run=RunInfo.from_json(value["run"]),
            skipped=tuple(Skipped.from_json(one) for one in value["skipped"].elements()) if "skipped" in value else (),
            members=value["members"].texts() if "members" in value else (),
            validation_every=every.whole(2) if (every := value.get("validation_every")) else None,
        )

    def recipe(self, alpha: float) -> dict[str, Any]:
        """All that an exported encoder was made by but for seeds, JSON-able.

        Args:
            alpha: Share of the tuned weights in it.
        """
        data = {key: value for key, value in self.data.to_json().items() if key != "views"}
        made_of = {"original": self.original.weights_sha256, "templates": self.templates, "method": self.method}
        return {**made_of, "training": asdict(self.training), "data": data, "alpha": alpha}

    def write(self, folder: Path) -> None:
        """Write `finetuning.json` in a fit's folder, whole or not at all.

        Raises:
            OSError: The folder cannot be written.
        """
        write_atomically(folder / FINETUNING, as_text(sealed(self.to_json())))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a `finetuning.json`, or the one in a fit's folder.

        Raises:
            FileError: It is damaged, or no record of a fit; the message names the key.
            FileNotFoundError: It is not there.
            OSError: It cannot be read.
        """
        value = read_json(path / FINETUNING if path.is_dir() else path, _MOST_BYTES)
        record = cls.from_json(value)
        if "checksum" in value:  # older ones have none
            value.check_seal()
        return record


def _training(value: Value) -> Training:
    views = value["views"]
    if (average := value.get("moving_average")) is not None:
        check_choice(average)
    bound, algorithm = value.get("gradient_clip_val"), value.get("gradient_clip_algorithm")
    return Training(
        views=TrainingViews(
            codecs={codec: _range(bounds) for codec, bounds in views["codecs"].items()},
            law=views["law"].text(),
            clean=_share(views["clean"]),
            flip=_share(views["flip"]),
            curriculum=grown.whole() if (grown := views.get("curriculum")) else 0,
        ),
        epochs=value["epochs"].whole(),
        steps=value["steps"].whole(),
        batch_size=value["batch_size"].whole(1),
        accumulated_batches=value["accumulated_batches"].whole(1),
        precision=value["precision"].text(),
        moving_average=None if average is None else average.mapping(),
        gradient_clip_val=None if bound is None else bound.real(),
        gradient_clip_algorithm=None if algorithm is None else algorithm.text(),
    )


def _range(value: Value) -> tuple[int, int]:
    lowest, highest = value.wholes(-(2**31), 2**31, count=2)
    return lowest, highest


def _measures(value: Value) -> dict[str, dict[str, float]]:
    for metrics in (value[ORIGINAL], *(one for _, one in value.items())):
        metrics["precision"].real()
    return {
        view: {name: one.real() for name, one in metrics.items() if one.content is not None}
        for view, metrics in value.items()
    }


def _export(value: Value) -> Export:
    file = value["file"].text(LONGEST_NAME)
    if not file or Path(file).name != file:
        value["file"].fail("is no file name")
    return Export(_share(value["alpha"]), value["best"].flag(), file, value["sha256"].text())


def _share(value: Value) -> float:
    share = value.real()
    if not 0 <= share <= 1:
        value.fail(f"is {share}, not a share from 0 to 1")
    return share
