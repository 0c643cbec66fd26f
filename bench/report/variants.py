"""Tested encoders that were tuned from another one: brought together by seed, with their controls, image by image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.report.groups import Entry, Group
from bench.report.tuned import Tuned, tell_apart, tuned_digest
from bench.statistics.bootstrap import Floats, resampled_sums
from bench.statistics.recovery import Recovery, recover
from datamodules.degradations import ORIGINAL


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
    tested = [(fits[digest], entry) for entry in group.entries if (digest := tuned_digest(entry.model)) in fits]
    tested = [(fit, entry) for fit, entry in tested if original_of(fit, entry) == tuned_digest(base.model)]
    sums = resampled([base, *(entry for _, entry in tested)])
    budgets: dict[str, dict[int, Entry]] = {}
    members: dict[str, dict[int, tuple[Tuned, Entry]]] = {}
    for fit, entry in sorted(tested, key=lambda one: one[0].record.seed):
        members.setdefault(fit.variant, {})[fit.record.seed] = (fit, entry)
        if fit.is_control:
            budgets.setdefault(fit.budget, {})[fit.record.seed] = entry
    variants = []
    firsts = [next(iter(one.values()))[0] for one in members.values()]
    titles = tell_apart([fit.title for fit in firsts], [fit.settings for fit in firsts])
    for title, same in zip(titles, members.values(), strict=True):
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


def original_of(fit: Tuned, entry: Entry) -> str:
    """Hash of the weights that a tested entry is held against: those before, or its own without what goes with them."""
    return fit.original if entry.model.companion is None else str(entry.model.weights_sha256)


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
