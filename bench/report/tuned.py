"""What a fit exported: which recipe it was made by, and how it is told from others for readers."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bench.report.tables import short
from bench.runs.finetuning_record import FineTuningRecord, TrainingViews
from bench.runs.provenance import DataRecord, ModelRecord
from datamodules.degradations import quality_of

_OF_THE_CODECS = ("codecs", "law", "clean", "curriculum")
_HOLE = "{}"
_LONGEST_SETTING = 60
_TELLING = ("method", "training", "data")  # parts of a recipe, in the order in which titles are told apart by them


@dataclass(frozen=True)
class Tuned:
    """An exported encoder.

    Attributes:
        record: Of its fit.
        alpha: Share of the tuned weights in it.
    """

    record: FineTuningRecord
    alpha: float

    @property
    def views(self) -> TrainingViews:
        """What random views were drawn from."""
        return self.record.training.views

    @property
    def original(self) -> str:
        """SHA-256 of the weights before."""
        return str(self.record.original.weights_sha256)

    @property
    def is_control(self) -> bool:
        """Whether nothing was degraded while it was tuned."""
        return self.views.clean == 1

    @property
    def speciality(self) -> str | None:
        """The one view that it was tuned on, if it was tuned on one only."""
        if self.views.clean or len(self.views.codecs) != 1:
            return None
        ((codec, (lowest, highest)),) = self.views.codecs.items()
        return codec.replace(_HOLE, str(lowest)) if lowest == highest else None

    @property
    def kind(self) -> str:
        """What its random views make it, where that tells."""
        if self.is_control:
            return "clean-only control"
        return f"only {self.speciality}" if self.speciality else ""

    @property
    def title(self) -> str:
        """The fit's name, and what it is where that tells."""
        name = self.record.averaged or self.record.name
        name += "" if self.alpha == 1 else f", alpha {self.alpha:g}"
        return f"{name} ({self.kind})" if self.kind else name

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """All that it was made by but for its seed, JSON-able."""
        return self.record.recipe(self.alpha)

    @property
    def settings(self) -> dict[str, str]:
        """What tells it from others of its title, by dotted name, what readers ask for first coming first."""
        return dict(_leaves({key: self.recipe[key] for key in _TELLING}))

    @property
    def variant(self) -> str:
        """Equal for encoders that differ in nothing but seeds."""
        return json.dumps(self.recipe, sort_keys=True, default=str)

    @property
    def budget(self) -> str:
        """Equal for an encoder and its clean-only control."""
        training = self.recipe["training"]
        views = {key: value for key, value in training["views"].items() if key not in _OF_THE_CODECS}
        return json.dumps({**self.recipe, "training": {**training, "views": views}}, sort_keys=True, default=str)

    def held_out(self, data: DataRecord) -> bool | None:
        """Whether it was fitted to none of the images of a test; None where the records do not say it.

        Images are those of one split if its content is the same, or where a record does not say that, its name.
        """
        record, own = self.record, self.record.data
        named_alike = (own.name, own.split) == (data.name, data.split)
        same = own.content == data.content if own.content and data.content else named_alike
        if not same:
            return None if named_alike else True
        chosen, tested, every = own.positions, data.positions, record.validation_every
        if chosen is None or tested is None or every is None or record.members:
            return None
        return _in_common(tested, chosen) == _in_common(tested, chosen[::every])

    def saw(self, view: str) -> bool:
        """Whether tuning may have drawn this very view."""
        return not self.is_control and can_draw(self.views.codecs, view)


def _in_common(one: Sequence[int], other: Sequence[int]) -> int:
    """Number of positions that two choices have in common; a range, which may be of any length, is not gone through.

    >>> _in_common(range(0, 1000, 5)[:100], range(0, 1000, 10)), _in_common([3, 4], range(0, 10**15, 2))
    (50, 1)
    """
    if isinstance(one, range) and isinstance(other, range):
        return len(range(0, min(one.stop, other.stop), math.lcm(one.step, other.step)))
    listed, others = (other, one) if isinstance(one, range) else (one, other)
    among = others if isinstance(others, range) else frozenset(others)
    return sum(position in among for position in listed)


def can_draw(codecs: Mapping[str, Sequence[int]], view: str) -> bool:
    """Whether a view is one that ranges of codecs hold, so that tuning on them may have seen it.

    >>> can_draw({"jpeg-{}": [10, 95]}, "jpeg-25"), can_draw({"jpeg-{}": [30, 95]}, "jpeg-25")
    (True, False)
    """
    qualities = ((quality_of(codec, view), bounds) for codec, bounds in codecs.items())
    return any(quality is not None and bounds[0] <= quality <= bounds[1] for quality, bounds in qualities)


def tuned_digest(model: ModelRecord) -> str:
    """Hash of what a fit exported of a tested model: of the weights, or of what goes with them."""
    companion = model.companion
    return str(model.weights_sha256) if companion is None else companion.sha256 or companion.name


def tell_apart(names: Sequence[str], settings: Sequence[Mapping[str, str]]) -> list[str]:
    """Names, with as many settings as tell each from those that are equal to it.

    Args:
        names: Some of them equal.
        settings: Of each, by dotted name.

    >>> tell_apart(["a", "a", "a", "b"], [{"name": "x", "n": "1"}, {"name": "y"}, {"name": "y", "n": "2"}, {}])
    ['a, x', 'a, y, n None', 'a, y, n 2', 'b']
    """
    told = list(names)
    for key in dict.fromkeys(key for one in settings for key in one):
        for name in [name for name, times in Counter(told).items() if times > 1]:
            equal = [place for place, other in enumerate(told) if other == name]
            longer = [f"{name}{_said(key, settings[place].get(key))}" for place in equal]
            if len(set(longer)) > 1:
                for place, text in zip(equal, longer, strict=True):
                    told[place] = text
    return told


def _said(key: str, value: str | None) -> str:
    """A setting for readers, after what it belongs to; a name speaks for itself."""
    *_, last = key.split(".")
    if value == "":
        return ""
    return f", {value}" if last == "name" else f", {last} {value}"


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of nested mappings as text, by dotted name.

    >>> list(_leaves({"a": {"b": 1}, "c": [2]}))
    [('a.b', '1'), ('c', '2')]
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, short(value)[:_LONGEST_SETTING]
