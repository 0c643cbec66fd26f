"""Fine-tuned encoders against the original and their clean-only controls: what was recovered, and what it cost."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench.figures.curves import Measured
from bench.figures.interpolation import Step, interpolation_curves
from bench.figures.recovery import recovered_shares
from bench.report.document import Block, Plot, Section, Terms
from bench.report.groups import Entry, Group
from bench.report.inputs import Choices
from bench.report.sections.classes import recall
from bench.report.sections.tuning_scale import gaps, price
from bench.report.tables import Column, Table, listed
from bench.report.tuned import Tuned, tuned_digest
from bench.report.variants import Seeds, Variant, originals_of, tuned_from, variants_of
from bench.runs.method_text import in_words
from bench.runs.provenance import DataRecord
from bench.statistics.intervals import Estimate
from bench.statistics.paired import drop_interval
from bench.statistics.recovery import Recovery
from datamodules.degradations import ORIGINAL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FEW_SEEDS = 3
_MOST_NAMES = 6
_NO_LABEL = "the original itself: without degradation nothing but weight decay would move it"
_TUNED = Column("tuned")


def section(group: Group, choices: Choices) -> Section | None:
    """All about the group's tuned encoders; None where none of its encoders is one."""
    blocks: list[Block] = []
    alone = [entry.label for entry in group.entries if tuned_digest(entry.model) in choices.fits]
    bases = originals_of(group, choices.fits)
    for place, base in enumerate(bases, 1):
        compared = {entry.label for _, entry in tuned_from(group, base, choices.fits)}
        alone = [label for label in alone if label not in compared]
        try:
            variants = variants_of(group, base, choices.fits)
        except (OSError, ValueError) as error:
            blocks.append(f"{base.label} and what was tuned from it cannot be compared: {error}.")
            continue
        name = f"{group.name}-robustness" + (f"-{place}" if len(bases) > 1 else "")
        blocks += _blocks(name, group, base, variants)
    if alone:
        missing = "The encoder was not tested here that these were tuned from, with the same prompts and arithmetic"
        blocks.append(f"{missing}: {listed(alone, _MOST_NAMES)}.")
    return Section("Robustness by fine-tuning", tuple(blocks)) if blocks else None


def _blocks(name: str, group: Group, base: Entry, variants: Sequence[Variant]) -> list[Block]:
    tuned = [variant for variant in variants if not variant.first.is_control]
    frame = recoveries(group, base, variants)
    blocks: list[Block] = [_protocol(group, base, variants), _precisions(name, group, base, variants)]
    blocks += [_originals(name, frame), _shares(name, frame)]
    if tuned and group.degraded:
        title = "Recovered share of the drop beyond the control"
        note = (
            "Lines: 95% intervals, pointwise. 1 is all that the original model lost. Encoders that recover most on "
            "average come first. What lies below \N{MINUS SIGN}0.5 is a triangle beside its value."
        )
        draw = partial(_draw_shares, frame[~frame["is_control"]], group.degraded)
        blocks.append(Plot(f"{name}-shares", title, draw, note))
    blocks += gaps(name, frame, tuned)
    blocks += price(name, base, tuned)
    blocks += _forgetting(name, group, base, variants)
    if whole := [variant for variant in tuned if variant.first.alpha == 1]:
        note = (
            "Measured on held-out images of the split tuned on, never on these. From the original (star) to the tuned "
            "weights; first seed of each; the mean of all degraded views that validation had."
        )
        title = "Between the original and the tuned weights"
        blocks.append(Plot(f"{name}-interpolation", title, partial(_draw_interpolation, whole), note))
    return blocks


def seeds(by_seeds: Mapping[Seeds, object]) -> str:
    """Seeds as text: those of the data, and where fits have these in common, what else tells them apart."""
    if len({one.data for one in by_seeds}) == len(by_seeds):
        return ", ".join(str(one.data) for one in by_seeds)
    return ", ".join(_seeds_in_full(one) for one in by_seeds)


def _seeds_in_full(one: Seeds) -> str:
    again = f", fit {one.number}" if one.number > 1 else ""
    return f"{one.data} (seed_everything {one.everything or 'not set'}{again})"


def _protocol(group: Group, base: Entry, variants: Sequence[Variant]) -> Terms:
    terms = {base.label: "the original, frozen."}
    for variant in variants:
        record = variant.first.record
        where = f"{sum(record.images_per_class.values()):,} images of {record.data.name}/{record.data.split}"
        remarks = [f"{in_words(record.method['objective'])}, trained: {in_words(record.method['trainable'])}"]
        remarks += [f"told the {told} of each view, as others are not"] if (told := record.method.get("told")) else []
        remarks += [f"tuned on {where}", f"seeds {seeds(variant.fits)}", f"control: {_control(variant)}"]
        remarks += _tested_on(variant.first, group.data)
        remarks += ["fewer than three seeds"] if len(variant.fits) < _FEW_SEEDS else []
        terms[variant.title] = "; ".join(remarks) + "."
    return terms


def _tested_on(fit: Tuned, data: DataRecord) -> list[str]:
    """What a reader has to know where the images of a test are of the split that was tuned on."""
    held_out = fit.held_out(data)
    if held_out is None:
        return ["TESTED ON THE SPLIT IT WAS TUNED ON, on images that may have been fitted to"]
    if not held_out:
        return ["TESTED ON IMAGES THAT IT WAS TUNED ON"]
    same = (fit.record.data.name, fit.record.data.split) == (data.name, data.split)
    return ["tested on images of that split that were not fitted to"] if same else []


def _control(variant: Variant) -> str:
    if variant.first.is_control:
        return "it is one"
    if variant.controls:
        return f"clean-only, seeds {seeds(variant.controls)}"
    return _NO_LABEL if variant.first.record.label_free else "none"


def _precisions(name: str, group: Group, base: Entry, variants: Sequence[Variant]) -> Table:
    rows = []
    for title, entries in ((base.label, [base]), *((one.title, list(one.entries.values())) for one in variants)):
        for view in (view for view in group.views if all(view in entry.runs for entry in entries)):
            values = [(entry.view(view).correct or 0) / group.images for entry in entries]
            spread = {"least": min(values), "greatest": max(values)} if len(values) > 1 else {}
            rows.append({"tuned": title, "view": view, "precision": float(np.mean(values)), **spread})
    frame = pd.DataFrame(rows, columns=["tuned", "view", "precision", "least", "greatest"])
    frame["view"] = group.as_views(frame["view"])
    column = Column("precision", form=".4f", details=("{least:.4f} to {greatest:.4f}",))
    note = "Mean over seeds; below it the least and the greatest."
    return Table(f"{name}-precision", "Precision of tuned encoders", frame, (_TUNED, column), across="view", note=note)


def recoveries(group: Group, base: Entry, variants: Sequence[Variant]) -> pd.DataFrame:
    """A row per variant and view with all that `bench.statistics.recovery` computes, but for shares in points."""
    rows: list[dict[str, Any]] = []
    for variant in variants:
        for view, found in variant.recoveries.items():
            row: dict[str, Any] = {
                "original": base.label,
                "tuned": variant.title,
                "is_control": variant.first.is_control,
                "has_control": variant.has_control,
                "tuned_seeds": seeds(variant.fits),
                "control_seeds": seeds(variant.controls),
                "view": view,
                "held_out": int(not variant.first.saw(view)),
                "images": group.images,
            }
            for quantity, estimate in _estimates(found, base, view, group.images).items():
                is_share = quantity.endswith("share")
                row |= estimate.columns(quantity) if is_share else estimate.scaled(100).columns(f"{quantity}_points")
            rows.append(row)
    frame = pd.DataFrame(rows)
    frame["view"] = group.as_views(frame["view"])
    return frame


def _estimates(found: Recovery, base: Entry, view: str, images: int) -> dict[str, Estimate]:
    """Those of a recovery by name; the drop has the interval that it has everywhere."""
    estimates: dict[str, Estimate] = dict(vars(found))
    if view != ORIGINAL:
        changed = base.view(view).broken, base.view(view).repaired
        estimates["drop"] = Estimate(found.drop.value, drop_interval(*changed, images))
    return estimates


def _originals(name: str, frame: pd.DataFrame) -> Table:
    columns = (
        *(
            _TUNED,
            Column("gain_points", "change (points)", "+.2f", interval=True),
            Column("control_points", "of the control", "+.2f", interval=True),
        ),
        Column("net_points", "beyond the control", "+.2f", interval=True),
    )
    note = "Change of precision on the originals in percentage points, with 95% bootstrap intervals, pointwise."
    return Table(
        f"{name}-clean", "What tuning does to originals", frame, columns, note=note, data="robustness.csv",
        where=lambda frame: (frame["view"] == ORIGINAL) & ~frame["is_control"],
    )  # fmt: skip


def _shares(name: str, frame: pd.DataFrame) -> Table:
    control = frame["control_share"].map("control {:.2f}".format).where(frame["has_control"], "NO CONTROL")
    frame = frame.assign(subtracted=control, seen=frame["held_out"].map({0: "seen", 1: "held out"}))
    share = Column(
        "net_share", "", "+.2f", interval=True, details=("{share:.2f}, {subtracted}", "{seen}"),
        bold=lambda frame: frame["net_share_low"] > 0,
    )  # fmt: skip
    note = (
        "Share = (tuned - original model) / (its clean - original model), means over seeds, minus the same of the "
        "clean-only control, whose gain is domain adaptation and not robustness; below it the 95% interval (bootstrap "
        "over images, the same for all models, and seeds; pointwise), and the two shares before subtraction. Held out: "
        "a codec or quality that tuning never drew. A dash: the original model's drop is not distinguishable from 0."
    )
    return Table(
        f"{name}-recovered", "Recovered share of the drop beyond the control", frame, (_TUNED, share), across="view",
        note=note, where=lambda frame: (frame["view"] != ORIGINAL) & ~frame["is_control"],
    )  # fmt: skip


def _draw_shares(frame: pd.DataFrame, views: Sequence[str]) -> "Figure":
    shares: dict[str, dict[str, Measured]] = {}
    for row in frame.to_dict("records"):
        share = Measured(row["net_share"], row["net_share_low"], row["net_share_high"])
        shares.setdefault(row["tuned"], {})[row["view"]] = share
    return recovered_shares(shares, views)


def _draw_interpolation(variants: Sequence[Variant]) -> "Figure":
    ways = {}
    for variant in variants:
        steps = []
        for alpha, measures in sorted(variant.first.record.interpolation.items()):
            degraded = [found["precision"] for view, found in measures.items() if view != ORIGINAL]
            steps.append(Step(alpha, measures[ORIGINAL]["precision"], float(np.mean(degraded or [np.nan]))))
        ways[variant.title] = steps
    return interpolation_curves(ways, "mean precision on degraded views")


def _forgetting(name: str, group: Group, base: Entry, variants: Sequence[Variant]) -> list[Block]:
    """Mean recall of originals over classes tuned on and never tuned on, before and after."""
    rows = []
    for variant in variants:
        record = variant.first.record
        tuned_on = {name for name, count in record.images_per_class.items() if count}
        known = np.array([record.data.name == group.data.name and one in tuned_on for one in group.classes])
        for part, wanted in {"tuned on": known, "never tuned on": ~known}.items():
            if not known.all() and wanted.any():
                before, *after = (
                    float(np.nanmean(recall(entry.runs[ORIGINAL], ORIGINAL)[wanted]))
                    for entry in (base, *variant.entries.values())
                )
                means = {
                    "before": before,
                    "after": float(np.mean(after)),
                    "change_points": 100 * (float(np.mean(after)) - before),
                }
                rows.append({"tuned": variant.title, "classes": part, "number": int(wanted.sum()), **means})
    note = "Mean recall of the originals over classes, and over seeds. No class of another data set was tuned on."
    columns = (
        *(_TUNED, Column("classes"), Column("number", form=",.0f"), Column("before", form=".4f")),
        *(Column("after", form=".4f"), Column("change_points", "change (points)", "+.2f")),
    )
    return [Table(f"{name}-forgetting", "Forgetting", pd.DataFrame(rows), columns, note=note)] if rows else []
