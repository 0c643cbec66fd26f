"""The `lightning report` command."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from bench.command_line.ending import fail
from datamodules.text import printable

TITLE = "Zero-shot precision of CLIP under image compression"


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with the command line in one line."""

    def error(self, message: str) -> NoReturn:
        fail(f"{message}; `{self.prog} --help` lists what there is")


def main(args: Sequence[str]) -> None:
    """Run `lightning report`.

    Args:
        args: What follows `report` on the command line.

    Raises:
        UserError: Nothing can be read, or the output folder cannot be used.
    """
    parser = _Parser(prog="lightning report", description="Tables, figures, statistics and a page from result files.")
    parser.add_argument(
        "runs", nargs="+", type=Path, help="folders with runs, searched recursively, or results.json files"
    )
    parser.add_argument("--output", type=Path, default=Path("report"), help="folder to write into (default: report)")
    parser.add_argument("--against", choices=["paper"], help="compare with the numbers of Chen et al. (2023)")
    parser.add_argument(
        "--drop", type=_points, default=1.0, help="drop that is too much, in percentage points (default: 1)"
    )
    parser.add_argument("--title", default=TITLE, help="title of the report")
    options = parser.parse_args(list(args))
    # --help can do without torch, pandas and matplotlib
    from bench.report.answers import limit_in_words
    from bench.report.contents import compose
    from bench.report.inputs import Choices, read_inputs
    from bench.report.sections.sizes import answers
    from bench.report.writer import PAGE, write_report

    inputs = read_inputs(options.runs)
    _say(f"{len(inputs.runs)} results read, computing")
    choices = Choices(options.drop, options.against == "paper", inputs.fits)
    report, groups = compose(options.title, inputs, choices)
    _say("drawing and writing")
    write_report(report, options.output)
    lines = [f"not used: {path}: {reason}" for path, reason in inputs.unused.items()]
    for group in groups:
        if found := answers(group, options.drop):
            lines.append(
                f"smallest bytes per image with a drop under {limit_in_words(options.drop)}, on {group.title}:"
            )
            lines += [f"  {line}" for line in found]
    print(*map(printable, [*lines, report.summary, f"written to {options.output / PAGE}"]), sep="\n")


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
