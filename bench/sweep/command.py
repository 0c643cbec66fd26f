"""The command line of `lightning sweep`."""

import argparse
from collections.abc import Sequence
from typing import Any

from bench.command_line.arguments import count
from bench.command_line.configs import find_config
from bench.command_line.ending import OneLineParser
from bench.command_line.yaml_text import read_options
from datamodules.errors import UserError

TERAFLOPS = 10.0  # float32 on an A100


def main(args: Sequence[str]) -> int:
    """Run a sweep; the exit status: 0 if no cell failed, else 1.

    Raises:
        UserError: The arguments or the configuration are wrong.
    """
    options, extra = _parse(args)
    from bench.sweep.grid import only, read_sweep  # imports torch, which --help can do without

    cells = only(read_sweep(find_config(options.config), options.output, extra), options.only)
    if options.dry_run:
        from bench.sweep.costs import dry_run

        print(dry_run(cells, options.tflops, options.devices))
        return 0
    return _sweep(cells, options)


def _sweep(cells: Sequence[Any], options: argparse.Namespace) -> int:
    from bench.sweep.costs import cell_cost
    from bench.sweep.places import places_here
    from bench.sweep.runner import run_cells

    def work(cell: Any) -> float | None:
        try:
            return cell_cost(cell).flops
        except UserError:  # running it will say so
            return None

    outcome = run_cells(
        cells,
        retry=options.retry,
        wait=options.wait,
        work=work,
        say=lambda line: print(line, flush=True),
        places=places_here(options.jobs),
    )
    made = sum(outcome.done.values())
    left_out = f", {len(outcome.left_out)} left out" if outcome.left_out else ""
    print(
        f"\n{len(cells)} cell{'s' * (len(cells) != 1)}: {made} done now, {len(outcome.done) - made} done before, "
        f"{len(outcome.failed)} failed{left_out}, {len(outcome.elsewhere)} at work elsewhere"
    )
    for name, reason in {**outcome.failed, **outcome.left_out}.items():
        print(f"  {name}: {reason}")
    if outcome.failed:
        print("the same command with --retry runs the failed cells again")
    if any(cell.command == "test" and cell.name in outcome.done for cell in cells):
        print(f"lightning report {cells[0].output} makes tables and figures of them")
    return 1 if outcome.failed or outcome.left_out else 0


def _parse(args: Sequence[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    parser = OneLineParser(
        prog="lightning sweep",
        description="Run a grid of `lightning test` or `fit` runs. The same command again goes on where it stopped; "
        "several may share one grid.",
        epilog="Other options, such as --data.limit 100 or --trainer.devices 8, are set in every cell; behind the name "
        "of a step, such as --fits.trainer.max_epochs 5, in those of that step.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config",
        required=True,
        help="YAML with output, and options and grid or steps of such, or the name of one: paper",
    )
    parser.add_argument("--output", help="folder of the results, in place of the configuration's")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="AXIS=LABEL[,LABEL]",
        help="a part of the grid, or step=NAME; may be repeated",
    )
    parser.add_argument(
        "--jobs", type=count, default=1, help="cells side by side, each with its share of the GPUs and cores"
    )
    parser.add_argument("--retry", action="store_true", help="run cells again that failed before")
    parser.add_argument(
        "--wait",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="in the end, wait for cells that other processes are at work on",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the grid, its images, FLOPs, hours and downloads")
    parser.add_argument(
        "--tflops", type=_positive, default=TERAFLOPS, help="sustained TFLOP/s that --dry-run reckons with"
    )
    parser.add_argument("--devices", type=count, default=1, help="number of devices that --dry-run reckons with")
    options, rest = parser.parse_known_args(args)
    return options, read_options(rest, _option_of_cells)


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return value


def _option_of_cells(word: str, name: str) -> str:
    key = name.removeprefix("--")
    if not word.startswith("--") or ("." not in key and key != "seed_everything"):
        raise UserError(f"{word!r} is no option of a sweep nor of its cells; see `lightning sweep --help`")
    return key
