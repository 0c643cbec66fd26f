"""What a report makes of folders with made-up runs."""

import csv
from contextlib import redirect_stdout
from io import StringIO

from bench.report.command import main
from bench.report.document import Section
from bench.report.groups import group_runs
from bench.report.inputs import Choices, read_inputs
from bench.report.tables import Table, lay_out


def groups_of(folder):
    """The groups of all runs in a folder."""
    inputs = read_inputs([folder])
    return group_runs(inputs.runs, inputs.fits)[0]


def choices(folder, **options):
    """What is asked about a folder, with the fits in it."""
    return Choices(fits=read_inputs([folder]).fits, **options)


def tables(section: Section | None):
    """The tables of a section by the end of their name."""
    blocks = () if section is None else section.blocks
    return {block.name.removeprefix("cifar10-test-"): block for block in blocks if isinstance(block, Table)}


def frame(section: Section | None, data):
    """The rows that a CSV file gets from a section, as dicts; empty if it gets none."""
    found = [table.frame for table in tables(section).values() if table.data == data]
    return found[0].to_dict("records") if found else []


def texts(table: Table):
    """What a table shows first in each cell."""
    return [tuple(cell.text for cell in row) for row in lay_out(table).rows]


def terms(section: Section):
    """All terms of a section and what is said about them."""
    found = {}
    for block in section.blocks:
        found |= block if isinstance(block, dict) else {}
    return found


class Written:
    """A report, written by the command."""

    def __init__(self, folder, *args):
        with redirect_stdout(StringIO()) as screen:
            main([*map(str, args), "--output", str(folder)])
        self.screen = screen.getvalue()
        self.folder = folder
        self.page = (folder / "index.html").read_text(encoding="utf-8")
        self.markdown = (folder / "report.md").read_text(encoding="utf-8")

    def rows(self, name):
        """Rows of a CSV file."""
        with (self.folder / "tables" / name).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
