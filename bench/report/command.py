"""The `lightning report` command."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bench.command_line.ending import OneLineParser
from bench.references.names import NAMES, require_names
from datamodules.text import printable

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

    with pd.option_context("mode.string_storage", "python"):  # pyarrow's strings cannot hold every name of a file
        _report(options)


def _report(options: argparse.Namespace) -> None:
    from bench.report.answers import answers_of
    from bench.report.contents import compose
    from bench.report.inputs import Choices, read_inputs
    from bench.report.size_findings import size_findings
    from bench.report.writer import PAGE, write_report

    inputs = read_inputs(options.runs)
    _say(f"{len(inputs.runs)} results read, computing")
    choices = Choices(options.drop, tuple(dict.fromkeys(options.against)), inputs.fits)
    report, groups = compose(options.title, inputs, choices)
    _say("drawing and writing")
    write_report(report, options.output)
    lines = [f"not used: {path}: {reason}" for path, reason in inputs.unused.items()]
    for group in groups:
        if found := size_findings(answers_of(group, options.drop), []):
            lines += [f"{group.title}:", *(f"  {sentence}" for sentence in found)]
    print(*map(printable, [*lines, report.summary, f"written to {options.output / PAGE}"]), sep="\n")


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
