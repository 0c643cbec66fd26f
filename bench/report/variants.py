"""Tested encoders that were tuned from another one: brought together by seed, with their controls, image by image."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bench.report.groups import Entry, Group
from bench.runs.finetuning_record import FineTuningRecord, TrainingViews
from bench.runs.provenance import DataRecord
from bench.statistics.bootstrap import Floats, resampled_sums
from bench.statistics.recovery import Recovery, recover
from datamodules.degradations import ORIGINAL, quality_of

_OF_THE_CODECS = ("codecs", "law", "clean", "curriculum")
_HOLE = "{}"
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
    def title(self) -> str:
        """The fit's name, and what it is where that tells."""
        name = self.record.averaged or self.record.name
        name += "" if self.alpha == 1 else f", alpha {self.alpha:g}"
        if self.is_control:
            return f"{name} (clean-only control)"
        return name + (f" (only {self.speciality})" if self.speciality else "")

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """All that it was made by but for its seed, JSON-able."""
        data = {key: value for key, value in self.record.data.to_json().items() if key != "views"}
        training = asdict(self.record.training)
        made_of = {"original": self.original, "templates": self.record.templates, "method": self.record.method}
        return {**made_of, "training": training, "data": data, "alpha": self.alpha}

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

    def held_out(self, data: DataRecord, images: int) -> bool:
        """Whether so many images of the split that it was tuned on are those that the fit held out, every n-th."""
        own = self.record.data.every or 1
        every = data.every or 1
        return every > own and every % own == 0 and images == self.record.validation_images

    def saw(self, view: str) -> bool:
        """Whether tuning may have drawn this very view."""
        return not self.is_control and can_draw(self.views.codecs, view)


def can_draw(codecs: Mapping[str, Sequence[int]], view: str) -> bool:
    """Whether a view is one that ranges of codecs hold, so that tuning on them may have seen it.

    >>> can_draw({"jpeg-{}": [10, 95]}, "jpeg-25"), can_draw({"jpeg-{}": [30, 95]}, "jpeg-25")
    (True, False)
    """
    qualities = ((quality_of(codec, view), bounds) for codec, bounds in codecs.items())
    return any(quality is not None and bounds[0] <= quality <= bounds[1] for quality, bounds in qualities)


@dataclass(frozen=True)
class Variant:
    """One way of tuning, tested with one seed or more.

    Attributes:
        title: For readers.
        fits: By seed.
        entries: What was tested, by seed.
        controls: Entries of its clean-only control by seed. Where a label-free method was tested without, it is held
            against the original itself, which without degradation nothing but weight decay would move.
        recoveries: By view, the original among them, where its gain is that in clean precision.
    """

    title: str
    fits: Mapping[int, Tuned]
    entries: Mapping[int, Entry]
    controls: Mapping[int, Entry]
    recoveries: Mapping[str, Recovery]

    @property
    def first(self) -> Tuned:
        """Any of the fits."""
        return next(iter(self.fits.values()))

    @property
    def has_control(self) -> bool:
        """Whether anything can be subtracted."""
        return bool(self.controls) or self.first.record.label_free


def variants_of(group: Group, base: Entry, fits: Mapping[str, Tuned]) -> list[Variant]:
    """Every variant that was tuned from an encoder, with its control, on the same images; controls come last.

    Raises:
        ValueError: Per-image tables are of other images, or contradict their result files.
        OSError: One cannot be read.
    """
    tested = [(fits[digest], entry) for entry in group.entries if (digest := sha256(entry)) in fits]
    tested = [(fit, entry) for fit, entry in tested if original_of(fit, entry) == sha256(base)]
    sums = resampled([base, *(entry for _, entry in tested)])
    budgets: dict[str, dict[int, Entry]] = {}
    members: dict[str, dict[int, tuple[Tuned, Entry]]] = {}
    for fit, entry in sorted(tested, key=lambda one: one[0].record.seed):
        members.setdefault(fit.variant, {})[fit.record.seed] = (fit, entry)
        if fit.is_control:
            budgets.setdefault(fit.budget, {})[fit.record.seed] = entry
    variants = []
    for title, same in zip(
        _titles([next(iter(one.values()))[0] for one in members.values()]), members.values(), strict=True
    ):
        fit = next(iter(same.values()))[0]
        controls = {} if fit.is_control else budgets.get(fit.budget, {})
        entries = {seed: entry for seed, (_, entry) in same.items()}
        recoveries = {
            view: recover(
                original=sums[base.label, view],
                clean=sums[base.label, ORIGINAL],
                tuned={seed: sums[entry.label, view] for seed, entry in entries.items()},
                controls={seed: sums[entry.label, view] for seed, entry in controls.items()},
                images=group.images,
            )
            for view in group.views
            if all(view in entry.runs for entry in (base, *entries.values(), *controls.values()))
        }
        variants.append(Variant(title, {seed: fit for seed, (fit, _) in same.items()}, entries, controls, recoveries))
    return sorted(variants, key=lambda variant: (variant.first.is_control, variant.title))


def sha256(entry: Entry) -> str:
    """Hash of what a fit exported of an entry: of the weights, or of what goes with them."""
    companion = entry.model.companion
    return str(entry.model.weights_sha256) if companion is None else companion.sha256 or companion.name


def original_of(fit: Tuned, entry: Entry) -> str:
    """Hash of the weights that a tested entry is held against: those before, or its own without what goes with them."""
    return fit.original if entry.model.companion is None else str(entry.model.weights_sha256)


def _titles(fits: Sequence[Tuned]) -> list[str]:
    """A title for each, with as many settings as tell it from others of the same one."""
    titles = [fit.title for fit in fits]
    for title, times in Counter(titles).items():
        same = [place for place, other in enumerate(titles) if other == title] if times > 1 else []
        settings = [dict(_leaves({key: fits[place].recipe[key] for key in _TELLING})) for place in same]
        for key in dict.fromkeys(key for one in settings for key in one):
            told = [f"{titles[place]}, {_said(key, one.get(key))}" for place, one in zip(same, settings, strict=True)]
            if len(set(told)) > len({titles[place] for place in same}):
                for place, longer in zip(same, told, strict=True):
                    titles[place] = longer
    return titles


def _said(key: str, value: str | None) -> str:
    """A setting for readers; a name speaks for itself."""
    *_, last = key.split(".")
    return str(value) if last == "name" else f"{last} {value}"


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of nested mappings as text, by dotted name.

    >>> list(_leaves({"a": {"b": 1}, "c": [2]}))
    [('a.b', '1'), ('c', '[2]')]
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, str(value)


def resampled(entries: Sequence[Entry]) -> dict[tuple[str, str], Floats]:
    """Right images, of all and of bootstrap samples, [1 + R], by the entry's label and view; paired throughout."""
    columns: dict[tuple[str, str], Floats] = {}
    prints = set()
    for entry in entries:
        for run in entry.all_runs:
            table = run.correctness
            prints.add(table.fingerprint)
            for view in (view for view, other in entry.runs.items() if other is run):
                columns[entry.label, view] = np.unpackbits(table.bits[view], count=run.record.images).astype(np.float64)
    if len(prints) > 1:
        raise ValueError("their images.csv have other indices or labels")
    (sums,) = resampled_sums(np.stack(list(columns.values()), axis=1))
    return dict(zip(columns, sums.T, strict=True))
