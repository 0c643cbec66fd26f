"""The result record of a run: what was measured, on what, with what."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from bench.runs.files import write_atomically
from bench.runs.json_values import Value, as_text, read_json, sealed
from bench.runs.provenance import DataRecord, ModelRecord, SoftwareRecord
from bench.runs.view_record import ViewRecord, read_views

SCHEMA = 2
RESULTS = "results.json"
MOST_BYTES = 2**27
"""Of a record; those of schema 1 take 8 MB per view with 1,000 classes."""


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
        command: "fit", "test" or "predict".
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
        """The record as the object that `results.json` holds."""
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
            views=read_views(value, images, counts),
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
