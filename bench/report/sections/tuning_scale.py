"""What tuning can recover at all, how much of that a method reaches, and what its fits take."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bench.report.document import Block
from bench.report.groups import Entry
from bench.report.tables import Column, Table
from bench.report.variants import Variant
from bench.runs.folder import mean_milliseconds


def gaps(name: str, frame: pd.DataFrame, variants: Sequence[Variant]) -> list[Block]:
    """The drop of each view that a specialist was tuned on, split in two."""
    special = {(one.title, one.first.speciality) for one in variants if one.first.alpha == 1}
    chosen = [pair in special for pair in zip(frame["tuned"], frame["view"], strict=True)]
    general = {one.title for one in variants if one.first.speciality is None}
    others, frame = frame[frame["tuned"].isin(general)], frame[chosen]
    drop = frame["drop_points"].where(frame["net_share"].notna())  # else there may be none to have a share of
    frame = frame.assign(net_part=frame["net_points"] / drop, left_part=frame["left_points"] / drop)
    note = (
        "Generalisation gap: what a model tuned on that very view gains there beyond its clean-only control. "
        "Information gap: what not even that model recovers, an upper bound of what the codec destroyed for this "
        "encoder, data and budget. Their sum is the original model's drop. Intervals: bootstrap at 95%, pointwise."
    )
    columns = (
        *(Column("view"), Column("tuned", "tuned on it"), Column("drop_points", "drop (points)", ".2f")),
        Column(
            "net_points", "generalisation gap (points)", "+.2f", interval=True, details=("{net_part:.0%} of the drop",)
        ),
        Column(
            "left_points", "information gap (points)", "+.2f", interval=True, details=("{left_part:.0%} of the drop",)
        ),
    )
    title = "What tuning can recover, and what it cannot"
    if frame.empty:
        return []
    split = Table(f"{name}-gaps", title, frame, columns, note=note)
    reached = others[others["view"].isin(frame["view"])]
    leading = frame.sort_values("net_points").drop_duplicates("view", keep="last").set_index("view")
    best, gained = leading["net_points"], leading["net_points"].where(leading["net_points_low"] > 0)
    reached = reached.assign(reached=reached["net_points"] / reached["view"].map(gained).astype(float))
    column = Column("net_points", "", "+.2f", interval=True, details=("{reached:.0%} of the specialist's",))
    note = (
        "Points of precision gained beyond the clean-only control, with 95% intervals, pointwise; below, the same as a "
        "share of the largest gain of a model tuned on that view alone, without an interval, where that is a gain."
    )
    title = "How much of that is reached"
    scale = Table(f"{name}-reached", title, reached, (Column("tuned"), column), across="view", note=note)
    return [split, *_outdone(reached, best), scale] if len(reached) else [split]


def _outdone(reached: pd.DataFrame, best: pd.Series) -> list[Block]:
    """Where a specialist bounds nothing, since a model that was not tuned on that view alone gains more."""
    leading = reached.sort_values("net_points").drop_duplicates("view", keep="last").sort_values("view")
    sentences = [
        f"At {row.view}, {row.tuned} gained {row.net_points:.2f} points here, the best model tuned on that view alone "
        f"{best[row.view]:.2f}: the least that was left is not that model's information gap, but {row.left_points:.2f}."
        for row in leading.itertuples()
        if row.net_points > best[row.view]
    ]
    return [" ".join(sentences)] if sentences else []


def price(name: str, base: Entry, variants: Sequence[Variant]) -> list[Block]:
    """What a fit takes, and a test of what it left; of means over seeds, only the latter is their own."""
    rows = []
    before = mean_milliseconds(base.all_runs)
    for variant in variants:
        records = [fit.record for fit in variant.fits.values()]
        minutes = [record.run.seconds / 60 for record in records if record.run.seconds is not None]
        first = records[0]
        if variant.first.alpha == 1 and not first.members:
            after = mean_milliseconds(run for entry in variant.entries.values() for run in entry.all_runs)
            rows.append(
                {
                    "tuned": variant.title,
                    "trained": first.method.get("trained_parameters"),
                    "images": sum(first.images_per_class.values()),
                    "epochs": first.training.epochs,
                    "minutes": float(np.mean(minutes)) if minutes else None,
                    "where": f"{first.run.processes or 1} x {first.run.device}" if first.run.device else "",
                    "test_ms": after,
                    "times": after / before if after and before else None,
                }
            )
    columns = (
        *(Column("tuned"), Column("trained", "trained numbers", ",.0f"), Column("images", form=",.0f")),
        *(Column("epochs", form=",.0f"), Column("minutes", "minutes per fit", ".1f")),
        Column("where", "processes x device"),
        Column("test_ms", "test, ms per image and view", ".2f", details=("{times:.2f} times the original's",)),
    )
    note = (
        "Minutes of one fit, from its start to its files, mean over seeds, under whatever load the machine had; a fit "
        "that was interrupted counts from where it went on. A test's milliseconds are those of the whole run in this "
        "report, views and all; what lies before or beside the encoder takes time at every image."
    )
    return [Table(f"{name}-price", "What a fit takes", pd.DataFrame(rows), columns, note=note)] if rows else []
