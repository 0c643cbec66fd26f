"""What fits left: which tested encoder was tuned how, on what, and what it has to be compared with."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.runs.finetuning_record import FINETUNING
from bench.runs.untyped import SCHEMA, read_record
from datamodules.training import can_draw

_OF_THE_CODECS = ("codecs", "law", "clean")


@dataclass(frozen=True)
class Tuned:
    """An exported encoder.

    Attributes:
        path: The record of its fit.
        record: What that says.
        alpha: Share of the tuned weights in it.
    """

    path: Path
    record: Mapping[str, Any]
    alpha: float

    @property
    def name(self) -> str:
        """That of the fit, with the share where the weights are interpolated."""
        return str(self.record["name"]) + ("" if self.alpha == 1 else f", alpha {self.alpha:g}")

    @property
    def seed(self) -> int:
        """Of the data."""
        return int(self.record["seeds"]["data"])

    @property
    def original(self) -> str:
        """SHA-256 of the weights before."""
        return str(self.record["original"]["weights_sha256"])

    @property
    def views(self) -> Mapping[str, Any]:
        """What random views were drawn from."""
        views: Mapping[str, Any] = self.record["training"]["views"]
        return views

    @property
    def is_control(self) -> bool:
        """Whether nothing was degraded while it was tuned."""
        return bool(self.views["clean"] == 1)

    @property
    def label_free(self) -> bool:
        """Whether its clean-only control is the original itself; see `bench.finetuning.objectives.Objective`."""
        return bool(self.record["method"]["objective"]["label_free"])

    @property
    def speciality(self) -> str | None:
        """The one view that it was tuned on, if it was tuned on one only."""
        codecs = self.views["codecs"]
        if self.views["clean"] or len(codecs) != 1:
            return None
        ((codec, (lowest, highest)),) = codecs.items()
        return str(codec).replace("{}", str(lowest)) if lowest == highest else None

    @property
    def variant(self) -> str:
        """Equal for encoders that differ in nothing but seeds."""
        return _key({**self._recipe, "views": dict(self.views)})

    @property
    def budget(self) -> str:
        """Equal for an encoder and its clean-only control."""
        return _key({**self._recipe, "views": {k: v for k, v in self.views.items() if k not in _OF_THE_CODECS}})

    @property
    def _recipe(self) -> dict[str, Any]:
        data = {key: value for key, value in self.record["data"].items() if key != "views"}
        training = {key: value for key, value in self.record["training"].items() if key != "views"}
        return {
            "original": self.original,
            "templates": self.record["templates"],
            "method": self.record["method"],
            "training": training,
            "data": data,
            "alpha": self.alpha,
        }

    def saw(self, view: str) -> bool:
        """Whether tuning may have drawn this very view."""
        return not self.is_control and can_draw(self.views["codecs"], view)

    def classes(self) -> list[str]:
        """Those with images among the ones tuned on."""
        return [name for name, count in self.record["images_per_class"].items() if count]


def read_fits(places: Iterable[Path]) -> dict[str, Tuned]:
    """Every exported encoder that records of fits in some folders and below name, by SHA-256 of its file."""
    found: dict[str, Tuned] = {}
    for place in places:
        for path in sorted(place.rglob(FINETUNING)) if place.is_dir() else ():
            try:
                record = read_record(path)
            except json.JSONDecodeError:
                continue  # half a record: its fit was killed as it wrote
            if record.get("schema") == SCHEMA:
                found |= {one["sha256"]: Tuned(path, record, float(one["alpha"])) for one in record["exports"]}
    return found


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
