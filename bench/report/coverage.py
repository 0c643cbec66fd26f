"""How many cells of some runs can be checked against published figures."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bench.references.attributions import compare_attributions
from bench.references.sources import Source
from bench.report.groups import Group
from bench.report.sections.corruption import measured_beside
from bench.report.sections.references import comparisons, refusal


@dataclass(frozen=True)
class Coverage:
    """What a source has to say about some runs.

    Attributes:
        same: Cells with a figure of the same experiment.
        other: Cells with a figure of one that differs in a known way.
        beside: Models that were measured under a corruption for which the source has others.
        attributions: Printed attributions of which a run explained an image of that label.
        caveats: In what the others differ.
        refused: Cells without a figure, by reason.
    """

    same: int
    other: int
    beside: int
    attributions: int
    caveats: tuple[str, ...]
    refused: Counter[str]


def coverage(groups: Sequence[Group], source: Source) -> Coverage:
    """Count the cells of some groups that a source has a figure for; nothing is computed from the measurements."""
    same = other = beside = 0
    caveats: dict[str, None] = {}
    refused: Counter[str] = Counter()
    for group in groups:
        found = comparisons(group, source)
        beside += len(measured_beside(group, source))
        for entry in group.entries:
            comparison = found[entry.label]
            known = len(comparison.published)
            if comparison.caveat:
                other += known
                caveats[comparison.caveat] = None
            else:
                same += known
            reason = refusal(group, entry, source) if comparison.refusal else "no figure for the view"
            if known < len(entry.runs) and reason:
                refused[reason] += len(entry.runs) - known
    explained = [compare_attributions(label, run) for group in groups for label, run in group.runs]
    lines = {line for frame in explained if not frame.empty for line in zip(frame["where"], frame["line"], strict=True)}
    attributions = len(lines) if source.name == "paper" else 0
    return Coverage(same, other, beside, attributions, tuple(caveats), refused)
