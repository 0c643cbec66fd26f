"""What images pass through before the encoder: whether better pixels are better for it."""

import numpy as np
import pandas as pd

from bench.report.document import Block, Section
from bench.report.groups import Entry, Group, is_beside
from bench.report.inputs import Choices
from bench.report.tables import Column, Table, listed
from bench.report.variants import resampled
from bench.statistics.classes import SIGNIFICANT
from bench.statistics.recovery import recover
from bench.statistics.significance import holm, mcnemar_exact, pairwise_discordance
from datamodules.degradations import ORIGINAL

_KIND = "restoration"
_TITLE = "Before the encoder"
_MOST_NAMES = 6


def section(group: Group, choices: Choices) -> Section | None:
    """Every front end beside the same encoder without one; None where none was tested, or only without the encoder."""
    rows: list[dict[str, object]] = []
    problems: list[Block] = []
    for base in group.entries:
        for entry in (entry for entry in group.entries if is_beside(entry, base, _KIND)):
            try:
                rows += _rows(group, base, entry)
            except (OSError, ValueError) as error:
                problems.append(f"{entry.label} and {base.label} cannot be compared: {error}.")
    if not rows:
        return Section(_TITLE, tuple(problems)) if problems else None
    frame = pd.DataFrame(rows)
    frame["view"] = group.as_views(frame["view"])
    precision = Column(
        "precision",
        form=".4f",
        details=(
            "{before:.4f} without",
            "{gain_points:+.2f} points [{gain_points_low:.2f}, {gain_points_high:.2f}]",
            "share {share:.2f} [{share_low:.2f}, {share_high:.2f}]",
            "PSNR {psnr:.2f} dB, {psnr_before:.2f} without",
        ),
    )
    note = (
        "Precision behind the front end; below it that of the same encoder without, the change in percentage points, "
        "and the share of the drop from the originals without it that is recovered, with 95% bootstrap intervals over "
        "images, the same for both, pointwise. PSNR is against the original before the front end, where it was "
        "measured in both. deblock-25 and its like are told one quality for all views, also where it is not theirs."
    )
    title = "Precision and PSNR behind a front end"
    table = Table(
        f"{group.name}-front-ends", title, frame, (Column("front_end", "before the encoder"), precision), "view",
        note=note, data="front_ends.csv",
    )  # fmt: skip
    return Section(_TITLE, (table, *problems), tuple(_findings(frame)))


def _rows(group: Group, base: Entry, entry: Entry) -> list[dict[str, object]]:
    sums = resampled([base, entry])
    rows: list[dict[str, object]] = []
    for view in (view for view in group.views if view in entry.runs and view in base.runs):
        found = recover(
            original=sums[base.label, view],
            clean=sums[base.label, ORIGINAL],
            tuned={0: sums[entry.label, view]},
            controls={},
            images=group.images,
        )
        with_it, without = entry.view(view), base.view(view)
        changed = pairwise_discordance(np.stack([one.runs[view].correctness.bits[view] for one in (base, entry)]))
        rows.append(
            {
                "original": base.label,
                "front_end": entry.label,
                "view": view,
                "images": group.images,
                "precision": (with_it.correct or 0) / group.images,
                "before": (without.correct or 0) / group.images,
                **found.gain.scaled(100).columns("gain_points"),
                **found.share.columns("share"),
                "p": mcnemar_exact(*changed).item(),
                "psnr": with_it.metrics.get("psnr"),
                "psnr_before": without.metrics.get("psnr"),
            }
        )
    return rows


def _findings(frame: pd.DataFrame) -> list[str]:
    """Where pixels and precision contradict each other beyond chance, of all that were looked at."""
    worse = (frame["gain_points"] < 0) & (holm(frame["p"]) < SIGNIFICANT)
    better = frame[(frame["psnr"] > frame["psnr_before"]) & worse]
    names = [f"{row.front_end} at {row.view}" for row in better.itertuples()]
    return [f"Better PSNR and worse precision: {listed(names, _MOST_NAMES)}."] if names else []
