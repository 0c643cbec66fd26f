"""Fine-tuned encoders against the original and their clean-only controls: what was recovered, and what it cost."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from bench.figures.curves import Measured
from bench.figures.interpolation import Step, interpolation_curves
from bench.figures.recovery import recovered_shares
from bench.finetuning.export import in_words
from bench.report.elements import MISSING, Block, Cell, Listing, Plot, Section, Table, Text, number
from bench.report.fits import Tuned
from bench.report.groups import Entry, Group
from bench.report.sections.attribution_change import attribution_blocks
from bench.report.variants import Variant, compare, seeds, sha
from bench.statistics.recovery import Estimate
from datamodules.degradations import ORIGINAL

_FEW_SEEDS = 3


def robustness_section(group: Group, fits: Mapping[str, Tuned]) -> Section | None:
    """All about the group's tuned encoders; None where none of its encoders is one.

    Args:
        group: Runs over the same images.
        fits: Tuned encoders by SHA-256 of their weights.
    """
    blocks: list[Block] = []
    data: list[Mapping[str, object]] = []
    tuned: dict[str, list[str]] = {}
    for entry in group.entries:
        if fit := fits.get(sha(entry)):
            tuned.setdefault(fit.original, []).append(entry.label)
    for place, (original, labels) in enumerate(tuned.items(), 1):
        base = next((entry for entry in group.entries if sha(entry) == original), None)
        if base is None:
            blocks.append(Text(f"The encoder was not tested here that these were tuned from: {', '.join(labels)}."))
            continue
        try:
            variants = compare(group, base, fits)
        except (OSError, ValueError) as error:
            blocks.append(Text(f"{base.label} and what was tuned from it cannot be compared: {error}."))
            continue
        name = f"{group.name}-robustness" + (f"-{place}" if len(tuned) > 1 else "")
        blocks += _blocks(name, group, base, variants)
        data += _rows(group, base, variants)
    return Section("Robustness by fine-tuning", tuple(blocks), {"robustness.csv": tuple(data)}) if blocks else None


def _blocks(name: str, group: Group, base: Entry, variants: Sequence[Variant]) -> list[Block]:
    tuned = [variant for variant in variants if not variant.first.is_control]
    blocks: list[Block] = [_protocol(group, base, variants), _precisions(name, group, base, variants)]
    if tuned and group.degraded:
        blocks += [
            _shares(name, group, tuned),
            Plot(
                f"{name}-shares",
                "Recovered share of the drop beyond the control",
                partial(recovered_shares, {one.title: _net_shares(one) for one in tuned}, group.degraded),
                "Bars: 95% intervals. 1 is all that the original model lost.",
            ),
        ]
    if gaps := _gaps(name, tuned):
        blocks.append(gaps)
    if forgetting := _forgetting(name, group, base, variants):
        blocks.append(forgetting)
    blocks += attribution_blocks(name, base, {one.title: list(one.entries.values()) for one in tuned})
    ways = {one.title: _way(one.first.record["interpolation"]) for one in tuned if one.first.alpha == 1}
    if ways:
        note = (
            "Measured on held-out images of the split tuned on, never on these. From the original (star) to the tuned "
            "weights; first seed of each; the mean of all degraded views that validation had."
        )
        drawing = partial(interpolation_curves, ways, "mean precision on degraded views")
        blocks.append(Plot(f"{name}-interpolation", "Between the original and the tuned weights", drawing, note))
    return blocks


def _net_shares(variant: Variant) -> dict[str, Measured]:
    shares = {view: found.net_share for view, found in variant.recoveries.items()}
    return {view: Measured(one.value, one.interval.low, one.interval.high) for view, one in shares.items()}


def _way(points: Sequence[Mapping[str, Any]]) -> list[Step]:
    """What a fit's record says under `interpolation`, with the mean over its degraded views."""
    steps = []
    for point in points:
        precisions = {view: measures["precision"] for view, measures in point["metrics"].items()}
        clean = precisions.pop(ORIGINAL)
        degraded = float(np.mean(list(precisions.values()))) if precisions else float("nan")
        steps.append(Step(point["alpha"], clean, degraded))
    return steps


def _protocol(group: Group, base: Entry, variants: Sequence[Variant]) -> Listing:
    items = []
    for one in variants:
        data = one.first.record["data"]
        same = (data["name"], data["split"]) == (group.data["name"], group.data["split"])
        where = f"{sum(one.first.record['images_per_class'].values()):,} images of {data['name']}/{data['split']}"
        method = one.first.record["method"]
        remarks = [f"{in_words(method['objective'])}, trained: {in_words(method['trainable'])}"]
        remarks += [f"tuned on {where}", f"seeds {seeds(one.fits)}", f"control: {one.control}"]
        remarks += ["TESTED ON THE SPLIT IT WAS TUNED ON"] if same else []
        remarks += ["fewer than three seeds"] if len(one.fits) < _FEW_SEEDS else []
        items.append((one.title, "; ".join(remarks) + "."))
    return Listing(((base.label, "the original, frozen."), *items))


def _precisions(name: str, group: Group, base: Entry, variants: Sequence[Variant]) -> Table:
    def cell(entries: Sequence[Entry], view: str) -> Cell:
        if not all(view in entry.cells for entry in entries):
            return Cell(MISSING)
        values = [entry.cells[view].precision for entry in entries]
        spread = (f"{number(min(values))} to {number(max(values))}",) if len(values) > 1 else ()
        return Cell(number(float(np.mean(values))), spread, float(np.mean(values)))

    rows = [(Cell(base.label), *(cell([base], view) for view in group.views))]
    rows += [(Cell(one.title), *(cell(list(one.entries.values()), view) for view in group.views)) for one in variants]
    note = "Mean over seeds; below it the least and the greatest."
    return Table(f"{name}-precision", "Precision of tuned encoders", ("tuned", *group.views), tuple(rows), note)


def _shares(name: str, group: Group, variants: Sequence[Variant]) -> Table:
    rows = []
    for one in variants:
        clean = one.recoveries.get(ORIGINAL)
        raw = "" if clean is None else f"raw {number(clean.gain.value, signed=True)}"
        cells = [Cell(MISSING) if clean is None else _cell(clean.net, (raw,))]
        for view in group.degraded:
            found = one.recoveries.get(view)
            if found is None:
                cells.append(Cell(MISSING))
                continue
            control = f"control {number(found.control_share.value, 2)}" if one.has_control else "NO CONTROL"
            raw = f"{number(found.share.value, 2)}, {control}"
            cells.append(_cell(found.net_share, (raw, "seen" if one.first.saw(view) else "held out"), 2))
        rows.append((Cell(one.title), *cells))
    note = (
        "Share = (tuned - original model) / (its clean - original model), means over seeds, minus the same of the "
        "clean-only control, whose gain is domain adaptation and not robustness; below it the 95% interval (bootstrap "
        "over images, the same for all models, and seeds), and the two shares before subtraction. Clean: change of "
        "precision on the originals, beyond the control's. Held out: a codec or quality that tuning never drew. A "
        "dash: the original model's drop is not distinguishable from 0."
    )
    header = ("tuned", "clean", *group.degraded)
    return Table(f"{name}-recovered", "Recovered share of the drop beyond the control", header, tuple(rows), note)


def _cell(estimate: Estimate, details: tuple[str, ...], digits: int = 4) -> Cell:
    if estimate.value != estimate.value:
        return Cell(MISSING, details)
    low, high = (number(end, digits) for end in (estimate.interval.low, estimate.interval.high))
    text = number(estimate.value, digits, signed=True)
    return Cell(text, (f"[{low}, {high}]", *details), estimate.value, strong=estimate.interval.low > 0)


def _gaps(name: str, variants: Sequence[Variant]) -> Table | None:
    """The drop of each view that a specialist was tuned on, split in two."""
    rows = []
    for one in variants:
        view = one.first.speciality
        found = one.recoveries.get(view) if view and one.first.alpha == 1 else None
        if view is None or found is None:
            continue
        whole = found.drop.value or float("nan")
        rows.append(
            (
                Cell(view),
                Cell(one.title),
                Cell(number(found.drop.value), value=found.drop.value),
                _cell(found.net, (f"{found.net.value / whole:.0%} of the drop",)),
                _cell(found.left, (f"{found.left.value / whole:.0%} of the drop",)),
            )
        )
    note = (
        "Generalisation gap: what a model tuned on that very view gains there beyond its clean-only control. "
        "Information gap: what not even that model recovers, an upper bound of what the codec destroyed for this "
        "encoder, data and budget. Their sum is the original model's drop."
    )
    header = ("view", "tuned on it", "drop", "generalisation gap", "information gap")
    title = "What tuning can recover, and what it cannot"
    return Table(f"{name}-gaps", title, header, tuple(rows), note) if rows else None


def _forgetting(name: str, group: Group, base: Entry, variants: Sequence[Variant]) -> Table | None:
    """Mean recall of originals over classes tuned on and never tuned on, before and after."""
    rows = []
    for one in variants:
        known = set(one.first.classes()) if one.first.record["data"]["name"] == group.data["name"] else set()
        parts = {"tuned on": known & set(group.classes), "never tuned on": set(group.classes) - known}
        if not parts["never tuned on"]:
            continue
        for part, names in parts.items():
            wanted = [name in names for name in group.classes]
            before, *after = (_recall(entry, wanted) for entry in (base, *one.entries.values()))
            if names and before == before:
                mean = float(np.mean(after))
                values = [Cell(number(value), value=value) for value in (before, mean)]
                change = Cell(number(mean - before, signed=True), value=mean - before)
                rows.append((Cell(one.title), Cell(part), Cell(str(len(names)), value=len(names)), *values, change))
    note = "Mean recall of the originals over classes, and over seeds. No class of another data set was tuned on."
    header = ("tuned", "classes", "number", "before", "after", "change")
    return Table(f"{name}-forgetting", "Forgetting", header, tuple(rows), note) if rows else None


def _recall(entry: Entry, wanted: Sequence[bool]) -> float:
    recall = entry.cells[ORIGINAL].result.recall
    return float("nan") if recall is None else float(np.nanmean(recall[np.array(wanted)])) if any(wanted) else 0.0


def _rows(group: Group, base: Entry, variants: Sequence[Variant]) -> list[Mapping[str, object]]:
    """A row per variant and view with all that was computed."""
    rows: list[Mapping[str, object]] = []
    for one in variants:
        for view, found in one.recoveries.items():
            row: dict[str, object] = {
                "group": group.name,
                "original": base.label,
                "tuned": one.title,
                "tuned_seeds": seeds(one.fits),
                "control_seeds": seeds(one.controls),
                "view": view,
                "held_out": int(not one.first.saw(view)),
                "images": group.images,
            }
            for quantity, estimate in vars(found).items():
                row |= {
                    quantity: estimate.value,
                    f"{quantity}_low": estimate.interval.low,
                    f"{quantity}_high": estimate.interval.high,
                }
            rows.append(row)
    return rows
