"""Which sections a report has: a new one is a module with a function `section`, and its place here."""

from collections.abc import Sequence

from bench.report.document import Chapter, Report
from bench.report.groups import Group, group_runs
from bench.report.inputs import Choices, Inputs
from bench.report.sections import (
    adaptation,
    attribution_change,
    attributions,
    audit,
    classes,
    definitions,
    drop,
    encoders,
    frequencies,
    front_ends,
    overview,
    precision,
    references,
    robustness,
    sizes,
    sources,
)

SECTIONS = (
    *(precision, audit, sizes, drop, robustness, front_ends, attribution_change),
    *(classes, encoders, attributions, frequencies),
)
"""Those about a group of runs over the same images, in order."""


def compose(title: str, inputs: Inputs, choices: Choices) -> tuple[Report, list[Group]]:
    """A chapter per group of runs, after one on published figures if asked for, and one about what all this is.

    Args:
        title: Of the page.
        inputs: What was found.
        choices: What is asked about it.
    """
    groups, replaced = group_runs(inputs.runs, inputs.fits)
    chapters = [_chapter(group, choices) for group in groups]
    if choices.against:
        chapters.insert(
            0, Chapter("Against published figures", tuple(references.section(groups, name) for name in choices.against))
        )
    if apart := adaptation.chapter(inputs.adapted, groups):
        chapters.append(apart)
    used = sources.section(groups, inputs.unused, replaced, adaptation.sources(inputs.adapted))
    about = (definitions.section(groups), used)
    findings = Chapter("Findings", overview.sections(groups, chapters))
    chapters = [*([findings] if findings.sections else []), *chapters, Chapter("About", about)]
    return Report(title, _summary(groups, inputs), tuple(chapters)), groups


def _chapter(group: Group, choices: Choices) -> Chapter:
    made = (module.section(group, choices) for module in SECTIONS)
    return Chapter(group.title, tuple(section for section in made if section), group.name)


def _summary(groups: Sequence[Group], inputs: Inputs) -> str:
    counts = [
        (sum(len(group.runs) for group in groups), "result file", "result files"),
        (len({entry.encoder for group in groups for entry in group.entries}), "encoder", "encoders"),
        (len(groups), "set of images", "sets of images"),
        (sum(len(group.measured) for group in groups), "cell", "cells"),
    ]
    text = ", ".join(f"{count} {one if count == 1 else more}" for count, one, more in counts)
    apart = f" Adapted while tested, apart from these: {len(inputs.adapted)}." if inputs.adapted else ""
    return f"{text}.{apart}" + (f" Not used, see Sources: {len(inputs.unused)}." if inputs.unused else "")
