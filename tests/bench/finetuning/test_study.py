"""The robustness study, step by step, on a few random images: fits, tests, report."""

from pathlib import Path

import pytest
import yaml

from bench.cli import main
from bench.command_line.yaml_text import read_yaml
from bench.report.command import main as report
from bench.sweep.attempts import State, state
from bench.sweep.grid import read_sweep
from tests.support.archives import write_cifar10
from tests.support.made_up import fit_record

METHODS = "augment,augment-control"
QUICK = [
    *("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", "--data.num_workers", "0"),
    *("--data.download", "false", "--data.verify_checksums", "false", "--data.limit", "20"),
]


@pytest.fixture(params=["robustness_study", "robustness_study_small"])
def name(request):
    return request.param


@pytest.fixture
def study(repository, tmp_path, monkeypatch, name):
    """Both sweeps of the study, in an empty folder that has its configurations."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(repository / "configs")
    write_cifar10(tmp_path / "data", count=20)
    fits = read_sweep(repository / f"configs/{name}_fits.yaml", None, {})
    tests = read_sweep(repository / f"configs/{name}.yaml", None, {})
    return {cell.name: cell for cell in fits}, {cell.name: cell for cell in tests}


def test_every_encoder_that_is_tested_is_one_that_is_fitted(study):
    fits, tests = study
    left = {str(cell.folder) for cell in fits.values()}
    wanted = {cell.options.get("model.pretrained", "").rpartition("/")[0] for cell in tests.values()} - {""}
    assert wanted == left
    for cell in fits.values():
        callbacks = read_yaml(Path(cell.config))["trainer"]["callbacks"]
        (writer,) = [one for one in callbacks if "Writer" in one["class_path"]]
        stem = writer["init_args"]["name"]
        files = {
            path.rpartition("/")[2]
            for test in tests.values()
            if (path := test.options.get("model.pretrained", "")).startswith(f"{cell.folder}/")
        }
        assert files <= {f"{stem}.safetensors", f"{stem}-0.5.safetensors", f"{stem}-0.75.safetensors"}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_fits_then_tests_then_the_report(study, name, tmp_path, tiny_clip, capsys):
    fits, _ = study
    chosen = ["--only", "seed=seed-0", "--only", f"method={METHODS}"]
    command = ["sweep", "--config", f"configs/{name}_fits.yaml", *chosen, *tiny_clip, *QUICK]
    with pytest.raises(SystemExit) as done:
        main([*command, "--trainer.max_epochs", "1"])
    assert done.value.code == 0, capsys.readouterr().out
    assert (tmp_path / fits["seed-0/augment"].folder / "augment.safetensors").is_file()

    encoder = tiny_clip[:2]
    for cell in ("original", "augment-0", "augment-control-0"):
        pretrained = tiny_clip[2:] if cell == "original" else []
        only = ["--only", f"tuned={cell}"] + (["--only", "config=cifar10"] if name == "robustness_study" else [])
        with pytest.raises(SystemExit) as done:
            main(["sweep", "--config", f"configs/{name}.yaml", *only, *encoder, *pretrained, *QUICK])
        assert done.value.code == 0, capsys.readouterr().out

    report([f"runs/{name}"])
    page = (tmp_path / "report" / "report.md").read_text()
    assert "Recovered share of the drop beyond the control" in page
    assert "control: clean-only, seeds 0" in page
    assert "not used" not in capsys.readouterr().out


def test_a_fit_is_done_when_its_record_is_there_and_its_options_are_those_asked_for(study, name, tmp_path, tiny_clip):
    options = dict(zip((key.removeprefix("--") for key in tiny_clip[::2]), tiny_clip[1::2], strict=True))
    options |= {"trainer.max_epochs": 1, "data.limit": 20, "data.verify_checksums": False}
    (cell, *_) = read_sweep(tmp_path / f"configs/{name}_fits.yaml", None, options)
    assert state(cell)[0] is State.OPEN
    cell.folder.mkdir(parents=True)
    (cell.folder / "config.yaml").write_text(yaml.safe_dump(cell.expected()))
    fit_record().write(cell.folder)
    assert state(cell)[0] is State.DONE
    longer = read_sweep(tmp_path / f"configs/{name}_fits.yaml", None, {**options, "trainer.max_epochs": 2})[0]
    assert state(longer) == (State.FAILED, f"{cell.folder} holds results with another trainer.max_epochs: remove it")
