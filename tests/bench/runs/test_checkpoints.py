"""Checkpoints are local, for fit and validate only, and run nothing."""

import os
import warnings
import zipfile

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from bench.cli import main
from bench.clip.weights import read_weights
from bench.evaluation import ZeroShotEvaluation
from bench.finetuning import Consistency, Norms, RobustFineTuning
from bench.runs.checkpoints import check_checkpoint
from datamodules import Synthetic
from datamodules.errors import UserError
from datamodules.training import TrainingViews
from tests.support.checkpoints import VIT, build, save_safetensors, write_config
from tests.support.hostile import Overwrite, save_scripted, saved

ADDRESSES = [
    "http://localhost:1/a.ckpt", "HTTPS://localhost:1/a.ckpt", "s3://bucket/a.ckpt", "hf://someone/clip/a.ckpt",
    "gs://bucket/a", "file:///etc/passwd", "memory://a", "simplecache::http://localhost:1/a", "registry:a", "registry",
]  # fmt: skip


@pytest.fixture
def quiet(tmp_path):
    """Options of a trainer that shows and writes nothing but checkpoints."""
    return {
        "accelerator": "cpu", "devices": 1, "max_epochs": 1, "logger": False, "enable_progress_bar": False,
        "enable_model_summary": False, "default_root_dir": tmp_path, "num_sanity_val_steps": 0,
    }  # fmt: skip


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    weights = save_safetensors(build(VIT), folder / "w.safetensors")
    return {"encoder": write_config(folder, VIT), "pretrained": weights}


def tuning(clip):
    return RobustFineTuning(Consistency(), Norms(), **clip)


def data():
    views = TrainingViews({"jpeg-{}": [10, 90]})
    return Synthetic(
        degradations=["original", "jpeg-25"], training_views=views, limit=12, validation_every=4, batch_size=6,
        num_workers=0,
    )  # fmt: skip


@pytest.fixture
def last(clip, quiet, tmp_path):
    """The checkpoint of a fit."""
    trainer = Trainer(**quiet, callbacks=[ModelCheckpoint(tmp_path / "fit", save_last=True)])
    trainer.fit(tuning(clip), datamodule=data())
    return tmp_path / "fit" / "last.ckpt"


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("command", ["fit", "validate"])
def test_an_address_is_refused_whatever_its_scheme(command, address):
    with pytest.raises(UserError, match=r"is no local file: download it"):
        check_checkpoint(address, command)


@pytest.mark.parametrize("command", ["test", "predict"])
@pytest.mark.parametrize("path", ["last", "best", "hpc", "http://localhost:1/a.ckpt", "some.ckpt"])
def test_commands_that_record_other_weights_take_no_checkpoint(command, path):
    with pytest.raises(UserError, match=rf"{command} measures the weights of `pretrained`.*\.safetensors"):
        check_checkpoint(path, command)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is no checkpoint of a fit"),
        (b"PK\x03\x04 cut short", "is no checkpoint of a fit"),
        (saved({"a": torch.ones(1)}), "it holds no state_dict"),
        (saved({"state_dict": {}}), "it holds no pytorch-lightning_version"),
        (saved({"state_dict": {}, "pytorch-lightning_version": "2.6"}), "it holds no epoch"),
        (saved([1]), "it holds no state_dict"),
    ],
)
def test_a_file_that_is_no_checkpoint_of_a_fit_is_one_line(tmp_path, content, match):
    path = tmp_path / "a.ckpt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=match) as error:
        check_checkpoint(path, "fit")
    assert "\n" not in str(error.value)


def test_what_is_no_file_is_one_line(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, match in [("nowhere.ckpt", "does not exist"), (tmp_path, "is a folder"), (tmp_path / "pipe", "pipe")]:
        with pytest.raises(UserError, match=match):
            check_checkpoint(path, "validate")
    for word in ("best", "hpc"):
        with pytest.raises(UserError, match=f"`ckpt_path` {word} is known only"):
            check_checkpoint(word, "fit")
    check_checkpoint("last", "fit")  # a fit that is to go on, if there is one
    check_checkpoint(None, "test")


def _command(tmp_path, way, value, monkeypatch):
    """Words and surroundings that give a `ckpt_path`, and the rest of what a fit needs."""
    options = ["--model", "bench.ZeroShotEvaluation", "--data", "datamodules.Synthetic"]
    if way == "argument":
        return [*options, f"--ckpt_path={value}"]
    if way == "configuration":
        (tmp_path / "c.yaml").write_text(f"ckpt_path: {value}\n")
        return ["--config", str(tmp_path / "c.yaml"), *options]
    monkeypatch.setenv("JSONARGPARSE_DEFAULT_ENV", "true")
    for command in ("FIT", "VALIDATE", "TEST", "PREDICT"):
        monkeypatch.setenv(f"PL_{command}__CKPT_PATH", value)
    return options


@pytest.mark.parametrize("way", ["argument", "configuration", "environment"])
@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_the_command_line_refuses_an_address_however_it_is_given(tmp_path, way, command, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["lightning"])
    words = _command(tmp_path, way, "http://localhost:1/a.ckpt", monkeypatch)
    with pytest.raises(SystemExit) as exit:
        main([command, *words])
    assert exit.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "--ckpt_path http://localhost:1/a.ckpt" in line


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("command", ["fit", "validate"])
def test_nothing_in_a_checkpoint_is_run(command, clip, quiet, last, tmp_path):
    """The payload sits in an otherwise complete checkpoint, where Lightning would unpickle it."""
    target = tmp_path / "was_here"
    content = torch.load(last, weights_only=True)
    bad = tmp_path / "bad.ckpt"
    bad.write_bytes(saved({**content, "payload": Payload(target)}))
    with pytest.raises(UserError, match=r"bad\.ckpt is no checkpoint.*nothing in it was run"):
        getattr(Trainer(**quiet), command)(tuning(clip), datamodule=data(), ckpt_path=bad)
    victim = tmp_path / "victim"
    victim.write_bytes(b"innocent")
    scripted = save_scripted(Overwrite(victim), tmp_path / "scripted.ckpt")
    with pytest.raises(UserError, match="nothing in it was run"):
        getattr(Trainer(**quiet), command)(tuning(clip), datamodule=data(), ckpt_path=scripted)
    assert victim.read_bytes() == b"innocent"
    assert not target.exists()
    torch.load(bad, weights_only=False)
    assert target.exists(), "the test's own payload does nothing"


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_weights_only_holds_whatever_is_asked_for(clip, quiet, last, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    asked = []
    load = torch.load

    def watched(*arguments, **options):
        asked.append(options.get("weights_only"))
        return load(*arguments, **options)

    monkeypatch.setattr("torch.load", watched)
    Trainer(**quiet).validate(tuning(clip), datamodule=data(), ckpt_path=last, weights_only=False, verbose=False)
    assert asked == [True]


@pytest.mark.parametrize("command", ["test", "predict"])
def test_a_trainer_without_the_command_line_measures_no_checkpoint_either(command, clip, quiet, last):
    with pytest.raises(UserError, match=r"measures the weights of `pretrained`"):
        getattr(Trainer(**quiet), command)(ZeroShotEvaluation(**clip), datamodule=data(), ckpt_path=last)


def test_a_zip_bomb_is_no_checkpoint(last):
    with zipfile.ZipFile(last, "a", zipfile.ZIP_DEFLATED) as archive:
        root = archive.namelist()[0].split("/")[0]
        archive.writestr(f"{root}/data/9999", bytes(2**20))
    with pytest.raises(UserError, match="is compressed"):
        check_checkpoint(last, "validate")


def test_the_checkpoint_of_a_fit_is_no_encoder_and_the_mend_is_said(last):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserError, match=r"last\.ckpt is the checkpoint of a fit: give the \.safetensors file"):
            read_weights(last)
