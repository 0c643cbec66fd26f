"""What each view costs: drop, its interval and test, flips, loss, drift."""

from typing import TYPE_CHECKING

from bench.report.document import Section
from bench.report.groups import DROP, Group
from bench.report.inputs import Choices
from bench.report.tables import Column, Table, metric_column
from datamodules.degradations import ORIGINAL

if TYPE_CHECKING:
    import pandas as pd

_MEASURES = ("loss_increase", "calibration_error", "cosine")


def section(group: Group, choices: Choices) -> Section:
    """Drops from the original, and the measures beside them."""
    if not group.degraded:
        return Section("Drop", ("Only the original was measured.",))
    frame, label = group.cells, Column("label", "encoder")
    drops = Table(
        f"{group.name}-drop",
        "Drop in precision from the original, in percentage points",
        frame,
        (label, Column(DROP, form=".2f", interval=True, details=("{mcnemar_p_holm:p}",))),
        across="view",
        where=_degraded,
        note="With Tango's 95% score interval, pointwise, and McNemar's exact test against the original, adjusted by "
        f"Holm's method for the {_degraded(frame).sum()} such tests of this table.",
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
    return Section("Drop", (drops, made_of))


def _degraded(frame: "pd.DataFrame") -> "pd.Series":
    return frame["view"] != ORIGINAL
