"""Precision of every encoder on every view, as in the paper's Figures 1, 2, 5 and 6."""

from functools import partial
from typing import TYPE_CHECKING

from bench.figures.curves import Line, Measured, Panel, quality_curves
from bench.report.document import Block, Plot, Section
from bench.report.groups import Group, short
from bench.report.inputs import Choices
from bench.report.sections.references import outside_interval, published_lines, with_published
from bench.report.tables import Column, Table
from datamodules.degradations import ORIGINAL

if TYPE_CHECKING:
    import pandas as pd


def section(group: Group, choices: Choices) -> Section:
    """The group's precision table and its curves over quality."""
    frame = with_published(group, choices.against)
    note = "Precision (top-1 accuracy) with Wilson's 95% interval."
    column = Column("precision", form=".4f", interval=True)
    if len(group.entries) > 1:
        note += " Bold: the best of each column."
        column = Column("precision", form=".4f", interval=True, bold=_best)
    if published := published_lines(frame, choices.against):
        note += " Marked: a published value of the same experiment is outside the interval."
        column = Column("precision", "", ".4f", True, published, bold=column.bold, marked=outside_interval)
    table = Table(
        f"{group.name}-precision", "Precision by encoder and view", frame, (Column("label", "encoder"), column),
        across="view", note=note, data="cells.csv",
    )  # fmt: skip
    blocks: list[Block] = [*_remarks(group), table]
    if codecs := quality_panels(group):
        drawn = {view for points in group.curves.values() for _, view in points}
        left = [view for view in group.degraded if view not in drawn]
        note = "Bands: Wilson's 95% interval. The scale of precision does not start at 0."
        note += f" Without a quality, so not drawn: {', '.join(left)}." if left else ""
        draw = partial(quality_curves, codecs)
        blocks.append(Plot(f"{group.name}-precision", "Precision against quality", draw, note))
    return Section("Precision", tuple(blocks))


def _best(frame: "pd.DataFrame") -> "pd.Series":
    return frame["correct"] == frame.groupby("view", observed=True)["correct"].transform("max")


def precisions(group: Group) -> dict[str, dict[str, Measured]]:
    """Precision with its interval by encoder and view, for figures."""
    found: dict[str, dict[str, Measured]] = {}
    for row in group.cells.to_dict("records"):
        measured = Measured(row["precision"], row["precision_low"], row["precision_high"])
        found.setdefault(row["label"], {})[str(row["view"])] = measured
    return found


def quality_panels(group: Group) -> list[Panel]:
    """A panel per codec with a line per encoder."""
    known = precisions(group)
    return [
        Panel(
            codec,
            [
                Line(label, [(x, views[view]) for x, view in points if view in views], views[ORIGINAL])
                for label, views in known.items()
                if any(view in views for _, view in points)
            ],
        )
        for codec, points in group.curves.items()
    ]


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
