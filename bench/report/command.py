"""The `lightning report` command."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.command_line.ending import OneLineParser
from bench.references.names import NAMES, require_names
from datamodules.text import printable

if TYPE_CHECKING:
    from bench.report.groups import Group
    from bench.report.inputs import Inputs

TITLE = "Zero-shot precision of CLIP under image compression"


def main(args: Sequence[str]) -> None:
    """Run `lightning report`.

    Args:
        args: What follows `report` on the command line.

    Raises:
        UserError: Nothing can be read, or the output folder cannot be used.
    """
    parser = OneLineParser(
        prog="lightning report", description="Tables, figures, statistics and a page from result files."
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, help="folders with runs, searched recursively, or results.json files"
    )
    parser.add_argument("--output", type=Path, default=Path("report"), help="folder to write into (default: report)")
    parser.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="SOURCE",
        help=f"compare with published figures, of one or several of {', '.join(NAMES)}; `lightning references` says "
        "what they are and what they can check",
    )
    parser.add_argument(
        "--drop", type=_points, default=1.0, help="drop that is too much, in percentage points (default: 1)"
    )
    parser.add_argument("--title", default=TITLE, help="title of the report")
    options = parser.parse_args(_one_source_each(args))
    require_names(options.against)
    import pandas as pd  # which --help can do without

    from bench.report.answers import answers_of
    from bench.report.size_findings import size_findings
    from bench.report.writer import PAGE

    with pd.option_context("mode.string_storage", "python"):  # pyarrow's strings cannot hold every name of a file
        against = tuple(dict.fromkeys(options.against))
        made = make_report(options.runs, options.output, options.title, options.drop, against)
        lines = [f"not used: {path}: {reason}" for path, reason in made.inputs.unused.items()]
        for group in made.groups:
            if found := size_findings(answers_of(group, options.drop), []):
                lines += [f"{group.title}:", *(f"  {sentence}" for sentence in found)]
    print(*map(printable, [*lines, made.summary, f"written to {options.output / PAGE}"]), sep="\n")


@dataclass(frozen=True)
class MadeReport:
    """A report that was written.

    Attributes:
        summary: It in a sentence.
        inputs: What it was made from.
        groups: Of runs, in its order.
    """

    summary: str
    inputs: "Inputs"
    groups: "Sequence[Group]"


def make_report(
    runs: Sequence[Path], output: Path, title: str = TITLE, points: float = 1.0, against: Sequence[str] = ()
) -> MadeReport:
    """Write a report; pandas' strings have to be Python's.

    Args:
        runs: Folders with runs, or result files.
        output: Folder to write into.
        title: Of the report.
        points: The drop that is too much, in percentage points.
        against: Sources of published figures to compare with.

    Raises:
        UserError: Nothing can be read, or the output folder cannot be used.
    """
    from bench.report.contents import compose
    from bench.report.inputs import Choices, read_inputs
    from bench.report.writer import write_report

    inputs = read_inputs(runs)
    _say(f"{len(inputs.runs) + len(inputs.adapted)} results read, computing")
    report, groups = compose(title, inputs, Choices(points, tuple(against), inputs.fits))
    _say("drawing and writing")
    write_report(report, output)
    return MadeReport(report.summary, inputs, groups)


def _one_source_each(args: Sequence[str]) -> list[str]:
    """Arguments with `--against A B` written as `--against A --against B`; folders may follow the names.

    >>> _one_source_each(["--against", "paper", "openclip", ".", "--drop", "2"])
    ['--against', 'paper', '--against', 'openclip', '.', '--drop', '2']
    """
    apart: list[str] = []
    naming = False
    for word in args:
        if naming and apart[-1] != "--against" and not word.startswith("-"):
            naming = word in NAMES or not Path(word).exists()  # a misspelt name is no folder
            apart += ["--against", word] if naming else [word]
            continue
        naming = word == "--against" or (naming and not word.startswith("-"))
        apart.append(word)
    return apart


def _say(step: str) -> None:
    """A line of progress, on the standard error stream."""
    sys.stderr.write(f"{step} ...\n")
    sys.stderr.flush()


def _points(text: str) -> float:
    """A drop in percentage points.

    Raises:
        ArgumentTypeError: It is no number above 0 and up to 100.
    """
    with suppress(ValueError):
        if 0 < float(text) <= 100:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no drop in percentage points: choose a number above 0, up to 100")
