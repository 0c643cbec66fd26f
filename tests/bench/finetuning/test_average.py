"""Means of weights: as functions, as a fit from the command line, and in what a report says of them."""

import hashlib
import re
import shutil
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from safetensors.torch import load_file, save_file

from bench import LinearCorrection, WeightAverage
from bench.cli import main
from bench.finetuning.interpolation import average
from bench.report.tuned import Tuned
from bench.runs.folder import RunFolder
from bench.runs.provenance import ModelRecord
from callbacks import ExponentialAverage, FineTuningWriter
from datamodules.errors import UserError
from tests.support.archives import write_cifar10
from tests.support.fits import few
from tests.support.made_up import fit_record

QUICK = [
    "--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.enable_progress_bar=false", "--data.num_workers=0",
    "--data.batch_size=8", "--data.verify_checksums=false", "--data.limit=20",
]  # fmt: skip

EXPORTS = fit_record().exports


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

    def run(module, name, epochs, seed=0, callbacks=()):
        folder = RunFolder(tmp_path / name)
        trainer = Trainer(
            accelerator="cpu", max_epochs=epochs, logger=False, enable_progress_bar=False, enable_checkpointing=False,
            enable_model_summary=False, num_sanity_val_steps=0, default_root_dir=folder.path,
            callbacks=[FineTuningWriter("linear", alphas=[]), *callbacks],
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


@pytest.fixture
def left(clip, tmp_path):
    """Makes the folder of a fit that learnt nothing; gives the file of its weights."""
    numbers = count()

    def make(exports=EXPORTS, **changes):
        folder = tmp_path / f"left-{next(numbers)}"
        folder.mkdir()
        file = shutil.copy(clip["vit"]["pretrained"], folder / exports[0].file)
        fit_record(exports=[replace(export, sha256=_sha256(file)) for export in exports], **changes).write(folder)
        return str(file)

    return make


def _sha256(file):
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def test_what_has_no_mean_is_refused_in_a_line(clip, fit, left, tmp_path):
    with pytest.raises(UserError, match="1 weights have no mean: give two files or more"):
        WeightAverage(["a.safetensors"], **clip["vit"])
    with pytest.raises(UserError, match=r"a\.safetensors has no record of its fit beside it"):
        WeightAverage([str(tmp_path / "a.safetensors")] * 2, **clip["vit"])
    with pytest.raises(UserError, match=r"was tuned from openai and not from .*: name what all members"):
        WeightAverage([left(seed=0), left(seed=1)], **clip["vit"])
    original = ModelRecord("vit", "x", weights_sha256=_sha256(clip["vit"]["pretrained"]))
    module = WeightAverage([left(original=original, seed=seed) for seed in (0, 1)], **clip["vit"])
    with pytest.raises(UserError, match="set `max_epochs` to 0"):
        fit(module, "mean", 1)
    with pytest.raises(UserError, match=r"has ExponentialAverage, .* this fit makes none: leave it out"):
        fit(module, "mean", 0, callbacks=[ExponentialAverage()])


def _changed(part, **changes):
    return replace(getattr(fit_record(), part), **changes)


@pytest.mark.parametrize(
    ("changes", "different"),
    [
        ({"method": {**fit_record().method, "objective": {"name": "Consistency", "label_free": True}}},
         r"method\.objective\.name, method\.objective\.label_free"),
        ({"training": _changed("training", epochs=9)}, r"training\.epochs"),
        ({"training": _changed("training", moving_average={"name": "no average"}, gradient_clip_val=0.0)},
         r"training\.moving_average, training\.gradient_clip_val"),
        ({"data": _changed("data", content="other")}, r"data\.content"),
        ({"validation_images": 3}, "validation_images"),
        ({"templates": ("{}",)}, "templates"),
        ({"original": ModelRecord("vit", "x", weights_sha256="1" * 64)}, "original"),
        ({"exports": [replace(EXPORTS[0], alpha=0.5)]}, "alpha"),
    ],
)  # fmt: skip
def test_fits_that_differ_in_more_than_their_seeds_are_refused(clip, left, changes, different):
    with pytest.raises(UserError, match=f"differs from .* in {different}: give fits that differ in their seeds alone"):
        WeightAverage([left(), left(seed=1, **changes)], **clip["vit"])


def test_a_fit_is_averaged_once(clip, left):
    file = left()
    for other in (file, left()):  # a copy of its folder
        with pytest.raises(UserError, match=f"has the seeds of {re.escape(file)}: give fits of different seeds"):
            WeightAverage([file, other], **clip["vit"])


def test_weights_that_are_not_those_of_the_record_are_refused(clip, left):
    files = [left(seed=0), left(seed=1)]
    changed = load_file(files[1])
    changed["visual.proj"] += 1.0
    save_file(changed, files[1])
    with pytest.raises(UserError, match=f"{re.escape(files[1])} is not what the record beside it lists: fit it anew"):
        WeightAverage(files, **clip["vit"])


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
