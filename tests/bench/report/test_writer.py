"""What is written: complete, escaped, self-contained, and the same bytes twice."""

import base64
import errno
import hashlib
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from shutil import copytree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bench.report.tables import Column, Table
from bench.report.writer import escape_latex, escape_markdown, to_csv, to_latex
from datamodules.errors import UserError
from tests.support import made_up
from tests.support.reports import Written

NASTY = '<script>alert("x")</script> & |a| _b_ $\\bad{$ 50% {d} \\e #1'
COUNTS = {"original": 95, "jpeg-75": 90, "jpeg-50": 80, "webp-50": 85, "jpeg-50-444": 82, "blur-2": 60}
VOID = {"meta", "img", "br", "wbr"}


class Page(HTMLParser):
    """Checks that tags are nested properly, and collects what a page shows and what it would load."""

    def __init__(self, text):
        super().__init__()
        self.open, self.loads, self.text, self.own, self.policy = [], [], "", {"style": [], "script": []}, ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.loads += [value for name, value in attrs if name in ("src", "href", "action", "data")]
        assert not any(name == "style" or name.startswith("on") for name, _ in attrs)
        if dict(attrs).get("http-equiv") == "Content-Security-Policy":
            self.policy = dict(attrs)["content"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in self.own:
            self.own[self.open[-1]].append(data)
        else:
            self.text += data


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two encoders, one with an awkward name, awkward classes, attributions with pictures, and a file that is none."""
    folder = tmp_path_factory.mktemp("runs")
    weights = {"jpeg-75": 900, "jpeg-50": 700, "webp-50": 500}
    for number, encoder in enumerate(["RN50", NASTY]):
        rows = made_up.nested({view: count - number for view, count in COUNTS.items()}, 100)
        names = [f"{NASTY}{c}" for c in range(10)]
        record = made_up.run_record(rows, encoder=encoder, data=NASTY, class_names=names, sizes=weights)
        record = replace(record, attribution={"baseline": NASTY, "indices": [0], "views": {}})
        attributions = made_up.write_run(folder / f"run{number}", record, rows, weights).parent / "attributions"
        attributions.mkdir()
        (attributions / "table.csv").write_text("index,label,predicted/jpeg-50,score/jpeg-50\n3,=cat,@dog,0.25\n")
        Image.new("RGB", (4, 4), (number, 0, 0)).save(attributions / "3.png")
    made_up.write_run(folder / "bad \x1b[31m\u202e", "[]")
    return folder


@pytest.fixture(scope="module")
def written(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parent") / "report"
    return Written(folder, runs, "--title", NASTY, "--against", "paper", "--drop", "12")


def test_page_is_well_formed_loads_nothing_and_shows_awkward_names_as_they_are(written):
    page = Page(written.page)
    assert all(re.match(r"#|data:image/(png|svg\+xml);base64,", address) for address in page.loads)
    assert page.text.count(NASTY) > 10
    for title in ("Precision against quality", "Precision by encoder and view", "How to read", "Not comparable:"):
        assert title in page.text
    assert "Without a quality, so not drawn: blur-2." in page.text


def test_policy_of_the_page_allows_its_own_style_and_script_and_nothing_else(written):
    page = Page(written.page)
    rules = dict(rule.split(" ", 1) for rule in page.policy.split("; "))
    assert (rules.pop("default-src"), rules.pop("img-src")) == ("'none'", "data:")
    for kind, texts in page.own.items():
        (text,) = texts
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules.pop(f"{kind}-src") == f"'sha256-{digest}'"
    assert set(rules.values()) == {"'none'"}


def test_figures_are_images_and_the_data_are_complete(written):
    figures = written.folder / "figures"
    assert {path.stem.rpartition("-")[2] for path in figures.glob("*.svg")} == {"precision", "rate", "classes"}
    for path in (file.with_suffix(".png") for file in figures.glob("*.svg")):
        with Image.open(path) as image:
            assert len(np.unique(np.asarray(image))) > 50
    cells = written.rows("cells.csv")
    assert [(row["view"], row["correct"]) for row in cells if row["label"] == "RN50"] == [
        (view, str(COUNTS[view])) for view in ("original", "jpeg-75", "jpeg-50", "webp-50", "jpeg-50-444", "blur-2")
    ]
    assert [row["broken"] for row in cells[:2]] == ["", "5"]
    assert {row["group"] for row in cells} == {
        path.name.removesuffix("-drop.tex") for path in written.folder.glob("tables/*-drop.tex")
    }
    assert len(written.rows("classes.csv")) == 2 * len(COUNTS) * 10
    assert len(written.rows("encoders.csv")) == len(COUNTS)


def test_markdown_tables_have_as_many_cells_in_each_line_as_in_their_head(written):
    width = None
    for line in written.markdown.splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else None
        assert width is None or cells is None or cells == width
        width = cells
    assert len(re.findall(r"^\| ---", written.markdown, re.MULTILINE)) == len(list(written.folder.glob("tables/*.tex")))


def test_the_screen_has_the_answer_what_is_not_used_and_nothing_that_steers_a_terminal(written):
    first, second, *answers = written.screen.splitlines()
    assert first.startswith("not used: ")
    assert first.endswith("list instead of a mapping")
    assert second.endswith("100 images:")
    assert "RN50" in answers[0]
    assert "a measured drop under 12 points are those of webp-50 (500 bytes" in answers[0]
    for text in (written.screen, written.page, written.markdown):
        assert not re.search("[\x1b\u202e]", text)
        assert "bad " in text


def test_pictures_are_copied_and_on_the_page(written):
    assert written.page.count("data:image/png") == 2
    copies = sorted((written.folder / "figures").glob("*-attribution-*.png"))
    assert all(copy.name in written.markdown for copy in copies)
    pixels = []
    for copy in copies:
        with Image.open(copy) as picture:
            pixels.append(picture.getpixel((0, 0)))
    assert sorted(pixels) == [(0, 0, 0), (1, 0, 0)]


def test_the_same_runs_give_the_same_bytes_in_place_of_an_older_report(written, runs, tmp_path):
    def contents(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    again = copytree(written.folder, tmp_path / "report")
    (again / "tables" / "stale.csv").write_text("old")
    Written(again, runs, "--title", NASTY, "--against", "paper", "--drop", "12")
    assert contents(again) == contents(written.folder)


def test_a_folder_that_holds_something_else_is_left_alone(runs, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "index.html").write_text("mine")
    with pytest.raises(UserError, match="holds something else than a report: choose another folder"):
        Written(tmp_path / "thesis", runs)
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["index.html"]


@pytest.mark.parametrize("files", [0, 1, 12])
def test_a_report_that_was_cut_off_at_any_file_is_written_by_the_same_command(runs, tmp_path, monkeypatch, files):
    written, replace = [], Path.replace

    def full(path, target):
        written.append(target)
        if len(written) > files:
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(UserError, match="cannot be written"):
            Written(tmp_path / "report", runs / "run0")
    page = tmp_path / "report" / "index.html"
    assert not files or "was interrupted while it was written: run the same command again" in page.read_text()
    Written(tmp_path / "report", runs / "run0")
    assert "was interrupted" not in page.read_text()


def test_what_a_kill_leaves_of_the_very_first_file_is_no_obstacle_and_goes(runs, tmp_path):
    (tmp_path / "report").mkdir()
    left = tmp_path / "report" / ".index.html.123"
    left.write_text("<!doc")
    Written(tmp_path / "report", runs / "run0")
    assert not left.exists()


def test_a_folder_that_cannot_be_written_is_the_users_mistake(runs, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be written \(.*\): choose another --output"):
        Written(tmp_path / "file" / "report", runs)


def test_escapes_cover_what_the_formats_read_as_markup_and_what_steers_a_reader():
    assert escape_markdown("[a](b) ![c]\n# d") == "[a\\](b) \\![c] \\# d"
    assert escape_latex("a_b & 5% \\ ~^ {}") == r"a\_b \& 5\% \textbackslash{} \textasciitilde{}\textasciicircum{} \{\}"
    for escape in (escape_markdown, escape_latex):
        assert not re.search("[\x1b\u202e\ud800]", escape("\x1b[31m \u202egpj.exe \ud800"))


def test_texts_that_a_spreadsheet_would_run_are_inert_and_numbers_keep_their_digits_and_signs():
    texts = ["=1+1", "+a", "-b", "@c", "\td", "e=f", "\ud800"]
    with pd.option_context("mode.string_storage", "python"):  # as the command has it
        frame = pd.DataFrame({"name": texts, "value": [-0.1, 1 / 3, *[np.nan] * 5]})
    lines = to_csv([frame]).splitlines()
    assert lines == ["name,value", "'=1+1,-0.1", "'+a,0.3333333333333333", "'-b,", "'@c,", "'\td,", "e=f,", "\\ud800,"]


def test_latex_table_is_a_booktabs_tabular_with_bold_best_and_details_below():
    frame = pd.DataFrame({"a": ["x_1"], "b": [0.5], "b_low": [0.0], "b_high": [1.0]})
    here = lambda frame: frame["b"] > 0  # noqa: E731
    column = Column("b", "B & C", ".1f", interval=True, bold=here, marked=here)
    lines = to_latex(Table("t", "T", frame, (Column("a"), column), note="50%.")).splitlines()
    assert r"\begin{tabular}{lr}" in lines
    assert r"\caption{T. 50\%.}" in lines
    assert r"a & B \& C \\" in lines
    cell = r"\shortstack[r]{\textbf{0.5}\textsuperscript{*}\\{\scriptsize [0.0, 1.0]}}"
    assert rf"x\_1 & {cell} \\" in lines
    assert [line for line in lines if line.endswith("rule")] == [r"\toprule", r"\midrule", r"\bottomrule"]


def test_a_report_imports_neither_torch_nor_lightning_nor_what_only_tests_need(runs, tmp_path):
    program = (
        "import sys; from bench.report.command import main; main(sys.argv[1:]); "
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    command = [sys.executable, "-W", "ignore", "-c", program, runs / "run0", "--output", tmp_path / "report"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    loaded = set(done.stdout.splitlines()[-1].split())
    assert {"pandas", "jinja2", "matplotlib"} <= loaded
    assert not loaded & {"torch", "lightning", "torchmetrics", "statsmodels", "sklearn"}
