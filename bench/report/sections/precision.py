"""Precision of every encoder on every view, as in the paper's Figures 1, 2, 5 and 6."""

from collections.abc import Mapping, Sequence
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from bench.figures.curves import Line, Measured, Panel, quality_curves
from bench.figures.style import look
from bench.references.comparison import published_curves
from bench.report.document import Block, Plot, Section
from bench.report.groups import Entry, Group
from bench.report.inputs import Choices
from bench.report.sections.references import outside_interval, published_lines, with_published
from bench.report.tables import Column, Table, short
from datamodules.degradations import ORIGINAL

if TYPE_CHECKING:
    import pandas as pd

GREY_NOTE = " Grey: as published, of the same weights and images in the source's own prompts."


def section(group: Group, choices: Choices) -> Section:
    """The group's precision table and its curves over quality."""
    frame = with_published(group, choices.against)
    note = "Precision (top-1 accuracy) with Wilson's 95% interval, pointwise."
    column = Column("precision", form=".4f", interval=True)
    if len(group.entries) > 1:
        note += " Bold: the best encoder in each view."
        column = Column("precision", form=".4f", interval=True, bold=_best)
    if published := published_lines(frame, choices.against):
        note += " Marked: a published value of the same experiment is outside the interval."
        column = Column("precision", "", ".4f", True, published, bold=column.bold, marked=outside_interval)
    columns, title = (Column("label", "encoder"), column), "Precision by encoder and view"
    table = Table(f"{group.name}-precision", title, frame, columns, "view", note, data="cells.csv")
    blocks: list[Block] = [*_remarks(group), table]
    if codecs := [quality_panel(group, codec, codec, group.places) for codec in group.curves]:
        drawn = {view for points in group.curves.values() for _, view in points}
        left = [view for view in group.degraded if view not in drawn]
        note = "Bars: Wilson's 95% intervals, pointwise. The scale of precision does not start at 0."
        note += GREY_NOTE if any(panel.published for panel in codecs) else ""
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


def quality_panel(group: Group, codec: str, title: str, places: Mapping[str, int]) -> Panel:
    """A line per encoder over the quality of one of the group's codecs, and what is published about these models.

    Args:
        group: Where the encoders are.
        codec: Of the group's curves.
        title: Above the panel.
        places: Of the labels of its lines, which decide their looks.
    """
    known, points = precisions(group), group.curves[codec]
    lines = [
        Line(
            entry.label,
            [(x, known[entry.label][view]) for x, view in points if view in entry.runs],
            known[entry.label][ORIGINAL],
            look(places[entry.label]),
        )
        for entry in group.entries
        if any(view in entry.runs for _, view in points)
    ]
    published = [curve for entry in group.entries for curve in _published(group, entry, points)]
    return Panel(title, lines, published=published)


def _published(group: Group, entry: Entry, points: Sequence[tuple[float, str]]) -> list[list[tuple[float, float]]]:
    """Published precisions over the quality, the original's at infinity; a curve per source that has two or more."""
    places = {view: x for x, view in points} | {ORIGINAL: inf}
    model, data = entry.model, group.data
    if model.companion is not None:
        return []
    sources = published_curves(model.encoder, model.pretrained, data.name, data.split, model.activation)
    curves = [
        sorted((places[view], value) for view, value in values.items() if view in places) for values in sources.values()
    ]
    return [curve for curve in curves if len(curve) > 1]


def _remarks(group: Group) -> list[str]:
    """What a reader has to know about the images and prompts before comparing rows."""
    records = [run.record for _, run in group.runs]
    templates = [short(prompts) for prompts in sorted({tuple(record.model.templates) for record in records})]
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
        remarks.append(f"The source images are compressed already ({short(lossy)}): drops are biased, mostly down.")
    codecs = {item for record in records for item in record.software.codec_versions.items()}
    different = sorted(f"{name} {version}" for name, version in codecs if sum(name == one for one, _ in codecs) > 1)
    if different:
        remarks.append(f"The runs used different codecs, so equal views may differ a little: {', '.join(different)}.")
    return remarks
