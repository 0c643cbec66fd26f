"""Means of weights: as functions, as a fit from the command line, and in what a report says of them."""

import hashlib
import shutil
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from safetensors.torch import load_file

from bench import LinearCorrection, WeightAverage
from bench.cli import main
from bench.finetuning.interpolation import average
from bench.report.tuned import Tuned
from bench.runs.folder import RunFolder
from bench.runs.provenance import ModelRecord
from callbacks import FineTuningWriter
from datamodules.errors import UserError
from tests.support.archives import write_cifar10
from tests.support.fits import few
from tests.support.made_up import fit_record

QUICK = [
    "--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.enable_progress_bar=false", "--data.num_workers=0",
    "--data.batch_size=8", "--data.verify_checksums=false", "--data.limit=20",
]  # fmt: skip


def test_equal_tensors_and_integers_stay_as_they_are_bit_for_bit():
    same, whole = torch.tensor([0.1, -0.0]), torch.tensor([3])
    states = [{"w": torch.tensor([value]), "same": same.clone(), "n": whole} for value in (0.0, 1.0, 5.0)]
    mean = average(states)
    assert mean["w"].item() == 2
    assert mean["same"].view(torch.int32).equal(same.view(torch.int32))
    assert mean["n"] is whole
    with pytest.raises(ValueError, match="two architectures"):
        average([{"a": same}, {"b": same}])


@pytest.fixture
def fit(tmp_path):
    """Runs a module in a folder of a name; gives the folder."""

    def run(module, name, epochs, seed=0):
        folder = RunFolder(tmp_path / name)
        trainer = Trainer(
            accelerator="cpu", max_epochs=epochs, logger=False, enable_progress_bar=False, enable_checkpointing=False,
            enable_model_summary=False, num_sanity_val_steps=0, default_root_dir=folder.path,
            callbacks=[FineTuningWriter("linear", alphas=[])],
        )  # fmt: skip
        trainer.fit(module, datamodule=few(seed=seed))
        return folder

    return run


def test_the_mean_of_fits_is_exported_and_recorded_as_they_are(clip, fit):
    fits = [fit(LinearCorrection(**clip["vit"]), f"seed-{seed}", 1, seed) for seed in (0, 1)]
    members = [str(folder.path / "linear.safetensors") for folder in fits]
    made = fit(WeightAverage(members, **clip["vit"]), "mean", 0)
    record, first = made.finetuning_record(), fits[0].finetuning_record()
    weights = [load_file(file) for file in (*members, made.path / "linear.safetensors")]
    moved = [name for name in weights[0] if not weights[0][name].equal(weights[1][name])]
    assert moved
    for name, tensor in weights[2].items():
        expected = (weights[0][name].double() + weights[1][name].double()).div(2).float()
        assert tensor.equal(expected if name in moved else weights[0][name]), name
    assert record.members == tuple(folder.finetuning_record().exports[-1].sha256 for folder in fits)
    assert (record.training, record.original) == (first.training, first.original)
    assert record.method == {**first.method, "average": {"name": "linear", "seeds": [0, 1]}}
    assert Tuned(record, 1.0).title == "linear, mean of 2 seeds"


def test_what_has_no_mean_is_refused_in_a_line(clip, fit, tmp_path):
    with pytest.raises(UserError, match="1 weights have no mean: give two files or more"):
        WeightAverage(["a.safetensors"], **clip["vit"])
    with pytest.raises(UserError, match=r"a\.safetensors has no record of its fit beside it"):
        WeightAverage([str(tmp_path / "a.safetensors")] * 2, **clip["vit"])
    (tmp_path / "one").mkdir()
    files = [str(shutil.copy(clip["vit"]["pretrained"], tmp_path / "one/encoder.safetensors"))] * 2
    fit_record().write(tmp_path / "one")
    with pytest.raises(UserError, match=r"was tuned from openai and not from .*: name what all members"):
        WeightAverage(files, **clip["vit"])
    original = ModelRecord("vit", "x", weights_sha256=hashlib.sha256(Path(files[0]).read_bytes()).hexdigest())
    fit_record(original=original).write(tmp_path / "one")
    with pytest.raises(UserError, match="set `max_epochs` to 0"):
        fit(WeightAverage(files, **clip["vit"]), "two", 1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*log_every_n_steps")
def test_the_configuration_averages_what_two_fits_left(repository, tmp_path, monkeypatch, tiny_clip, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["lightning"])
    write_cifar10(tmp_path / "data", count=20)
    files = [f"runs/x/{name}/linear.safetensors" for name in ("one", "other")]
    for config, version, *words in (
        ("linear", "one", "--trainer.max_epochs=1"),
        ("linear", "other", "--trainer.max_epochs=1", "--data.seed=1"),
        ("average", "mean", f"--model.members=[{', '.join(files)}]"),
    ):
        place = ["--trainer.logger.name=x", f"--trainer.logger.version={version}"]
        main(["fit", "--config", f"{repository}/configs/finetune/{config}.yaml", *tiny_clip, *QUICK, *place, *words])
    assert "written to runs/x/mean/average.safetensors" in capsys.readouterr().out
