"""Runs that may be compared: grouped by the images they saw, without duplicates, with their statistics."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.paper import ENCODERS, PRETRAINED, canonical_encoder
from bench.report.runs import Run, ViewResult
from bench.statistics.intervals import Interval, holm, mcnemar_exact, paired_bootstrap, relative_drop, wilson
from datamodules.degradations import ORIGINAL, curves

_NOT_THE_IMAGES = {"views", "lossy_source_formats"}
_NOT_THE_MODEL = {
    *("encoder", "architecture", "pretrained", "parameters", "open_clip"),  # spelling, or implied by weights
    "fidelity",  # of the views
}
_HASH_DIGITS = 8
_LONGEST_VALUE = 60


@dataclass(frozen=True)
class Measurement:
    """One cell: an encoder on one view of a group's images.

    Attributes:
        run: Where it was measured.
        result: Its counts.
        precision: In [0, 1].
        interval: Wilson's, of the precision.
        drop: precision(original) - precision(view) in the same run, in [-1, 1].
        drop_interval: Paired bootstrap.
        relative_drop: Share lost of what the original had over guessing; NaN where it had nothing.
        p: McNemar's exact test of the view against the original.
        p_holm: Adjusted for all such tests of the group.
    """

    run: Run
    result: ViewResult
    precision: float
    interval: Interval
    drop: float
    drop_interval: Interval
    relative_drop: float
    p: float
    p_holm: float


@dataclass(frozen=True)
class Entry:
    """One model of a group, with the newest measurement of each view."""

    label: str
    encoder: str
    model: Mapping[str, Any]
    cells: Mapping[str, Measurement]

    @cached_property
    def bits(self) -> Mapping[str, float]:
        """Bits per pixel of the encoded views."""
        means = {view: cell.result.means for view, cell in self.cells.items()}
        return {view: found["bits_per_pixel"] for view, found in means.items() if "bits_per_pixel" in found}


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
    runs: tuple[tuple[str, Run], ...]
    entries: tuple[Entry, ...]
    views: tuple[str, ...]

    @property
    def data(self) -> Mapping[str, Any]:
        """What the first record says about the data."""
        return self.runs[0][1].data

    @property
    def images(self) -> int:
        """Number of images."""
        return self.runs[0][1].images

    @property
    def classes(self) -> Sequence[str]:
        """Class names by label."""
        return self.runs[0][1].classes

    @property
    def degraded(self) -> tuple[str, ...]:
        """All views but the original."""
        return tuple(view for view in self.views if view != ORIGINAL)

    @cached_property
    def curves(self) -> Mapping[str, Sequence[tuple[float, str]]]:
        """Views that differ in quality only: (quality, view) in increasing order, by what they have in common."""
        return curves(self.degraded, "quality")

    @cached_property
    def cells(self) -> tuple[tuple[Entry, str, Measurement], ...]:
        """Everything that was measured, in order."""
        return tuple((one, view, one.cells[view]) for one in self.entries for view in self.views if view in one.cells)


def group_runs(runs: Sequence[Run]) -> tuple[list[Group], list[tuple[Path, str]]]:
    """Group runs, and list the runs of which a newer one measured something again: file and what."""
    by_images: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: (-run.modified, str(run.path))):
        by_images.setdefault(_key(_images(run)), []).append(run)
    members = sorted(by_images.values(), key=lambda one: (_place(one[0]), -one[0].images, _key(_images(one[0]))))
    replaced: list[tuple[Path, str]] = []
    groups = []
    for one in members:
        rivals = [other for other in members if _slug(other[0]) == _slug(one[0])]
        name = _slug(one[0]) + (f"-{rivals.index(one) + 1}" if len(rivals) > 1 else "")
        others = [other[0] for other in rivals if other is not one]
        groups.append(_group(name, _title(one[0], others), one, replaced))
    return groups, replaced


def _place(run: Run) -> str:
    return f"{run.data['name']}/{run.data['split']}"


def _slug(run: Run) -> str:
    return re.sub(r"[^a-z0-9]+", "-", _place(run).lower()).strip("-")


def _images(run: Run) -> dict[str, Any]:
    """Whatever tells that two runs saw different images or had different classes to choose from."""
    implied = _NOT_THE_IMAGES | ({"root"} if run.data.get("content") else set())
    skipped = sorted(str(image.get("index")) if isinstance(image, dict) else str(image) for image in run.skipped)
    kept = {key: value for key, value in run.data.items() if key not in implied}
    return {**kept, "images": run.images, "skipped": skipped}


def _model(run: Run) -> dict[str, Any]:
    identity = {key: value for key, value in run.model.items() if key not in _NOT_THE_MODEL}
    if not run.model.get("weights_sha256"):
        identity["pretrained"] = run.model["pretrained"]
    return {"encoder": canonical_encoder(run.model["encoder"]), **identity}


def _key(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _title(run: Run, rivals: Sequence[Run]) -> str:
    """Name, split and number of images, and whatever else tells a group from others of this name and split."""
    own = _images(run)
    others = [_images(rival) for rival in rivals]
    implied = {"images", "images_selected"}
    keys = [key for key in own if key not in implied and any(own[key] != other.get(key) for other in others)]
    missing = sorted({key for other in others for key in other if key not in own})
    told = [f"{key} {short(own[key])}" for key in keys] + [f"{key} not recorded" for key in missing]
    return ", ".join([f"{_place(run)}, {run.images} images", *told])


def short(value: Any) -> str:
    """A value of a record in at most one short line.

    >>> short(["a {}."]), short(list(range(100))), short("sha256:" + 64 * "f"), short(None)
    ('"a {}."', '100 values', 'sha256:ffffffff', 'none')
    """
    if value is None:
        return "none"
    if isinstance(value, str):
        return value[: len("sha256:") + _HASH_DIGITS] if value.startswith("sha256:") else value
    text = json.dumps(value, default=str)
    if isinstance(value, list):
        text = text[1:-1] if len(text) <= _LONGEST_VALUE else f"{len(value)} values"
    return text


def _group(name: str, title: str, runs: Sequence[Run], replaced: list[tuple[Path, str]]) -> Group:
    """Group newest-first runs; what newer ones replace is added to `replaced`."""
    by_model: dict[str, list[Run]] = {}
    for run in runs:
        by_model.setdefault(_key(_model(run)), []).append(run)
    labels = dict(zip(by_model, _labels([same[0] for same in by_model.values()]), strict=True))
    chosen: dict[str, dict[str, Run]] = {}
    for key, same in by_model.items():
        views = chosen.setdefault(key, {})
        for run in same:
            again = [view for view in run.views if view in views]
            views |= {view: run for view in run.views if view not in views}
            if again and (again != [ORIGINAL] or len(run.views) == 1):
                replaced.append((run.path, f"{labels[key]}, {', '.join(again)}: {views[again[-1]].path} is newer"))
    order = sorted(by_model, key=lambda key: _rank(labels[key], by_model[key][0]))
    cells = [(key, view, run) for key in order for view, run in chosen[key].items()]
    tested = [(key, view) for key, view, _ in cells if view != ORIGINAL]
    results = [chosen[key][view].views[view] for key, view in tested]
    p_values = mcnemar_exact([one.broken for one in results], [one.repaired for one in results])
    adjusted = dict(zip(tested, zip(p_values.tolist(), holm(p_values).tolist(), strict=True), strict=True))
    measured: dict[str, dict[str, Measurement]] = {key: {} for key in order}
    for key, view, run in cells:
        measured[key][view] = _measure(run, view, *adjusted.get((key, view), (1.0, 1.0)))
    return Group(
        name=name,
        title=title,
        runs=tuple((labels[key], run) for key in order for run in by_model[key]),
        entries=tuple(
            Entry(labels[key], canonical_encoder(same[0].model["encoder"]), same[0].model, measured[key])
            for key, same in ((key, by_model[key]) for key in order)
        ),
        views=_view_order([view for _, view, _ in cells]),
    )


def _measure(run: Run, view: str, p: float, p_holm: float) -> Measurement:
    result, before, n = run.views[view], run.views[ORIGINAL].correct, run.images
    return Measurement(
        run=run,
        result=result,
        precision=result.correct / n,
        interval=wilson(result.correct, n),
        drop=(result.broken - result.repaired) / n,
        drop_interval=paired_bootstrap(result.broken, result.repaired, n),
        relative_drop=relative_drop(before / n, result.correct / n, len(run.classes)),
        p=p,
        p_holm=p_holm,
    )


def _rank(label: str, run: Run) -> tuple[int, list[tuple[int, str]]]:
    """The paper's order, then alphabetically with numbers by value."""
    encoder = canonical_encoder(run.model["encoder"])
    natural = [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", label)]
    return (ENCODERS.index(encoder) if encoder in ENCODERS else len(ENCODERS), natural)


def _view_order(views: Iterable[str]) -> tuple[str, ...]:
    """Each view once: the original, then in order of appearance, but codec by codec by decreasing quality."""
    places = {view: (place, 0.0) for place, view in enumerate(dict.fromkeys(views))}
    for points in curves(places, "quality").values():
        first = min(places[view][0] for _, view in points)
        places |= {view: (first, -quality) for quality, view in points}
    return tuple(sorted(places, key=lambda view: (-1, 0.0) if view == ORIGINAL else places[view]))


def _labels(runs: Sequence[Run]) -> list[str]:
    """A label per model: its encoder, its weights unless OpenAI's, and what else tells it from others of that label."""
    labels = [_name(run) for run in runs]
    for label, times in Counter(labels).items():
        if times == 1:
            continue
        same = [index for index, other in enumerate(labels) if other == label]
        models = [_model(runs[index]) for index in same]
        keys = [key for key in sorted(set().union(*models)) if len({_key({key: m.get(key)}) for m in models}) > 1]
        for index, model in zip(same, models, strict=True):
            told = [f"{key} {_brief(key, model.get(key))}" for key in keys]
            labels[index] = f"{label}, {', '.join(told)}"
    return labels


def _brief(key: str, value: Any) -> str:
    return str(value)[:_HASH_DIGITS] if key == "weights_sha256" else short(value)


def _name(run: Run) -> str:
    encoder, weights = canonical_encoder(run.model["encoder"]), str(run.model["pretrained"])
    stem = Path(weights).stem if "/" in weights else weights
    return encoder if stem in (PRETRAINED, encoder) or weights == run.model["encoder"] else f"{encoder} ({stem})"
