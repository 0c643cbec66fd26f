"""The `lightning references` command: which published figures there are, and what runs can be checked against them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.command_line.ending import OneLineParser
from bench.references.names import NAMES

if TYPE_CHECKING:
    from bench.references.sources import Source
    from bench.report.coverage import Coverage


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
    # --help can do without what follows
    from bench.references.sources import load

    sources = [load(name) for name in NAMES]
    if not options.runs:
        for source in sources:
            figures = sum(len(row.values) for row in source.rows)
            print(f"{source.name}: {figures:,} figures of {len(source.rows)} models")
            print(f"  {source.citation}.\n  {source.location}.\n  {source.note}")
        print("`lightning references RUNS...` counts what runs can be checked against")
        return
    from bench.report.coverage import coverage
    from bench.report.groups import group_runs
    from bench.report.inputs import read_inputs

    inputs = read_inputs(options.runs)
    groups, _ = group_runs(inputs.runs, inputs.fits)
    cells = sum(len(group.measured) for group in groups)
    print(f"{cells} cells of {len(inputs.runs)} result files, {len(inputs.unused)} files not used")
    for source in sources:
        print(*_lines(source, coverage(groups, source)), sep="\n")


def _lines(source: "Source", found: "Coverage") -> list[str]:
    counts = [f"{found.same} cells of the same experiment"] if found.same else []
    counts += [f"{found.other} of another ({'; '.join(found.caveats)})"] if found.other else []
    counts += [f"{found.attributions} of the 44 printed attributions"] if found.attributions else []
    counts += [f"models at every severity beside its own {len(source.rows)}: {found.beside}"] if found.beside else []
    lines = [f"{source.name}: {', '.join(counts) or 'nothing'}"]
    return [*lines, *(f"  not so {count} cells: {reason}" for reason, count in found.refused.most_common())]
