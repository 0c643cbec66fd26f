"""Measurements beside the numbers that the paper prints."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.paper import (
    ENCODERS,
    PRETRAINED,
    TEMPLATE,
    PrintedPrecision,
    find_precision,
    find_table,
)
from bench.report.elements import MISSING, Block, Cell, Listing, Section, Table, Text, number
from bench.report.groups import Entry, Group, short

_HALF_A_DIGIT = 0.5e-4 + 1e-9  # the paper prints four decimals


@dataclass(frozen=True)
class Comparison:
    """One measured precision and the printed one.

    Attributes:
        printed: The paper's.
        difference: Measured minus printed.
        outside: Whether the printed value is outside the measurement's 95% interval.
    """

    printed: PrintedPrecision
    difference: float
    outside: bool


def compare(group: Group, entry: Entry, view: str) -> Comparison | None:
    """Compare a cell with the paper; None where the paper has none, or none of the same experiment."""
    printed = find_precision(entry.encoder, group.data["name"], group.data["split"], view)
    if printed is None or view not in entry.cells or incomparable(group, entry):
        return None
    cell = entry.cells[view]
    return Comparison(printed, cell.precision - printed.value, printed.value not in cell.interval)


def incomparable(group: Group, entry: Entry) -> str:
    """Why an entry is another experiment than the paper's; empty if it is the same.

    The group's data set and split have to be the paper's.
    """
    table = find_table(group.data["name"], group.data["split"])
    if table is None:
        return "the paper has no such data set and split"
    if entry.encoder not in ENCODERS:
        return "the paper has no such encoder"
    if entry.model["pretrained"] != PRETRAINED:
        return f"weights {short(entry.model['pretrained'])}, the paper's are OpenAI's"
    if group.images != table.images:
        return f"{group.images} images, the paper's split has {table.images}"
    if group.data.get("lossy_source_formats"):
        return "the source images are compressed already"
    if entry.model.get("templates") != [TEMPLATE]:
        return f"prompt {short(entry.model.get('templates'))}, the paper's is {short([TEMPLATE])}"
    return ""


def against_section(groups: Sequence[Group]) -> Section:
    """How far all comparable measurements are from the paper, and which are not comparable and why."""
    found = [
        (group, [(entry, view, one) for entry, view, _ in group.cells if (one := compare(group, entry, view))])
        for group in groups
    ]
    rows = [_row(f"{group.title} ({cells[0][2].printed.where})", cells) for group, cells in found if cells]
    everything = [cell for _, cells in found for cell in cells]
    if len(rows) > 1:
        rows.append(_row("all", everything))
    header = (
        "images",
        "cells compared",
        "equal in print",
        "mean |difference|",
        "largest |difference|",
        "where",
        "outside the 95% interval",
    )
    blocks: list[Block] = [Text("No measurement is comparable with one of the paper.")]
    if everything:
        blocks = [
            Table("against-paper", "Distance from the paper", header, tuple(rows)),
            Text(
                "The paper prints four decimals. Its images and weights are the same as here, so a faithful "
                "reproduction differs by a few images at most, through codec versions and arithmetic; the 95% "
                "interval, which is about other images of the same kind, is a far wider bar."
            ),
        ]
    reasons = [
        (f"{entry.label}, {group.title}", incomparable(group, entry)) for group in groups for entry in group.entries
    ]
    if any(reason for _, reason in reasons):
        blocks += [Text("Not comparable:"), Listing(tuple((who, why) for who, why in reasons if why))]
    return Section("Comparison", tuple(blocks))


def _row(title: str, cells: Sequence[tuple[Entry, str, Comparison]]) -> tuple[Cell, ...]:
    distances = [abs(comparison.difference) for _, _, comparison in cells]
    outside = sum(comparison.outside for _, _, comparison in cells)
    equal = sum(distance < _HALF_A_DIGIT for distance in distances)
    mean, largest = sum(distances) / len(distances), max(distances)
    entry, view, _ = cells[distances.index(largest)]
    return (
        Cell(title),
        Cell(str(len(cells)), value=len(cells)),
        Cell(str(equal), value=equal),
        Cell(number(mean, 5), value=mean),
        Cell(number(largest, 5), value=largest),
        Cell(f"{entry.label}, {view}" if largest > 0 else MISSING),
        Cell(str(outside), value=outside, marked=outside > 0),
    )
