"""Tested encoders that were tuned from another one: brought together by seed, with their controls, image by image."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bench.report.groups import Entry, Group, is_beside
from bench.report.labels import identity
from bench.report.tuned import Tuned, tell_apart, tuned_digest
from bench.statistics.bootstrap import Floats, resampled_sums
from bench.statistics.recovery import Recovery, recover
from datamodules.degradations import ORIGINAL

_OF_THE_WEIGHTS = ("encoder", "weights_sha256", "pretrained")  # an encoder may be called as a file that a fit left


class Seeds(NamedTuple):
    """What tells the fits of one variant apart.

    Attributes:
        data: Seed of the data.
        everything: Of everything else, as text; empty where none was set.
        number: From 1, among the fits that have both in common.
    """

    data: int
    everything: str = ""
    number: int = 1


@dataclass(frozen=True)
class Variant:
    """One way of tuning, tested with one seed or more.

    Attributes:
        title: For readers.
        fits: By their seeds.
        entries: What was tested, by the seeds of its fit.
        controls: Entries of its clean-only control by their seeds. Where a label-free method was tested without, it is
            held against the original itself, which without degradation nothing but weight decay would move.
        recoveries: By view, the original among them, where its gain is that in clean precision.
    """

    title: str
    fits: Mapping[Seeds, Tuned]
    entries: Mapping[Seeds, Entry]
    controls: Mapping[Seeds, Entry]
    recoveries: Mapping[str, Recovery]

    @property
    def first(self) -> Tuned:
        """Any of the fits."""
        return next(iter(self.fits.values()))

    @property
    def has_control(self) -> bool:
        """Whether anything can be subtracted."""
        return bool(self.controls) or self.first.record.label_free


def originals_of(group: Group, fits: Mapping[str, Tuned]) -> list[Entry]:
    """The entries that others of the group were tuned from."""
    return [entry for entry in group.entries if tuned_from(group, entry, fits)]


def tuned_from(group: Group, base: Entry, fits: Mapping[str, Tuned]) -> list[tuple[Tuned, Entry]]:
    """What was tuned from an encoder and tested as that was, with the same prompts and arithmetic: each fit once."""
    tested = {tuned_digest(entry.model): entry for entry in group.entries if _is_tuned_from(base, entry, fits)}
    return [(fits[digest], entry) for digest, entry in tested.items()]


def _is_tuned_from(base: Entry, entry: Entry, fits: Mapping[str, Tuned]) -> bool:
    fit, companion = fits.get(tuned_digest(entry.model)), entry.model.companion
    if fit is None:
        return False
    if companion is not None:
        return is_beside(entry, base, companion.kind)
    return fit.original == tuned_digest(base.model) and _tested_as(entry) == _tested_as(base)


def _tested_as(entry: Entry) -> dict[str, Any]:
    return {key: value for key, value in identity(entry.model).items() if key not in _OF_THE_WEIGHTS}


def variants_of(group: Group, base: Entry, fits: Mapping[str, Tuned]) -> list[Variant]:
    """Every variant that was tuned from an encoder, with its control, on the same images; controls come last.

    Raises:
        ValueError: Per-image tables are of other images, or contradict their result files.
        OSError: One cannot be read.
    """
    tested = tuned_from(group, base, fits)
    sums = resampled([base, *(entry for _, entry in tested)])
    members: dict[str, list[tuple[Tuned, Entry]]] = {}
    for fit, entry in tested:
        members.setdefault(fit.variant, []).append((fit, entry))
    firsts = [same[0][0] for same in members.values()]
    titles = tell_apart([fit.title for fit in firsts], [fit.settings for fit in firsts])
    variants = []
    for title, first, same in zip(titles, firsts, members.values(), strict=True):
        alike = (
            [] if first.is_control else [one for one in tested if one[0].is_control and one[0].budget == first.budget]
        )
        of_fits = _by_seeds(same)
        entries = {seeds: entry for seeds, (_, entry) in of_fits.items()}
        controls = {seeds: entry for seeds, (_, entry) in _by_seeds(alike).items()}
        recoveries = {
            view: recover(
                original=sums[base.label, view],
                clean=sums[base.label, ORIGINAL],
                tuned={seeds: sums[entry.label, view] for seeds, entry in entries.items()},
                controls={seeds: sums[entry.label, view] for seeds, entry in controls.items()},
                images=group.images,
            )
            for view in group.views
            if all(view in entry.runs for entry in (base, *entries.values(), *controls.values()))
        }
        fits_alone = {seeds: fit for seeds, (fit, _) in of_fits.items()}
        variants.append(Variant(title, fits_alone, entries, controls, recoveries))
    return sorted(variants, key=lambda variant: (variant.first.is_control, variant.title))


def _by_seeds(tested: Iterable[tuple[Tuned, Entry]]) -> dict[Seeds, tuple[Tuned, Entry]]:
    found: dict[Seeds, tuple[Tuned, Entry]] = {}
    for fit, entry in tested:
        seeds = Seeds(fit.record.seed, fit.record.seed_everything or "")
        while seeds in found:
            seeds = seeds._replace(number=seeds.number + 1)
        found[seeds] = fit, entry
    return dict(sorted(found.items(), key=lambda item: item[0]))


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
