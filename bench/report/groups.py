"""Runs that may be compared: grouped by the images they saw, without duplicates, with their statistics."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.figures.style import MOST_COLOURS
from bench.metrics import METRICS
from bench.paper import ENCODERS, canonical_encoder
from bench.report.labels import identity, key_of, labels
from bench.report.tables import short
from bench.report.tuned import Tuned
from bench.runs.folder import FinishedRun
from bench.runs.provenance import ADAPTATION, DataRecord, ModelRecord
from bench.runs.view_record import ViewRecord
from bench.statistics.intervals import Estimate, relative_drop, wilson
from bench.statistics.paired import drop_limits
from bench.statistics.significance import holm, mcnemar_exact
from datamodules.degradations import ORIGINAL, curves

if TYPE_CHECKING:
    import pandas as pd

_NOT_THE_IMAGES = {"views", "tables", "lossy_source_formats", "audit"}
_LONGEST_NAME = 80
_COUNTS = ("broken", "repaired", "flipped")
_ENDS = ("low", "high")
_FURTHER = [metric.name for metric in METRICS if metric.name != "drop"]  # which the counts say

DROP = "drop_points"
"""The column of the drop from the original, in percentage points, and the beginning of those of its interval."""


@dataclass(frozen=True)
class Entry:
    """One model of a group.

    Attributes:
        label: For readers.
        model: What its records say.
        runs: The newest that measured each view, by view.
        place: Of its label among those of all groups, which decides its look.
    """

    label: str
    model: ModelRecord
    runs: Mapping[str, FinishedRun]
    place: int = 0

    @property
    def encoder(self) -> str:
        """Its name in the paper's spelling."""
        return canonical_encoder(self.model.encoder)

    @property
    def all_runs(self) -> list[FinishedRun]:
        """Each of its runs once."""
        return list({run.folder.path: run for run in self.runs.values()}.values())

    def view(self, view: str) -> ViewRecord:
        """What was measured of a view."""
        return self.runs[view].record.views[view]


@dataclass(frozen=True)
class Group:
    """Runs over the same images with the same candidate classes.

    Attributes:
        name: For file names.
        title: For readers.
        runs: All of them, with the label of their model, also those whose measurements newer ones replace.
        entries: Models, in the paper's order and then by label.
        views: The original, then codec by codec with decreasing quality.
    """

    name: str
    title: str
    runs: tuple[tuple[str, FinishedRun], ...]
    entries: tuple[Entry, ...]
    views: tuple[str, ...]

    @property
    def data(self) -> DataRecord:
        """What the first record says about the data."""
        return self.runs[0][1].record.data

    @property
    def images(self) -> int:
        """Number of images."""
        return self.runs[0][1].record.images

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by label."""
        return self.data.class_names

    @property
    def degraded(self) -> tuple[str, ...]:
        """All views but the original."""
        return tuple(view for view in self.views if view != ORIGINAL)

    @cached_property
    def places(self) -> Mapping[str, int]:
        """The place of each label in the group's own figures.

        It is that among all groups, unless there are too many for that one to have a colour and the group has one left.
        """
        taken = {entry.place for entry in self.entries}
        free = (place for place in range(MOST_COLOURS) if place not in taken)
        return {e.label: e.place if e.place < MOST_COLOURS else next(free, e.place) for e in self.entries}

    @cached_property
    def curves(self) -> Mapping[str, Sequence[tuple[float, str]]]:
        """Views that differ in quality only: (quality, view) in increasing order, by what they have in common."""
        return curves(self.degraded, "quality")

    @cached_property
    def measured(self) -> list[tuple[Entry, str]]:
        """Models and views that were measured, in order."""
        return [(entry, view) for entry in self.entries for view in self.views if view in entry.runs]

    @cached_property
    def cells(self) -> "pd.DataFrame":
        """A row per model and view with all that was measured and computed.

        Counts are of images; `precision` has Wilson's interval, `drop_points`, the drop from the original in percentage
        points, Tango's score interval; both are pointwise. `mcnemar_p` is of the exact test of a view against the
        original, `mcnemar_p_holm` adjusted for all of them. Metrics have their names in `bench.metrics.METRICS`, but
        for the drop, which the counts say.
        """
        import pandas as pd

        frame = pd.DataFrame([self._cell(entry, view) for entry, view in self.measured])
        frame[list(_COUNTS)] = frame[list(_COUNTS)].astype("Int64")
        paired = frame["view"] != ORIGINAL
        broken, repaired = (frame.loc[paired, name].to_numpy(int) for name in ("broken", "repaired"))
        for end, values in zip(_ENDS, drop_limits(broken, repaired, self.images), strict=True):
            frame.loc[paired, f"{DROP}_{end}"] = 100 * values
        p = mcnemar_exact(broken, repaired)
        place = frame.columns.get_loc("relative_drop") + 1
        for name, values in (("mcnemar_p_holm", holm(p)), ("mcnemar_p", p)):
            frame.insert(place, name, pd.Series(values, index=frame.index[paired]))
        frame["view"] = self.as_views(frame["view"])
        frame["results"] = frame.pop("results")  # the last column
        return frame

    def as_views(self, names: "pd.Series") -> "pd.Categorical":
        """A column of names of views, in the order of the group."""
        import pandas as pd

        return pd.Categorical(names, categories=list(self.views), ordered=True)

    def _cell(self, entry: Entry, view: str) -> dict[str, Any]:
        run, found = entry.runs[view], entry.view(view)
        n, correct, before = run.record.images, found.correct or 0, run.record.views[ORIGINAL].correct or 0
        row: dict[str, Any] = {
            "data": self.data.name,
            "split": self.data.split,
            "label": entry.label,
            "encoder": entry.encoder,
            "pretrained": entry.model.pretrained,
            "view": view,
            "images": n,
            "correct": correct,
            **Estimate(correct / n, wilson(correct, n)).columns("precision"),
            **dict.fromkeys(_COUNTS),
            **dict.fromkeys((DROP, *(f"{DROP}_{end}" for end in _ENDS), "relative_drop"), np.nan),
        }
        if view != ORIGINAL:
            row |= {name: getattr(found, name) for name in _COUNTS}
            row[DROP] = 100 * (found.broken - found.repaired) / n
            row["relative_drop"] = relative_drop(before / n, correct / n, len(self.classes))
        further = {name: found.metrics[name] for name in _FURTHER if name in found.metrics and name not in row}
        return row | further | {"results": str(run.folder.results)}


def group_runs(
    runs: Sequence[FinishedRun], fits: Mapping[str, Tuned] = MappingProxyType({})
) -> tuple[list[Group], dict[Path, str]]:
    """Group runs, and list the files of which a newer one measured something again, and what.

    Args:
        runs: In any order.
        fits: Tuned encoders by SHA-256 of their weights, which are called after how they were tuned.
    """
    by_images: dict[str, list[FinishedRun]] = {}
    for run in sorted(runs, key=lambda run: (-run.folder.results.stat().st_mtime_ns, str(run.folder.path))):
        by_images.setdefault(key_of(_images(run)), []).append(run)
    members = sorted(
        by_images.values(), key=lambda one: (data_and_split(one[0]), -one[0].record.images, key_of(_images(one[0])))
    )
    replaced: dict[Path, str] = {}
    groups: list[Group] = []
    for same in members:
        rivals = [other for other in members if _slug(other[0]) == _slug(same[0])]
        name = _slug(same[0]) + (f"-{rivals.index(same) + 1}" if len(rivals) > 1 else "")
        title = _title(same[0], [other[0] for other in rivals if other is not same])
        if any(group.title == title for group in groups):
            title += f", {name}"
        groups.append(_group(name, title, same, fits, replaced))
    places = {label: place for place, label in enumerate(dict.fromkeys(e.label for g in groups for e in g.entries))}
    return [
        replace(group, entries=tuple(replace(entry, place=places[entry.label]) for entry in group.entries))
        for group in groups
    ], replaced


def subject(run: FinishedRun) -> str:
    """Equal for runs of one model on the same images, also where one of them adapted it while it was tested."""
    model = {key: value for key, value in identity(run.record.model).items() if key != ADAPTATION}
    return key_of({"model": model, "images": _images(run)})


def is_beside(entry: Entry, base: Entry, kind: str) -> bool:
    """Whether an entry is another one, which is an encoder alone, with a companion of a kind; see `Companion`."""
    companion = entry.model.companion
    if companion is None or companion.kind != kind or base.model.companion is not None:
        return False
    models = (identity(one.model).items() for one in (entry, base))
    alone, other = ({key: value for key, value in model if key not in companion.describe()} for model in models)
    return alone == other


def data_and_split(run: FinishedRun) -> str:
    """The data set and the split, for readers."""
    return f"{run.record.data.name}/{run.record.data.split}"


def _slug(run: FinishedRun) -> str:
    return re.sub(r"[^a-z0-9]+", "-", data_and_split(run).lower()).strip("-")[:_LONGEST_NAME]


def _images(run: FinishedRun) -> dict[str, Any]:
    """Whatever tells that two runs saw different images or had different classes to choose from."""
    implied = _NOT_THE_IMAGES | ({"root"} if run.record.data.content else set())
    kept = {key: value for key, value in run.record.data.to_json().items() if key not in implied}
    return {**kept, "images": run.record.images, "skipped": sorted(image.index for image in run.record.skipped)}


def _title(run: FinishedRun, rivals: Sequence[FinishedRun]) -> str:
    """Name, split and number of images, and whatever else tells a group from others of this name and split."""
    own, others = _images(run), [_images(rival) for rival in rivals]
    implied = {"images", "images_selected"}
    keys = [key for key in own if key not in implied and any(own[key] != other.get(key) for other in others)]
    missing = sorted({key for other in others for key in other if key not in own})
    told = [f"{key} {short(own[key])}" for key in keys] + [f"{key} not recorded" for key in missing]
    return ", ".join([f"{data_and_split(run)}, {run.record.images} images", *told])


def _group(
    name: str, title: str, runs: Sequence[FinishedRun], fits: Mapping[str, Tuned], replaced: dict[Path, str]
) -> Group:
    """Group newest-first runs; what newer ones replace is added to `replaced`."""
    by_model: dict[str, list[FinishedRun]] = {}
    for run in runs:
        by_model.setdefault(key_of(identity(run.record.model)), []).append(run)
    names = dict(zip(by_model, labels([same[0].record.model for same in by_model.values()], fits), strict=True))
    entries = []
    for key in sorted(by_model, key=lambda key: _rank(names[key], by_model[key][0].record.model)):
        chosen: dict[str, FinishedRun] = {}
        for run in by_model[key]:
            again = [view for view in run.record.views if view in chosen]
            chosen |= {view: run for view in run.record.views if view not in chosen}
            if again and (again != [ORIGINAL] or len(run.record.views) == 1):
                newer = chosen[again[-1]].folder.results
                replaced[run.folder.results] = f"{names[key]}, {', '.join(again)}: {newer} is newer"
        entries.append(Entry(names[key], by_model[key][0].record.model, chosen))
    return Group(
        name=name,
        title=title,
        runs=tuple((names[key], run) for key, same in by_model.items() for run in same),
        entries=tuple(entries),
        views=_view_order(view for entry in entries for view in entry.runs),
    )


def _rank(label: str, model: ModelRecord) -> tuple[int, list[tuple[int, str]]]:
    """The paper's order, then alphabetically with numbers by value."""
    encoder = canonical_encoder(model.encoder)
    natural = [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", label)]
    return (ENCODERS.index(encoder) if encoder in ENCODERS else len(ENCODERS), natural)


def _view_order(views: Iterable[str]) -> tuple[str, ...]:
    """Each view once: the original, then in order of appearance, but codec by codec by decreasing quality."""
    places = {view: (place, 0.0) for place, view in enumerate(dict.fromkeys(views))}
    for points in curves(places, "quality").values():
        first = min(places[view][0] for _, view in points)
        places |= {view: (first, -quality) for quality, view in points}
    return tuple(sorted(places, key=lambda view: (-1, 0.0) if view == ORIGINAL else places[view]))
