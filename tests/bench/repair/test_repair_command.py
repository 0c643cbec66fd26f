"""`lightning repair` as a user types it."""

from functools import partial

import pytest

from bench.cli import main
from bench.sweep.attempts import CellProcesses
from tests.support.processes import Command

QUICK = [
    *("--data.num_workers=0", "--trainer.accelerator=cpu", "--fits.trainer.max_epochs=1", "--fits.data.limit=60"),
    *("--tests.data.limit=20", "--fits.model.learning_rate=1e-4"),
]


def ended(*words):
    with pytest.raises(SystemExit) as caught:
        main(["repair", *words])
    return caught.value.code or 0


def test_a_dry_run_says_what_would_be_done_and_leaves_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert ended("--config", "demo", "--dry-run") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("demo_finetune of demo-rn: 5 epochs, 1 seed")
    assert "fitted to 5,400 images of the train split of synthetic, tested on its test split" in printed
    assert "tests/seed-0/tuned/share-1" in printed
    assert not list(tmp_path.iterdir())


def test_a_fit_that_fails_ends_in_its_reason_and_is_tried_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ran = []

    def fail(_processes, cell, _place):
        ran.append(cell.name)
        (cell.folder / "sweep.log").write_text("error: out of memory\n")
        return 1

    monkeypatch.setattr(CellProcesses, "run", fail)
    for _ in range(2):
        assert ended("--config", "demo", *QUICK) == 1
        assert "fits/seed-0/tuned: out of memory; see" in capsys.readouterr().out
    assert ran == ["fits/seed-0/tuned", "tests/original"] * 2
    assert not (tmp_path / "runs/repair/demo/report").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config", "nowhere"], "'nowhere' is no file"),
        (["--config", "demo", "--bogus", "3"], "'--bogus' is no option of a repair"),
        (["--config", "demo", "--data.rooot", "x"], "Option 'rooot' is not accepted"),
        (["--config", "image_folder", "--data.root", "lost"], "data root 'lost' is not a folder"),
        (["--config", "demo", "--seeds", "0"], "'0' is no whole number from 1"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_written(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert ended(*words) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message in line
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_repair_that_is_killed_at_any_point_goes_on_and_ends_in_a_report(tmp_path, repository):
    words = ["repair", "--config", "demo", "--fit", "finetune/augment", *QUICK]
    place = tmp_path / "runs/repair/demo"
    work = partial(Command, words, tmp_path, environment={"PYTHONPATH": str(repository)})
    for step in ("fits/**/unfinished", "fits/**/finetuning.json", "tests/**/unfinished", "tests/**/results.json"):
        assert not list(place.glob(step))
        with work() as begun:  # which ends in SIGKILL
            begun.wait_for(lambda step=step: list(place.glob(step)), 240)
    with work() as done:
        assert done.wait(600) == 0, done.errors
    assert "[5/5] tests/seed-0/control/share-1: done" in done.printed
    assert done.printed.splitlines()[-1].startswith("weights: runs/repair/demo/fits/seed-0/tuned/augment.safetensors; ")
    assert [log.read_text().count("written to") for log in sorted(place.rglob("sweep.log"))] == [1] * 5
    page = (place / "report/report.md").read_text()
    assert "Recovered share of the drop beyond the control" in page
    assert "control: clean-only, seeds 0" in page
    with work() as again:
        assert again.wait(240) == 0, again.errors
    assert again.printed.count("done before") == 5
