"""What each view costs: drop, its interval and test, flips, loss, drift."""

from typing import TYPE_CHECKING

from bench.report.document import Section
from bench.report.groups import DROP, Group
from bench.report.inputs import Choices
from bench.report.tables import Column, Table, listed, metric_column, write
from datamodules.degradations import ORIGINAL

if TYPE_CHECKING:
    import pandas as pd

_MOST_NAMES = 6
_SIGNIFICANT = 0.05
_MEASURES = ("loss_increase", "calibration_error", "cosine")


def section(group: Group, choices: Choices) -> Section | None:
    """Drops from the original, and the measures beside them; None where nothing was degraded."""
    if not group.degraded:
        return None
    frame, label = group.cells, Column("label", "encoder")
    drop = Column(DROP, "drop (points)", ".2f", interval=True, details=("{mcnemar_p_holm:p}",))
    drops = Table(
        f"{group.name}-drop",
        "Drop in precision from the original, in percentage points",
        frame,
        (label, drop),
        "view",
        where=_degraded,
        note="With Tango's 95% score interval, pointwise, and McNemar's exact test against the original, by Holm's "
        f"method jointly for the {_degraded(frame).sum()} such tests of this table.",
    )
    counts = (Column("flipped", "flips", ",.0f"), *(Column(name, form=",.0f") for name in ("broken", "repaired")))
    made_of = Table(
        f"{group.name}-losses",
        "What the drop is made of",
        frame,
        (
            *(label, Column("view"), Column("relative_drop", "relative drop", ".4f")),
            *(*counts, *(metric_column(name) for name in _MEASURES if name in frame)),
        ),
        where=_degraded,
        note="Relative drop: share lost of what the original had over guessing. Flips, broken and repaired: numbers of "
        f"the {group.images:,} images.",
    )
    return Section("Drop", (drops, made_of), tuple(_findings(group)))


def _findings(group: Group) -> list[str]:
    """What the views cost that cost most and least, and which drops could be chance."""
    frame = group.cells[_degraded(group.cells)]
    if not frame["flipped"].any():
        return ["No view changes a prediction."]
    by_view, encoders = frame.groupby("view", observed=True), frame["label"].nunique()
    same, changed = by_view[DROP].count() == encoders, by_view["flipped"].sum() > 0
    means = by_view[DROP].mean()[same & changed]
    sentences = []
    if len(means):
        worst, mildest = means.idxmax(), means.idxmin()
        mean = "mean " if encoders > 1 else ""
        sentences.append(f"Largest {mean}drop, at {worst}: {_drops(frame, worst)}.")
        if worst != mildest:
            among = "" if changed.all() else " where a prediction changes"
            sentences[0] += f" Smallest{among}, at {mildest}: {_drops(frame, mildest)}."
    unsure = frame[frame["mcnemar_p_holm"] >= _SIGNIFICANT]
    if len(unsure):
        names = [f"{label} at {listed(list(rows['view']), _MOST_NAMES)}" for label, rows in unsure.groupby("label")]
        sentences.append(
            f"{len(unsure)} of {len(frame)} drops cannot be told from chance (McNemar's exact test, p of at "
            f"least {_SIGNIFICANT} after Holm's adjustment for all {len(frame)}): {'; '.join(names[:_MOST_NAMES])}"
            + (f"; and {len(names) - _MOST_NAMES} more encoders." if len(names) > _MOST_NAMES else ".")
        )
    return sentences


def _drops(frame: "pd.DataFrame", view: str) -> str:
    """The drops of one or two encoders, or of the one that loses least and the one that loses most."""
    rows = frame[frame["view"] == view].sort_values(DROP, kind="stable").to_dict("records")
    drop = "{drop_points:.1f} points [{drop_points_low:.1f}, {drop_points_high:.1f}] ({label}, {before:.4f} to "
    drop += "{precision:.4f})"
    texts = [write(drop, {**row, "before": row["precision"] + row[DROP] / 100}) for row in rows]
    if len(texts) > 2:
        return f"from {texts[0]} to {texts[-1]} among {len(texts)} encoders"
    return " and ".join(texts)


def _degraded(frame: "pd.DataFrame") -> "pd.Series":
    return frame["view"] != ORIGINAL
