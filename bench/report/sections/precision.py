"""Precision of every encoder on every view, as in the paper's Figures 1, 2, 5 and 6."""

from functools import partial

from bench.figures.curves import Line, Measured, Panel, quality_curves
from bench.report.comparison import compare
from bench.report.elements import MISSING, Block, Cell, Plot, Section, Table, Text, number
from bench.report.groups import Entry, Group, Measurement, short
from bench.report.runs import different_codecs
from datamodules.degradations import ORIGINAL


def precision_section(group: Group, *, against_paper: bool) -> Section:
    """The group's precision table and its curves over quality."""
    rows = tuple(
        (Cell(one.label), *(_cell(group, one, view, against_paper=against_paper) for view in group.views))
        for one in group.entries
    )
    note = "Precision (top-1 accuracy) with Wilson's 95% interval."
    if len(group.entries) > 1:
        note += " Bold: the best of each column."
    if against_paper and any(compare(group, one, view) for one, view, _ in group.cells):
        note += " Marked: the paper's value is outside the interval."
    table = Table(f"{group.name}-precision", "Precision by encoder and view", ("encoder", *group.views), rows, note)
    blocks: list[Block] = [*(Text(text) for text in _remarks(group)), table]
    if group.curves:
        drawn = {view for points in group.curves.values() for _, view in points}
        left = [view for view in group.degraded if view not in drawn]
        note = "Bands: Wilson's 95% interval. The scale of precision does not start at 0."
        note += f" Without a quality, so not drawn: {', '.join(left)}." if left else ""
        draw = partial(quality_curves, [_panel(group, codec) for codec in group.curves])
        blocks.append(Plot(f"{group.name}-precision", "Precision against quality", draw, note))
    return Section("Precision", tuple(blocks), {"cells.csv": _data(group, against_paper=against_paper)})


def measured(cell: Measurement) -> Measured:
    """A precision as figures take it."""
    return Measured(cell.precision, cell.interval.low, cell.interval.high)


def _panel(group: Group, codec: str) -> Panel:
    return Panel(
        codec,
        [
            Line(
                entry.label,
                [(x, measured(entry.cells[view])) for x, view in group.curves[codec] if view in entry.cells],
                measured(entry.cells[ORIGINAL]),
            )
            for entry in group.entries
        ],
    )


def _cell(group: Group, entry: Entry, view: str, *, against_paper: bool) -> Cell:
    if view not in entry.cells:
        return Cell(MISSING)
    measured = entry.cells[view]
    best = max(one.cells[view].result.correct for one in group.entries if view in one.cells)
    details = [f"[{number(measured.interval.low)}, {number(measured.interval.high)}]"]
    comparison = compare(group, entry, view) if against_paper else None
    if comparison:
        details.append(f"paper {number(comparison.printed.value)}, {number(comparison.difference, signed=True)}")
    return Cell(
        text=number(measured.precision),
        details=tuple(details),
        value=measured.precision,
        strong=len(group.entries) > 1 and measured.result.correct == best,
        marked=comparison is not None and comparison.outside,
    )


def _remarks(group: Group) -> list[str]:
    """What a reader has to know about the images and prompts before comparing rows."""
    runs = [run for _, run in group.runs]
    remarks = []
    templates = {short(run.model.get("templates")) for run in runs}
    if len(templates) == 1:
        remarks.append(f"{len(group.classes)} classes; prompt: {templates.pop()}.")
    else:
        remarks.append(
            f"{len(group.classes)} classes. The prompts differ, see the labels: {'; '.join(sorted(templates))}."
        )
    if not group.data.get("content"):
        remarks.append(
            "The records do not identify their images (no content hash): equal names and sizes are taken for equal "
            "images."
        )
    if lossy := group.data.get("lossy_source_formats"):
        remarks.append(f"The source images are compressed already ({short(lossy)}): every drop is biased down.")
    different = different_codecs(runs)
    if different:
        remarks.append(f"The runs used different codecs, so equal views may differ a little: {', '.join(different)}.")
    return remarks


def _data(group: Group, *, against_paper: bool) -> tuple[dict[str, object], ...]:
    """A row per encoder and view with all that was measured and computed."""
    rows = []
    for entry, view, cell in group.cells:
        row: dict[str, object] = {
            "group": group.name,
            "data": group.data["name"],
            "split": group.data["split"],
            "label": entry.label,
            "encoder": entry.encoder,
            "pretrained": entry.model["pretrained"],
            "view": view,
            "images": group.images,
            "correct": cell.result.correct,
            "precision": cell.precision,
            "precision_low": cell.interval.low,
            "precision_high": cell.interval.high,
        }
        if view != ORIGINAL:
            row |= {
                "broken": cell.result.broken,
                "repaired": cell.result.repaired,
                "flipped": cell.result.flipped,
                "drop": cell.drop,
                "drop_low": cell.drop_interval.low,
                "drop_high": cell.drop_interval.high,
                "relative_drop": cell.relative_drop,
                "mcnemar_p": cell.p,
                "mcnemar_p_holm": cell.p_holm,
            }
        row |= cell.result.means
        comparison = compare(group, entry, view) if against_paper else None
        if comparison:
            row |= {
                "published": comparison.printed.value,
                "published_where": comparison.printed.where,
                "difference": comparison.difference,
                "published_outside_interval": int(comparison.outside),
            }
        rows.append({**row, "results": str(cell.run.path)})
    return tuple(rows)
