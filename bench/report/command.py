"""The `lightning report` command."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from shutil import copyfile
from typing import NoReturn

from bench.report.contents import analyse
from bench.report.elements import Gallery, Plot, Report, Table
from bench.report.fits import read_fits
from bench.report.groups import group_runs
from bench.report.markup import picture_name, to_csv, to_latex, to_markdown
from bench.report.page import GENERATOR, to_html
from bench.report.runs import read_runs
from bench.report.sections.rate import answers, limit
from bench.runs.files import write_atomically
from datamodules.errors import UserError

TITLE = "Zero-shot precision of CLIP under image compression"
_PAGE = "index.html"
_FIGURES, _TABLES = "figures", "tables"
_OWN = (f"{_FIGURES}/*.png", f"{_FIGURES}/*.svg", f"{_TABLES}/*.csv", f"{_TABLES}/*.tex")
_USAGE_ERROR = 2


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with the command line in one line."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"error: {' '.join(message.split())}; `{self.prog} --help` lists what there is\n")
        raise SystemExit(_USAGE_ERROR)


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
    runs, left_out = read_runs(options.runs)
    groups, replaced = group_runs(runs)
    report = analyse(
        options.title,
        groups,
        left_out,
        replaced,
        against_paper=options.against == "paper",
        points=options.drop,
        fits=read_fits(options.runs),
    )
    write_report(report, options.output)
    for one in left_out:
        print(f"not used: {one.path}: {one.reason}")
    for group in groups:
        if lines := answers(group, options.drop):
            print(f"smallest bytes per image with a drop under {limit(options.drop)}, on {group.title}:")
            print(*(f"  {line}" for line in lines), sep="\n")
    print(f"{report.summary}\nwritten to {options.output / _PAGE}")


def _points(text: str) -> float:
    """A drop in percentage points.

    Raises:
        ArgumentTypeError: It is no number above 0 and up to 100.
    """
    with suppress(ValueError):
        if 0 < float(text) <= 100:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no drop in percentage points: choose a number above 0, up to 100")


def write_report(report: Report, folder: Path) -> None:
    """Write a report, in place of an older one if there is one.

    Files: `index.html`, `report.md`, `tables/*.csv`, `tables/*.tex`, `figures/*.png`, `figures/*.svg`.

    Raises:
        UserError: The folder holds something else, or cannot be written.
    """
    try:
        _prepare(folder)
        _write(report, folder)
    except OSError as error:
        raise UserError(f"{str(folder)!r} cannot be written ({error.strerror}): choose another --output") from error


def _prepare(folder: Path) -> None:
    """Make the folders; what an older report left in them goes, so that no stale table stays."""
    if folder.is_dir() and any(folder.iterdir()) and not _is_report(folder / _PAGE):
        raise UserError(f"{str(folder)!r} holds something else than a report: choose another folder with --output")
    for name in (_FIGURES, _TABLES):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for stale in (path for pattern in _OWN for path in folder.glob(pattern)):
        stale.unlink()


def _is_report(page: Path) -> bool:
    if not page.is_file():
        return False
    with page.open(encoding="utf-8", errors="replace") as file:
        return GENERATOR in file.read(1000)


def _write(report: Report, folder: Path) -> None:
    data: dict[str, list[Mapping[str, object]]] = {}
    for section in (section for chapter in report.chapters for section in chapter.sections):
        for block in section.blocks:
            if isinstance(block, Table):
                write_atomically(folder / _TABLES / f"{block.name}.tex", to_latex(block))
            elif isinstance(block, Plot):
                _save(block, folder / _FIGURES)
            elif isinstance(block, Gallery):
                for place, (_, path) in enumerate(block.pictures):
                    copyfile(path, folder / _FIGURES / picture_name(block, place))
        for name, rows in section.data.items():
            data.setdefault(name, []).extend(rows)
    for name, all_rows in data.items():
        write_atomically(folder / _TABLES / name, to_csv(all_rows))
    write_atomically(folder / "report.md", to_markdown(report))
    write_atomically(folder / _PAGE, "".join(to_html(report, folder / _FIGURES)))


def _save(plot: Plot, folder: Path) -> None:
    """Write SVG and PNG, the same bytes for the same data."""
    from matplotlib import rc_context

    figure = plot.draw()
    with rc_context({"svg.hashsalt": plot.name}):
        figure.savefig(folder / f"{plot.name}.svg", metadata={"Date": None})
    figure.set_layout_engine("none")  # laid out already, which takes longer than drawing
    figure.savefig(folder / f"{plot.name}.png", dpi=160)
