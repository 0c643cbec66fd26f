"""The tutorials run as printed: on tiny data and a tiny CLIP, or, where they need no download, as they are."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.cli import main
from tests.support.documents import python_blocks, shell_lines, words_of
from tests.support.options import WITHOUT_PICTURES

QUICK = ["--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.enable_progress_bar=false"]


@pytest.fixture
def clone(repository, tmp_path, monkeypatch):
    """A folder that looks like a clone to a program that only reads it, as the working folder."""
    for name in ("configs", "docs"):
        (tmp_path / name).symlink_to(repository / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["lightning"])
    return tmp_path


@pytest.fixture
def commands(repository):
    def commands(page, *starts):
        """Those of a page that start with one of these words, without `lightning`."""
        lines = [words_of(line) for line in shell_lines(repository / f"docs/{page}.md")]
        found = [words[1:] for words in lines if any(words[1 : 1 + len(start)] == start for start in starts)]
        assert len(found) >= len(starts)
        return found

    return commands


def run(words):
    """A command that has to end well."""
    status = 0
    try:
        main(words)
    except SystemExit as ending:
        status = ending.code or 0
    assert status == 0, words


@pytest.mark.filterwarnings("ignore")  # as in a program of a user
@pytest.mark.parametrize("number", [0, 1])
def test_python_runs_as_printed(repository, clone, number, capsys):
    exec(python_blocks(repository / "docs/python.md")[number], {})
    if number == 0:
        assert (clone / "explanation.png").read_bytes().startswith(b"\x89PNG")
    else:
        assert re.search(r"^jpeg-25 +0\.\d+$", capsys.readouterr().out, re.MULTILINE)


def test_no_python_of_a_page_is_left_out(repository):
    """Every block is run: of python.md here, of docs/extending here and in the tests of what they extend."""
    blocks = {page.stem: len(python_blocks(page)) for page in (repository / "docs").rglob("*.md")}
    assert {name: count for name, count in blocks.items() if count} == {
        "python": 2, "data_set": 1, "degradation": 1, "objective": 1, "quadrature_rule": 1, "encoder": 1,
    }  # fmt: skip
    assert python_blocks(repository / "README.md") == []


def test_a_codec_is_chosen(clone, commands, tiny_clip, capsys):
    rng = np.random.default_rng(0)
    for number, place in enumerate(["photos/cat", "photos/dog", "loose"] * 3):
        (clone / place).mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (24, 30, 3), dtype=np.uint8)).save(clone / place / f"{number}.png")
    few = [*tiny_clip, *QUICK, WITHOUT_PICTURES, "--data.num_workers=0", "--data.degradations=[jpeg-50, webp-50]"]
    names, measure, report, predict = commands("choose_codec", ["test"], ["report"], ["predict"])
    run([*measure, *few])
    run(report)
    answer = r"6 images of which a view repairs none cannot show a drop under 1 point; about \d+ can"
    assert re.search(answer, capsys.readouterr().out)
    assert (clone / "report/index.html").is_file()
    run([*names, *few, "--data.class_names={cat: tabby cat}"])  # the page's own folder is called n02123045
    assert "tabby cat" in Path("runs/image_folder/version_1/results.json").read_text()
    assert "tabby cat" not in Path("runs/image_folder/version_0/results.json").read_text()
    run([*predict, *few])
    assert "flips" in capsys.readouterr().out


def test_an_encoder_is_added(repository, clone, commands, capsys):
    exec(python_blocks(repository / "docs/extending/encoder.md")[0], {})
    [words] = [words for words in commands("extending/encoder", ["test"]) if "mine.json" in words]
    run([*words, *QUICK, WITHOUT_PICTURES, "--data.num_workers=0", "--data.limit=20"])
    assert "mine (mine.safetensors) on synthetic/test, 20 images" in capsys.readouterr().out


@pytest.mark.slow
def test_the_demo_of_the_front_page_ends_in_its_table(repository, clone, capsys):
    [printed] = re.findall(r"^```\n(demo-rn .*?)^```", (repository / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    run(["test", "--config", "configs/demo.yaml", *QUICK, WITHOUT_PICTURES])
    shown = capsys.readouterr().out
    head, table = printed.split("\n\n")
    assert head in shown
    for line in table.splitlines()[1:]:
        name, *expected = re.split(r"  +", line.strip())
        found = re.search(rf"^{re.escape(name)} +(.*)$", shown, re.MULTILINE)
        assert found, name
        # a prediction that is a tie to rounding may differ between processors
        assert [float(v) for v in found[1].split()] == pytest.approx([float(v) for v in expected], rel=5e-3, abs=2e-3)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_grid_of_the_demo_is_reproduced(clone, commands, capsys):
    for words in commands("reproduce", ["sweep", "--config", "configs/demo_sweep.yaml"], ["report", "runs/demo_sweep"]):
        run(words)
    assert "4 result files" in capsys.readouterr().out


@pytest.mark.slow
def test_attributions_of_the_demo_are_made(clone, commands):
    [as_it_is, *others] = [words for words in commands("attribution", ["test"]) if "configs/demo_ig.yaml" in words]
    for version, words in enumerate((as_it_is, *others)):
        run([*words, *QUICK, "--data.limit=60"])
        assert list((clone / f"runs/demo_ig/version_{version}/attributions").glob("*.png"))


@pytest.mark.slow
def test_the_demos_encoder_is_repaired(clone, commands, capsys):
    few = ["--trainer.max_epochs=1", "--data.limit=3000", "--data.num_workers=0"]
    run([*commands("repair", ["fit", "--config", "configs/demo_finetune.yaml"])[0], *QUICK, *few])
    run([*commands("repair", ["test", "--config", "configs/demo.yaml"])[0], *QUICK, WITHOUT_PICTURES])
    drop = re.search(r"drop \(points\) .* ([\d.]+)$", capsys.readouterr().out, re.MULTILINE)
    assert float(drop[1]) < 39.3  # jpeg-25, before the repair
