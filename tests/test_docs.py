"""README and documentation: commands are understood, links lead somewhere, figures and generated pages are current."""

import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import bench
from bench.cli import main
from bench.command_line import options_page
from bench.command_line.configs import find_config
from bench.command_line.help import COMMANDS, LIGHTNING_COMMANDS, option_names
from datamodules import Synthetic
from datamodules.degradations import registry
from tests.support.documents import anchors, links, pages, python_blocks, shell_lines, words_of

ROOT = Path(__file__).resolve().parents[1]
PAGES = pages(ROOT)
LINES = {page: [words_of(line) for line in shell_lines(page)] for page in PAGES}
COMMAND_LINES = sorted({tuple(words) for lines in LINES.values() for words in lines})
LIGHTNING = [words[1:] for words in COMMAND_LINES if words[0] == "lightning"]
OF_TODAY = [page for page in PAGES if page.name not in ("CHANGELOG.md", "options.md")]
"""All that is written by hand and says what there is."""
DEEP = {
    options
    for page in OF_TODAY
    for options in re.findall(r"`(--(?:model|data|trainer)[^`]*)`", page.read_text(encoding="utf-8"))
    if re.search(r"--\w+\.\w+\.\w", options)
}
OF_THE_README = [tuple(words[1:]) for words in LINES[ROOT / "README.md"]]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder like a checkout, with the modules that pages about extensions make."""
    for name in ("configs", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    for page, module in (("data_set", "stripes"), ("objective", "angle"), ("quadrature_rule", "simpson")):
        [code] = python_blocks(ROOT / f"docs/extending/{page}.md")
        (tmp_path / f"{module}.py").write_text(code)
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    monkeypatch.setattr("sys.argv", ["lightning"])
    return tmp_path


class TestCommands:
    """Of all blocks of all pages."""

    @pytest.mark.parametrize("words", LIGHTNING, ids=" ".join)
    def test_command_configuration_and_options_exist(self, words):
        command, *rest = words
        assert command in COMMANDS
        for option, value in zip(rest, [*rest[1:], ""], strict=True):
            if option == "--config":
                assert find_config(value)
        if command in LIGHTNING_COMMANDS:
            known = tuple(option_names(command, rest))
            for option in (word for word in rest if word.startswith("--")):
                assert ".".join(option.split(".")[:2]) in known

    @pytest.mark.parametrize(
        "words",
        [pytest.param(words, marks=[] if words in OF_THE_README else pytest.mark.slow) for words in LIGHTNING],
        ids=" ".join,
    )
    def test_command_is_parsed_up_to_the_work(self, words, folder, monkeypatch, capsys):
        if words[0] in LIGHTNING_COMMANDS:
            with pytest.raises(SystemExit) as ending:
                main([*words, "--print_config"])
            assert ending.value.code in (None, 0), capsys.readouterr().err
            assert "class_path: " in capsys.readouterr().out
            return

        class BeginsError(Exception):
            """The work would begin here."""

        def begin(*args, **kwargs):
            raise BeginsError

        for work in (
            "sweep.runner.run_cells",
            "sweep.costs.dry_run",
            "report.inputs.read_inputs",
            "tables.command._show",
        ):
            monkeypatch.setattr(f"bench.{work}", begin)
        for work in ("folder", "configured", "built"):
            monkeypatch.setattr(f"bench.command_line.data.{work}", begin)
        with pytest.raises(BeginsError):
            main(list(words))

    def test_other_programs_are_targets_of_make_and_modules(self):
        targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
        for program, *words in COMMAND_LINES:
            if program == "make":
                assert words[0] in targets
            elif program != "lightning":
                assert program == "python", program
        modules = {module for page in PAGES for module in re.findall(r"python -m ([\w.]*\w)", page.read_text())}
        assert {"bench.metrics", "benchmarks.fidelity"} <= modules
        assert [module for module in sorted(modules - {"venv"}) if find_spec(module) is None] == []

    def test_options_in_running_text_exist(self):
        known = {name for command in LIGHTNING_COMMANDS for name in option_names(command, [])}
        known |= set(re.findall(r"`(--[\w.]+)`", (ROOT / "docs/options.md").read_text()))  # of all classes
        for page in OF_TODAY:
            named = set(re.findall(r"--(?:model|data|trainer)\.[a-z_]+", page.read_text(encoding="utf-8")))
            assert named <= known, page

    @pytest.mark.parametrize("options", sorted(DEEP))
    def test_options_of_parts_in_running_text_are_parsed(self, options, folder, capsys):
        with pytest.raises(SystemExit) as ending:
            main(["test", "--config", "demo", *words_of(options), "--print_config"])
        assert ending.value.code in (None, 0), capsys.readouterr().err


class TestLinks:
    """Between the pages, without a network."""

    @pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
    def test_relative_links_lead_to_files_and_headings(self, page):
        for link in links(page):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), f"{page.name}: {link}"
            assert target.is_relative_to(ROOT), f"{page.name}: {link}"
            assert not anchor or anchor in anchors(target), f"{page.name}: {link}"

    def test_every_picture_is_shown_and_every_page_is_in_the_navigation(self):
        shown = {(page.parent / link).resolve() for page in PAGES for link in links(page)}
        assert set((ROOT / "docs").rglob("*.png")) <= shown
        navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
        for page in (ROOT / "docs").rglob("*.md"):
            assert re.search(rf"[ :]{re.escape(str(page.relative_to(ROOT / 'docs')))}$", navigation, re.MULTILINE), page


def test_options_are_made_of_the_help():
    assert (ROOT / "docs/options.md").read_text(encoding="utf-8") == options_page.page()


def test_the_front_page_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 110


def test_sums_of_the_attribution_on_the_page_are_those_of_the_demo():
    page = " ".join((ROOT / "docs/attribution.md").read_text(encoding="utf-8").split())
    encoder = bench.load_encoder(
        *(str(ROOT / f"configs/models/demo-rn.{ending}") for ending in ("json", "safetensors"))
    )
    data = Synthetic(num_workers=0)
    data.setup("test")
    classifier = bench.ZeroShotClassifier(encoder, data.class_names)
    source = data.source("test")
    sums = [
        bench.explain(classifier, source.load(49), view, source.label(49)).total
        for view in ("jpeg-75", "jpeg-50", "jpeg-25")
    ]
    assert "{:+.1f}, {:+.1f} and {:+.1f} nats".format(*sums) in page
    assert data.class_names[source.label(49)] in page
