"""The `lightning repair` command."""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.command_line.arguments import count
from bench.command_line.ending import OneLineParser
from bench.command_line.yaml_text import read_options
from bench.sweep.command import TERAFLOPS
from datamodules.errors import UserError
from datamodules.text import printable

if TYPE_CHECKING:
    from bench.sweep.cells import Cell

_GROUPS = ("model", "data", "trainer", "fits", "tests")


def main(args: Sequence[str]) -> int:
    """Run `lightning repair`; the exit status: 0 if all was done, else 1.

    Args:
        args: What follows `repair` on the command line.

    Raises:
        UserError: A configuration, an option or the images cannot be used.
    """
    options, given = _parse(args)
    from bench.command_line.configs import find_config
    from bench.repair.study import plan
    from bench.sweep.grid import read_sweep

    name = find_config(options.config).stem
    output = options.output or Path("runs", "repair", name)
    repair = plan(options.config, options.fit, given, options.seeds, output)
    print(*map(printable, repair.sentences), "", sep="\n", flush=True)
    if options.dry_run:
        from bench.sweep.costs import dry_run

        with tempfile.TemporaryDirectory() as place:
            cells = read_sweep(repair.write(Path(place)), str(output), {})
            print(dry_run(cells, TERAFLOPS))
        return 0
    cells = read_sweep(repair.write(output), str(output), {})
    if not _made(cells, options.jobs):
        return 1
    _report(cells, output, name)
    return 0


def _made(cells: Sequence["Cell"], jobs: int) -> bool:
    """Run what is not done; whether all is."""
    from bench.sweep.places import places_here
    from bench.sweep.runner import run_cells

    outcome = run_cells(
        cells,
        retry=True,
        wait=True,
        work=lambda cell: None,
        say=lambda line: print(line, flush=True),
        places=places_here(jobs),
        follow=True,
    )
    for name, reason in {**outcome.failed, **outcome.left_out}.items():
        print(f"{name}: {reason}")
    if outcome.failed:
        print("the same command goes on with what failed, once that is mended")
    return not outcome.failed and not outcome.left_out


def _report(cells: Sequence["Cell"], output: Path, name: str) -> None:
    import pandas as pd

    from bench.repair.result import result
    from bench.repair.study import TUNED
    from bench.report.command import make_report
    from bench.report.writer import PAGE

    place = output / "report"
    with pd.option_context("mode.string_storage", "python"):  # pyarrow's strings cannot hold every name of a file
        made = make_report([output], place, f"Repair of {name}")
        weights = [cell.weights[0].file for cell in cells if cell.weights and cell.labels.get("arm") == TUNED]
        try:
            (group,) = made.groups
            lines = result(group, made.inputs.fits, weights)
        except (ValueError, OSError) as error:
            raise UserError(f"{str(output)!r} holds other results, too ({error}): choose another --output") from error
    unused = [f"not used: {path}: {reason}" for path, reason in made.inputs.unused.items()]
    print(*map(printable, [*unused, f"report: {place / PAGE}", "", *lines]), sep="\n")


def _parse(args: Sequence[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    parser = OneLineParser(
        prog="lightning repair",
        description="Fit an encoder so that compression of these images costs it less, test it before and after on "
        "images that it was not fitted to, and write a report. The same command again goes on where it stopped.",
        epilog="Encoder and images are those of the configuration. Other options, such as --data.root photos or "
        "--model.encoder RN50, are set in whatever of fits and tests takes them; behind `fits` or `tests`, such as "
        "--fits.model.learning_rate 1e-4, in those alone.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config", required=True, help="YAML with model and data of a test, or the name of one: image_folder, demo"
    )
    parser.add_argument(
        "--fit",
        metavar="NAME|FILE",
        help="configuration of the fit, for its method and budget: finetune/both (default: CONFIG_finetune where there "
        "is one, else finetune/consistency, which needs no labels)",
    )
    parser.add_argument("--output", type=Path, help="folder of all results (default: runs/repair/CONFIG)")
    parser.add_argument("--seeds", type=count, default=1, help="fits with as many seeds (default: 1)")
    parser.add_argument(
        "--jobs", type=count, default=1, help="fits and tests side by side, each with its share of GPUs"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done; nothing is written")
    options, rest = parser.parse_known_args(args)
    return options, read_options(rest, _option)


def _option(word: str, name: str) -> str:
    key = name.removeprefix("--")
    group, dot, _ = key.partition(".")
    if not word.startswith("--") or not dot or group not in _GROUPS:
        raise UserError(f"{word!r} is no option of a repair; see `lightning repair --help`")
    return key
