"""Tested encoders that were tuned from another one: brought together by seed, with their controls, image by image."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.report.elements import MISSING
from bench.report.fits import Tuned
from bench.report.groups import Entry, Group
from bench.runs.folder import load_run
from bench.runs.images import read_correctness
from bench.statistics.rate_curves import Floats, resampled_means
from bench.statistics.recovery import Recovery, Resampled, recover
from datamodules.degradations import ORIGINAL


@dataclass(frozen=True)
class Variant:
    """One way of tuning, tested with one seed or more.

    Attributes:
        title: For readers.
        fits: By seed.
        entries: What was tested, by seed.
        controls: Entries of its clean-only control by seed; empty for label-free methods: theirs is the original.
        control: What the control is, for readers.
        recoveries: By view, the original among them, where its gain is that in clean precision.
    """

    title: str
    fits: Mapping[int, Tuned]
    entries: Mapping[int, Entry]
    controls: Mapping[int, Entry]
    control: str
    recoveries: Mapping[str, Recovery]

    @property
    def has_control(self) -> bool:
        """Whether anything can be subtracted."""
        return bool(self.controls) or self.first.label_free

    @property
    def first(self) -> Tuned:
        """Any of the fits."""
        return next(iter(self.fits.values()))


def compare(group: Group, base: Entry, fits: Mapping[str, Tuned]) -> list[Variant]:
    """Every variant that was tuned from an encoder, with its control, on the same images.

    Raises:
        ValueError: Per-image tables are of other images, or contradict their result files.
        OSError: One cannot be read.
    """
    tested = [(fits[digest], entry) for entry in group.entries if (digest := sha(entry)) in fits]
    tested = [(fit, entry) for fit, entry in tested if fit.original == sha(base)]
    means = _resample([base, *(entry for _, entry in tested)])
    budgets: dict[str, dict[int, Entry]] = {}
    groups: dict[str, dict[int, tuple[Tuned, Entry]]] = {}
    for fit, entry in tested:
        groups.setdefault(fit.variant, {})[fit.seed] = (fit, entry)
        if fit.is_control:
            budgets.setdefault(fit.budget, {})[fit.seed] = entry
    variants = []
    titles = _titles([next(iter(members.values()))[0] for members in groups.values()])
    for title, members in zip(titles, groups.values(), strict=True):
        fit = next(iter(members.values()))[0]
        controls = {} if fit.is_control else budgets.get(fit.budget, {})
        control = f"clean-only, seeds {seeds(controls)}" if controls else MISSING
        if fit.label_free:
            controls, control = {}, "the original itself: without degradation nothing is to be learnt"
        entries = {seed: entry for seed, (_, entry) in sorted(members.items())}
        variants.append(
            Variant(
                title=title,
                fits={seed: fit for seed, (fit, _) in sorted(members.items())},
                entries=entries,
                controls=controls,
                control="it is one" if fit.is_control else control,
                recoveries={
                    view: recover(_models(means, base, entries, controls, view))
                    for view in group.views
                    if view in base.cells and all(view in one.cells for one in (*entries.values(), *controls.values()))
                },
            )
        )
    return sorted(variants, key=lambda variant: (variant.first.is_control, variant.title))


def sha(entry: Entry) -> str:
    """SHA-256 of an entry's weights."""
    return str(entry.model.get("weights_sha256"))


def _title(fit: Tuned) -> str:
    if fit.is_control:
        return f"{fit.name} (clean-only control)"
    return fit.name + (f" (only {fit.speciality})" if fit.speciality else "")


def _titles(fits: Sequence[Tuned]) -> list[str]:
    """A title for each, with what tells it from others of the same one."""
    titles = [_title(fit) for fit in fits]
    for title, times in Counter(titles).items():
        same = [place for place, other in enumerate(titles) if other == title]
        settings = [dict(_flat({**fits[place].record["method"], **fits[place].record["training"]})) for place in same]
        keys = [key for key in settings[0] if len({one.get(key) for one in settings}) > 1] if times > 1 else []
        for place, one in zip(same, settings, strict=True):
            titles[place] = ", ".join([title, *(f"{key} {one.get(key)}" for key in keys)])
    return titles


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of nested mappings as text, by the last part of their name.

    >>> list(_flat({"a": {"b": 1}, "c": [2]}))
    [('b', '1'), ('c', '[2]')]
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, key)
    else:
        yield name, str(value)


def seeds(by_seed: Mapping[int, object]) -> str:
    """Seeds as text."""
    return ", ".join(map(str, sorted(by_seed)))


def _resample(entries: Sequence[Entry]) -> dict[tuple[str, str], Floats]:
    """Precision of all images and of bootstrap samples, [1 + R], by the entry's label and view; paired throughout."""
    columns: dict[tuple[str, str], Floats] = {}
    prints = set()
    for entry in entries:
        for run in {str(cell.run.path): cell.run for cell in entry.cells.values()}.values():
            table = read_correctness(load_run(run.path))
            prints.add(table.fingerprint)
            for view, cell in entry.cells.items():
                if cell.run is run:
                    columns[entry.label, view] = np.unpackbits(table.bits[view], count=run.images).astype(np.float64)
    if len(prints) > 1:
        raise ValueError("their images.csv have other indices or labels")
    return dict(zip(columns, resampled_means(np.stack(list(columns.values()), axis=1)).T, strict=True))


def _models(
    means: Mapping[tuple[str, str], Floats],
    base: Entry,
    entries: Mapping[int, Entry],
    controls: Mapping[int, Entry],
    view: str,
) -> Resampled:
    return Resampled(
        original=means[base.label, view],
        clean=means[base.label, ORIGINAL],
        tuned={seed: means[entry.label, view] for seed, entry in entries.items()},
        control={seed: means[entry.label, view] for seed, entry in controls.items()},
    )
