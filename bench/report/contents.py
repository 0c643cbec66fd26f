"""Which sections a report has: a new one is a module with a function of a group, and a line here."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.report.comparison import against_section
from bench.report.elements import Chapter, Report
from bench.report.fits import Tuned
from bench.report.groups import Group
from bench.report.runs import LeftOut
from bench.report.sections.attributions import attributions_section
from bench.report.sections.classes import classes_section
from bench.report.sections.drops import drops_section
from bench.report.sections.encoders import pairs_section
from bench.report.sections.precision import precision_section
from bench.report.sections.provenance import reading_section, sources_section
from bench.report.sections.rate import rate_section
from bench.report.sections.robustness import robustness_section


def analyse(
    title: str,
    groups: Sequence[Group],
    left_out: Sequence[LeftOut],
    replaced: Sequence[tuple[Path, str]],
    *,
    against_paper: bool,
    points: float,
    fits: Mapping[str, Tuned],
) -> Report:
    """A chapter per group of runs, after one on the paper if asked for, and one about what all this is.

    Args:
        title: Of the page.
        groups: What was measured.
        left_out: Files that are not used.
        replaced: Files of which a newer one measured something again, and what.
        against_paper: Whether to compare with the paper.
        points: The drop that is too much, in percentage points.
        fits: Tuned encoders by SHA-256 of their weights.
    """
    chapters = [_chapter(group, fits, against_paper=against_paper, points=points) for group in groups]
    if against_paper:
        chapters.insert(0, Chapter("Against the paper", (against_section(groups),)))
    chapters.append(Chapter("About", (reading_section(), sources_section(groups, left_out, replaced))))
    return Report(title, _summary(groups, left_out), tuple(chapters))


def _chapter(group: Group, fits: Mapping[str, Tuned], *, against_paper: bool, points: float) -> Chapter:
    sections = [
        precision_section(group, against_paper=against_paper),
        rate_section(group, points),
        drops_section(group),
        robustness_section(group, fits),
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
