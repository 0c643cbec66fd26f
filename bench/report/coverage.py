"""The `lightning references` command: which published figures there are, and what runs can be checked against them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.command_line.ending import OneLineParser
from bench.references.sources import NAMES, Source, load
from bench.report.groups import Group


@dataclass(frozen=True)
class Coverage:
    """What a source has to say about some runs.

    Attributes:
        same: Cells with a figure of the same experiment.
        other: Cells with a figure of one that differs in a known way.
        beside: Models that were measured under a corruption for which the source has others.
        caveats: In what the others differ.
        refused: Cells without a figure, by reason.
    """

    same: int
    other: int
    beside: int
    caveats: tuple[str, ...]
    refused: Counter[str]


def coverage(groups: Sequence[Group], source: Source) -> Coverage:
    """Count the cells of some groups that a source has a figure for; nothing is computed from the measurements."""
    from bench.report.sections.corruption import measured_beside
    from bench.report.sections.references import comparisons

    same = other = beside = 0
    caveats: dict[str, None] = {}
    refused: Counter[str] = Counter()
    for group in groups:
        found = comparisons(group, source)
        stands = measured_beside(group, source)
        beside += len(stands)
        for entry in group.entries:
            comparison = found[entry.label]
            known = len(comparison.published)
            if comparison.caveat:
                other += known
                caveats[comparison.caveat] = None
            else:
                same += known
            if known < len(entry.runs) and entry.label not in stands:
                refused[comparison.refusal or "no figure for the view"] += len(entry.runs) - known
    return Coverage(same, other, beside, tuple(caveats), refused)


def main(args: Sequence[str]) -> None:
    """Run `lightning references`.

    Args:
        args: What follows `references` on the command line.

    Raises:
        UserError: Runs were named, and nothing can be read.
    """
    parser = OneLineParser(
        prog="lightning references",
        description="Sources of published figures, and how many cells of some runs can be checked against each.",
    )
    parser.add_argument("runs", nargs="*", type=Path, help="folders with runs, searched recursively")
    options = parser.parse_args(list(args))
    sources = [load(name) for name in NAMES]
    if not options.runs:
        for source in sources:
            figures = sum(len(row.values) for row in source.rows)
            print(f"{source.name}: {figures:,} figures of {len(source.rows)} models")
            print(f"  {source.citation}.\n  {source.location}.\n  {source.note}")
        print("`lightning references RUNS...` counts what runs can be checked against")
        return
    from bench.report.groups import group_runs
    from bench.report.inputs import read_inputs

    inputs = read_inputs(options.runs)
    groups, _ = group_runs(inputs.runs)
    cells = sum(len(group.measured) for group in groups)
    print(f"{cells} cells of {len(inputs.runs)} result files, {len(inputs.unused)} files not used")
    for source in sources:
        print(*_lines(source, coverage(groups, source)), sep="\n")


def _lines(source: Source, found: Coverage) -> list[str]:
    counts = [f"{found.same} cells of the same experiment"] if found.same else []
    counts += [f"{found.other} of another ({'; '.join(found.caveats)})"] if found.other else []
    counts += [f"models at every severity beside its own {len(source.rows)}: {found.beside}"] if found.beside else []
    lines = [f"{source.name}: {', '.join(counts) or 'nothing'}"]
    refused = () if source.supervised else found.refused.most_common()
    return [*lines, *(f"  not so {count} cells: {reason}" for reason, count in refused)]
