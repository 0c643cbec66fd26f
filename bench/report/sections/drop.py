"""What each view costs: drop, its interval and test, flips, loss, drift."""

from typing import TYPE_CHECKING

from bench.report.document import Section
from bench.report.groups import Group
from bench.report.inputs import Choices
from bench.report.tables import Column, Table, crossed, listed, metric_column, write
from bench.statistics.bootstrap import COUNT_RESAMPLES
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
    drop = Column("drop", form=".4f", interval=True, details=("{mcnemar_p_holm:p}",))
    columns, across = crossed(frame[_degraded(frame)], label, Column("view"), drop)
    drops = Table(
        f"{group.name}-drop",
        "Drop in precision from the original",
        frame,
        columns,
        across,
        where=_degraded,
        note=f"With the paired bootstrap's 95% interval ({COUNT_RESAMPLES:,} resamples) and McNemar's exact test "
        f"against the original, adjusted by Holm's method for the {_degraded(frame).sum()} such tests of this table.",
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
    means = frame.groupby("view", observed=True)["drop"].mean()
    worst, mildest = means.idxmax(), means.idxmin()
    if worst == mildest:
        sentences = [_cost(frame, worst)]
    else:
        sentences = [f"{_cost(frame, worst)} {_cost(frame, mildest, 'the mildest view measured')}"]
    unsure = frame[frame["mcnemar_p_holm"] >= _SIGNIFICANT]
    if len(unsure):
        names = unsure["view"].astype(str) + (" (" + unsure["label"] + ")" if len(group.entries) > 1 else "")
        sentences.append(
            f"{len(unsure)} of {len(frame)} drops could be chance (McNemar's exact test, Holm-adjusted p of at least "
            f"{_SIGNIFICANT}): {listed(list(names), _MOST_NAMES)}."
        )
    return sentences


def _cost(frame: "pd.DataFrame", view: str, what: str = "") -> str:
    """What a view costs the encoder, or the one that loses least and the one that loses most."""
    rows = frame[frame["view"] == view].sort_values("drop", kind="stable").to_dict("records")
    drop = "{label} {points:.1f} points [{low:.1f}, {high:.1f}] ({before:.4f} to {precision:.4f})"
    texts = []
    for row in rows[:: max(1, len(rows) - 1)]:
        points, low, high = (100 * row[name] for name in ("drop", "drop_low", "drop_high"))
        values = {**row, "points": points, "low": low, "high": high, "before": row["precision"] + row["drop"]}
        texts.append(write(drop, values))
    subject = f"{view}, {what}," if what else f"{view}"
    if len(rows) < 2:
        return f"{subject} costs {texts[0]}."
    return f"{subject} costs the {len(rows)} encoders between {texts[0]} and {texts[1]}."


def _degraded(frame: "pd.DataFrame") -> "pd.Series":
    return frame["view"] != ORIGINAL
