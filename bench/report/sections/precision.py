"""Precision of every encoder on every view, as in the paper's Figures 1, 2, 5 and 6."""

from functools import partial
from typing import TYPE_CHECKING

from bench.figures.curves import Line, Measured, Panel, quality_curves
from bench.figures.style import look
from bench.report.document import Block, Plot, Section
from bench.report.groups import Group, short
from bench.report.inputs import Choices
from bench.report.sections.paper import with_printed
from bench.report.tables import Column, Table, crossed
from datamodules.degradations import ORIGINAL

if TYPE_CHECKING:
    import pandas as pd


def section(group: Group, choices: Choices) -> Section:
    """The group's precision table and its curves over quality."""
    frame = with_printed(group) if choices.against_paper else group.cells
    note = "Precision (top-1 accuracy) with Wilson's 95% interval."
    column = Column("precision", form=".4f", interval=True)
    if len(group.entries) > 1:
        note += " Bold: the best in each view."
        column = Column("precision", form=".4f", interval=True, bold=_best)
    if "published" in frame:
        note += " Marked: the paper's value is outside the interval."
        printed = "paper {published:.4f}, {difference:+.4f}"
        column = Column("precision", "", ".4f", True, (printed,), bold=column.bold, marked=_outside)
    columns, across = crossed(frame, Column("label", "encoder"), Column("view"), column)
    table = Table(
        f"{group.name}-precision", "Precision by encoder and view", frame, columns, across, note, data="cells.csv"
    )
    blocks: list[Block] = [*_remarks(group), table]
    if codecs := [quality_panel(group, codec, codec) for codec in group.curves]:
        drawn = {view for points in group.curves.values() for _, view in points}
        left = [view for view in group.degraded if view not in drawn]
        note = "Bars: Wilson's 95% intervals, pointwise. The scale of precision does not start at 0."
        note += f" Without a quality, so not drawn: {', '.join(left)}." if left else ""
        draw = partial(quality_curves, codecs)
        blocks.append(Plot(f"{group.name}-precision", "Precision against quality", draw, note))
    return Section("Precision", tuple(blocks))


def _best(frame: "pd.DataFrame") -> "pd.Series":
    return frame["correct"] == frame.groupby("view", observed=True)["correct"].transform("max")


def _outside(frame: "pd.DataFrame") -> "pd.Series":
    return frame["published_outside_interval"] == 1


def precisions(group: Group) -> dict[str, dict[str, Measured]]:
    """Precision with its interval by encoder and view, for figures."""
    found: dict[str, dict[str, Measured]] = {}
    for row in group.cells.to_dict("records"):
        measured = Measured(row["precision"], row["precision_low"], row["precision_high"])
        found.setdefault(row["label"], {})[str(row["view"])] = measured
    return found


def quality_panel(group: Group, codec: str, title: str) -> Panel:
    """A line per encoder over the quality of one of the group's codecs."""
    known, points = precisions(group), group.curves[codec]
    lines = [
        Line(
            entry.label,
            [(x, known[entry.label][view]) for x, view in points if view in entry.runs],
            known[entry.label][ORIGINAL],
            look(entry.place),
        )
        for entry in group.entries
        if any(view in entry.runs for _, view in points)
    ]
    return Panel(title, lines)


def _remarks(group: Group) -> list[str]:
    """What a reader has to know about the images and prompts before comparing rows."""
    records = [run.record for _, run in group.runs]
    templates = sorted({short(record.model.templates) for record in records})
    if len(templates) == 1:
        remarks = [f"{len(group.classes)} classes; prompt: {templates[0]}."]
    else:
        remarks = [f"{len(group.classes)} classes. The prompts differ, see the labels: {'; '.join(templates)}."]
    if not group.data.content:
        remarks.append(
            "The records do not identify their images (no content hash): equal names and sizes are taken for equal "
            "images."
        )
    if lossy := group.data.lossy_source_formats:
        remarks.append(f"The source images are compressed already ({short(lossy)}): every drop is biased down.")
    codecs = {item for record in records for item in record.software.codec_versions.items()}
    different = sorted(f"{name} {version}" for name, version in codecs if sum(name == one for one, _ in codecs) > 1)
    if different:
        remarks.append(f"The runs used different codecs, so equal views may differ a little: {', '.join(different)}.")
    return remarks
