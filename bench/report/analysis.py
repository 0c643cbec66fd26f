"""Which sections a report has: a new one is a module with a function of a group, and a line here."""

from collections.abc import Sequence
from pathlib import Path

from bench.report.about import reading_section, sources_section
from bench.report.against import against_section
from bench.report.attributions import attributions_section
from bench.report.classes import classes_section
from bench.report.drops import drops_section
from bench.report.elements import Chapter, Report
from bench.report.groups import Group
from bench.report.pairs import pairs_section
from bench.report.precision import precision_section
from bench.report.runs import LeftOut


def analyse(
    title: str,
    groups: Sequence[Group],
    left_out: Sequence[LeftOut],
    replaced: Sequence[tuple[Path, str]],
    *,
    against_paper: bool,
) -> Report:
    """A chapter per group of runs, after one on the paper if asked for, and one about what all this is."""
    chapters = [_chapter(group, against_paper=against_paper) for group in groups]
    if against_paper:
        chapters.insert(0, Chapter("Against the paper", (against_section(groups),)))
    chapters.append(Chapter("About", (reading_section(), sources_section(groups, left_out, replaced))))
    return Report(title, _summary(groups, left_out), tuple(chapters))


def _chapter(group: Group, *, against_paper: bool) -> Chapter:
    sections = [
        precision_section(group, against_paper=against_paper),
        drops_section(group),
        classes_section(group),
        pairs_section(group),
        attributions_section(group),
    ]
    return Chapter(group.title, tuple(section for section in sections if section))


def _summary(groups: Sequence[Group], left_out: Sequence[LeftOut]) -> str:
    counts = [
        (sum(len(group.runs) for group in groups), "result file", "result files"),
        (len({entry.encoder for group in groups for entry in group.entries}), "encoder", "encoders"),
        (len(groups), "set of images", "sets of images"),
        (sum(len(group.cells) for group in groups), "cell", "cells"),
    ]
    text = ", ".join(f"{count} {one if count == 1 else more}" for count, one, more in counts)
    return f"{text}." + (f" Not used, see Sources: {len(left_out)}." if left_out else "")
