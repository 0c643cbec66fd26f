"""Runs the command and reads what it wrote."""

import csv

import pytest

from bench.report.command import main


class Written:
    def __init__(self, folder):
        self.folder = folder
        self.page = (folder / "index.html").read_text(encoding="utf-8")
        self.markdown = (folder / "report.md").read_text(encoding="utf-8")

    def rows(self, name):
        with (self.folder / "tables" / name).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture
def report(tmp_path):
    """Runs `lightning report` and gives back what it wrote."""

    def run(*args):
        folder = tmp_path / "report"
        main([*map(str, args), "--output", str(folder)])
        return Written(folder)

    return run
