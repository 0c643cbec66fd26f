"""A run under the JPEG corruption of the -C benchmarks, beside the models that were published for it."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from bench.references.corruption import CorruptionErrors, measured_errors, published_errors, severities
from bench.references.sources import Source
from bench.report.groups import Entry, Group
from bench.report.tables import Column, Table

_MOST_PUBLISHED = 25  # rows of published models that a table shows


def corruption_tables(groups: Sequence[Group], source: Source) -> list[Table]:
    """A table per group that has every severity of a source in its geometry; none for a source without severities."""
    return [table for group in groups if (table := _table(group, source)) is not None]


def measured_beside(group: Group, source: Source) -> dict[str, CorruptionErrors]:
    """Errors of the models of a group that were measured at every severity of a source in its geometry, by label."""
    table = severities(source)
    if table is None or not table.are_of(group.data) or group.images != table.split_images:
        return {}
    found = {entry.label: measured_errors(table, _precision(entry)) for entry in group.entries}
    return {label: errors for label, errors in found.items() if errors is not None}


def _table(group: Group, source: Source) -> Table | None:
    table, measured = severities(source), measured_beside(group, source)
    if table is None or not measured:
        return None
    published = published_errors(source, table)
    rows = [_row(source, label, "measured here", errors) for label, errors in measured.items()]
    rows += [_row(source, label, "published", errors) for label, errors in published.items()]
    for row in rows[: len(measured)]:
        row["better"] = sum(errors.mean < row["mean"] for errors in published.values())
    frame = pd.DataFrame(rows).sort_values("mean", kind="stable", ignore_index=True)
    step = -(-len(published) // _MOST_PUBLISHED)
    rank = (frame["by"] == "published").cumsum() - 1
    frame["shown"] = (frame["by"] != "published") | (rank % step == 0)
    note = (
        "Other models on the same images under the same corruption, which says how a model stands and not whether it "
        f"was measured right. {source.note} Precision by severity; mean error: over the severities; above clean: the "
        "same minus the error on uncorrupted images of the same geometry."
    )
    if source.alexnet is not None:
        note += (
            f" CE: the mean error over AlexNet's ({source.alexnet.error:.4f}; {source.alexnet.origin}); relative CE: "
            f"what corruption adds, over what it adds to AlexNet's clean error of {source.alexnet.clean_error:.4f} "
            "(Hendrycks and Dietterich, 2019). Both are of this one corruption; mCE is the mean over fifteen."
        )
    if table.caveat:
        note += f" To be read with care: {table.caveat}."
    if step > 1:
        note += f" Every {step}th of {len(published)} published models is shown; all are in corruption.csv."
    columns = (*_COLUMNS, *(_RATIOS if source.alexnet is not None else ()), _BETTER)
    return Table(
        f"{group.name}-{source.name}",
        f"{group.title}: JPEG corruption, beside {len(published)} models",
        frame,
        columns,
        note=note,
        data="corruption.csv",
        where=lambda rows: rows["shown"],
    )


def _precision(entry: Entry) -> dict[str, float]:
    return {view: (entry.view(view).correct or 0) / run.record.images for view, run in entry.runs.items()}


def _row(source: Source, label: str, by: str, errors: CorruptionErrors) -> dict[str, Any]:
    reference = source.alexnet
    return {
        "source": source.name,
        "label": label,
        "by": by,
        **{f"severity_{severity}": 1 - error for severity, error in enumerate(errors.errors, start=1)},
        "mean": errors.mean,
        "relative": errors.relative,
        "ce": None if reference is None else errors.over(reference),
        "relative_ce": None if reference is None else errors.relative_over(reference),
        "better": None,
    }


def _is_measured(frame: pd.DataFrame) -> pd.Series:
    return frame["by"] != "published"


_COLUMNS = (
    *(Column("label", "model", bold=_is_measured), Column("by", "")),
    *(Column(f"severity_{severity}", str(severity), ".4f") for severity in range(1, 6)),
    *(Column("mean", "mean error", ".4f", bold=_is_measured), Column("relative", "above clean", ".4f")),
)
_RATIOS = (Column("ce", "CE", ".4f", bold=_is_measured), Column("relative_ce", "relative CE", ".4f"))
_BETTER = Column("better", "published models with less", ",.0f")
