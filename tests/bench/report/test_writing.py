"""What is written: complete, escaped, self-contained, and the same bytes twice."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from bench.report.command import main
from bench.report.elements import Cell, Table
from bench.report.markup import escape_latex, escape_markdown, to_latex
from datamodules.errors import UserError
from tests.support import made_up

NASTY = '<script>alert("x")</script> & |a| _b_ $\\x$ 50% {d} \\e #1'
COUNTS = {"original": 95, "jpeg-75": 90, "jpeg-50": 80, "webp-50": 85, "jpeg-50-444": 82, "blur-2": 60}
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Checks that tags are nested properly, and collects what a page shows and what it would load."""

    def __init__(self, text):
        super().__init__()
        self.open, self.loads, self.text, self.scripts, self.tables = [], [], "", 0, 0
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"
        self.tables += tag == "table"
        self.loads += [value for name, value in attrs if name in ("src", "href", "action", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data


@pytest.fixture
def runs(tmp_path):
    """Two encoders with several codecs, one of them with an awkward name, and awkward classes."""
    for number, encoder in enumerate(["RN50", NASTY]):
        rows = made_up.nested({view: count - number for view, count in COUNTS.items()}, 100)
        content = made_up.record(rows, encoder=encoder, data=NASTY, class_names=[f"{NASTY}{c}" for c in range(10)])
        made_up.write(tmp_path / "runs" / f"run{number}", content, rows)
    return tmp_path / "runs"


def test_page_is_well_formed_loads_nothing_and_shows_awkward_names_as_they_are(report, runs):
    page = Page(report(runs, "--title", NASTY, "--against", "paper").page)
    assert all(re.match(r"#|data:image/(png|svg\+xml);base64,", address) for address in page.loads)
    assert page.scripts == 1
    assert page.text.count(NASTY) > 10
    assert page.tables == 6
    assert all(title in page.text for title in ("Precision against quality", "How to read", "Not comparable:"))


def test_figures_are_images_and_the_data_are_complete(report, runs):
    written = report(runs)
    figures = written.folder / "figures"
    assert len(list(figures.glob("*.svg"))) == len(list(figures.glob("*.png"))) == 2
    for path in figures.glob("*.png"):
        with Image.open(path) as image:
            assert len(np.unique(np.asarray(image))) > 50
    cells = written.rows("cells.csv")
    assert [(row["view"], row["correct"]) for row in cells if row["label"] == "RN50"] == [
        (view, str(COUNTS[view])) for view in ("original", "jpeg-75", "jpeg-50", "webp-50", "jpeg-50-444", "blur-2")
    ]
    assert len(written.rows("classes.csv")) == 2 * len(COUNTS) * 10
    assert len(written.rows("encoders.csv")) == len(COUNTS)
    assert "Without a quality, so not drawn: blur-2." in written.page


def test_markdown_tables_have_as_many_cells_in_each_line_as_in_their_head(report, runs):
    width = None
    for line in report(runs).markdown.splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else None
        assert width is None or cells is None or cells == width
        width = cells


def test_the_same_runs_give_the_same_bytes_in_place_of_an_older_report(report, runs):
    def contents(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    first = contents(report(runs).folder)
    (report(runs).folder / "tables" / "stale.csv").write_text("old")
    assert contents(report(runs).folder) == first


def test_a_folder_that_holds_something_else_is_left_alone(runs, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "index.html").write_text("mine")
    with pytest.raises(UserError, match="holds something else than a report: choose another folder"):
        main([str(runs), "--output", str(tmp_path / "thesis")])
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["index.html"]


def test_a_folder_that_cannot_be_written_is_the_users_mistake(runs, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be written \(.*\): choose another --output"):
        main([str(runs), "--output", str(tmp_path / "file" / "report")])


def test_one_encoder_on_originals_only_is_a_report_too(report, tmp_path):
    rows = made_up.nested({"original": 3}, 5)
    made_up.write(tmp_path / "runs" / "run", made_up.record(rows), rows)
    written = report(tmp_path / "runs")
    assert "Only the original was measured." in written.page
    assert "0.6000" in written.page


def test_unused_files_are_listed_on_the_page_and_on_the_screen(report, runs, capsys):
    bad = made_up.write(runs / "bad", "[]")
    written = report(runs)
    assert str(bad) in written.page
    assert f"not used: {bad}: schema is missing" in capsys.readouterr().out


def test_escapes_cover_what_the_formats_read_as_markup():
    assert escape_markdown("[a](b) ![c]\n# d") == "[a\\](b) \\![c] \\# d"
    assert escape_latex("a_b & 5% \\ ~^ {}") == r"a\_b \& 5\% \textbackslash{} \textasciitilde{}\textasciicircum{} \{\}"


def test_latex_table_is_a_booktabs_tabular_with_bold_best_and_details_below():
    table = Table("t", "T", ("a", "b"), ((Cell("x_1"), Cell("0.5", ("[0, 1]",), 0.5, strong=True, marked=True)),))
    lines = to_latex(table).splitlines()
    assert r"\begin{tabular}{lr}" in lines
    cell = r"\shortstack[r]{\textbf{0.5}\textsuperscript{*}\\{\scriptsize [0, 1]}}"
    assert rf"x\_1 & {cell} \\" in lines
    assert [line for line in lines if line.endswith("rule")] == [r"\toprule", r"\midrule", r"\bottomrule"]
