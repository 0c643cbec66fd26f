"""Training a CLIP from nothing: it learns, and leaves a file that the benchmark loads."""

import json
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from safetensors import safe_open
from safetensors.torch import load_file
from torchmetrics.classification import MulticlassPrecision

from bench.cli import main
from bench.clip.encoders import load_encoder
from bench.clip.zero_shot import ZeroShotClassifier
from bench.finetuning.pretraining import ClipPretraining
from datamodules.errors import UserError
from datamodules.synthetic import Synthetic
from tests.support.fits import Losses

pytestmark = [
    # Lightning 2.6 on jsonargparse 4.50
    pytest.mark.filterwarnings(r"ignore:(?s).*(deprecated in v4|JsonargparseDeprecation)"),
    pytest.mark.filterwarnings("ignore:.*log_every_n_steps"),  # runs of a few steps
]
ROOT = Path(__file__).resolve().parents[3]
MODELS = ROOT / "configs" / "models"
TEMPLATE = "This is an image of a {}."
TINY = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
}


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(TINY), encoding="utf-8")
    return str(path)


def fit(config, folder, data=None, ckpt_path=None, more=(), **options):
    seed_everything(0)
    losses = Losses()
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        callbacks=[losses, *more],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **{"max_epochs": 3, "enable_checkpointing": False, **options},
    )
    module = ClipPretraining(config, folder / "trained.safetensors", learning_rate=1e-2)
    data = data or Synthetic(degradations=["original", "jpeg-25"], limit=200, batch_size=45, num_workers=0)
    trainer.fit(module, datamodule=data, ckpt_path=ckpt_path)
    return trainer, module, losses.values


def test_a_short_fit_learns_and_leaves_a_file_that_the_benchmark_loads(config, tmp_path):
    trainer, module, losses = fit(config, tmp_path)
    assert len(losses) == 12
    assert sum(losses[-4:]) < 0.97 * sum(losses[:4])
    assert set(trainer.callback_metrics) == {"train/loss", "val/precision/original", "val/precision/jpeg-25"}

    with safe_open(tmp_path / "trained.safetensors", framework="pt") as file:
        assert file.metadata()["activation"] == "quickgelu"
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118 (not a dict)
    encoder = load_encoder(config, str(tmp_path / "trained.safetensors"))
    for name, parameter in encoder.model.state_dict().items():
        torch.testing.assert_close(parameter, module.model.state_dict()[name], rtol=1e-3, atol=1e-6)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_logged_precision_is_that_of_the_exported_file(config, tmp_path):
    data = Synthetic(size="both", degradations=["original"], limit=200, batch_size=64, num_workers=0)
    trainer, _, _ = fit(config, tmp_path, data)
    encoder = load_encoder(config, str(tmp_path / "trained.safetensors"))
    classifier = ZeroShotClassifier(encoder, data.class_names, [TEMPLATE])
    right = sum(
        int((classifier(batch.views["original"]).argmax(dim=1) == batch.labels).sum())
        for batch in data.val_dataloader()
    )
    assert abs(right / 20 - float(trainer.callback_metrics["val/precision/original"])) <= 1 / 20  # float16 may flip one


def test_the_same_seed_gives_the_same_losses(config, tmp_path):
    assert fit(config, tmp_path, max_epochs=1)[2] == fit(config, tmp_path, max_epochs=1)[2]


def test_a_trial_run_leaves_the_weights_alone(config, tmp_path):
    (tmp_path / "trained.safetensors").write_bytes(b"precious")
    fit(config, tmp_path, fast_dev_run=1)
    assert (tmp_path / "trained.safetensors").read_bytes() == b"precious"


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_a_fit_that_was_killed_before_it_wrote_leaves_its_weights_all_the_same(config, tmp_path):
    class Kill(Callback):
        def on_train_end(self, trainer, pl_module):
            raise RuntimeError("killed")

    def watched(folder, *others, **options):
        more = [ModelCheckpoint(folder, save_last=True), *others]
        fit(config, folder, max_epochs=1, more=more, enable_checkpointing=True, **options)
        return load_file(folder / "trained.safetensors")

    whole = watched(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="killed"):
        watched(tmp_path / "killed", Kill())
    assert not (tmp_path / "killed/trained.safetensors").exists()
    left = watched(tmp_path / "killed", ckpt_path=tmp_path / "killed/last.ckpt")
    assert all(left[name].equal(tensor) for name, tensor in whole.items())
    with pytest.raises(UserError, match=r"trainer\.gradient_clip_val 0\.0, not 1\.0"):
        watched(tmp_path / "other", ckpt_path=tmp_path / "killed/last.ckpt", gradient_clip_val=1.0)


def test_diverged_weights_are_refused_and_nothing_is_written(config, tmp_path):
    class Diverge(ClipPretraining):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            self.model.logit_scale.data.fill_(torch.inf)

    module = Diverge(config, tmp_path / "trained.safetensors")
    trainer = Trainer(
        accelerator="cpu", max_steps=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0,
    )  # fmt: skip
    with pytest.raises(UserError, match=r"diverged at `learning_rate` 0\.002"):
        trainer.fit(module, datamodule=Synthetic(degradations=["original"], limit=20, num_workers=0))
    assert not (tmp_path / "trained.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_epochs": -1, "max_time": {"seconds": 1}}, "`max_epochs` -1 leaves open over how many steps"),
        ({"max_epochs": 0}, "the fit makes no step"),
        ({"precision": "bf16-true"}, "`precision` bf16-true keeps the weights in another type"),
    ],
)
def test_a_fit_that_cannot_end_in_weights_is_refused(config, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        fit(config, tmp_path, **options)
    assert not (tmp_path / "trained.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "weights.pt"}, "end it with .safetensors"),
        ({"templates": ["an image"]}, "template 'an image' must contain '{}' once"),
        ({"templates": []}, "there are no templates"),
        ({"learning_rate": 0.0}, "`learning_rate` 0.0 is out of range"),
        ({"weight_decay": -1.0}, "`weight_decay` -1.0 is out of range"),
        ({"warmup": 1.0}, "`warmup` 1.0 is out of range"),
        ({"encoder": "missing.json"}, "model configuration missing.json does not exist"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(config, tmp_path, options, message):
    with pytest.raises(UserError) as error:
        ClipPretraining(**{"encoder": config, "output": tmp_path / "trained.safetensors", **options})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_configuration_of_something_else_is_refused(tmp_path):
    (tmp_path / "other.json").write_text('{"layers": 3}', encoding="utf-8")
    with pytest.raises(UserError, match="is no open_clip model configuration: add embed_dim"):
        ClipPretraining(str(tmp_path / "other.json"), tmp_path / "trained.safetensors")


def lightning(monkeypatch, arguments):
    monkeypatch.setattr(sys, "argv", ["lightning", *arguments])
    main()


def precision(encoder, size, views, limit):
    """Micro precision per view on the test split, by torchmetrics."""
    data = Synthetic(size=size, degradations=views, limit=limit, num_workers=0, batch_size=200)
    data.setup("test")
    classifier = ZeroShotClassifier(encoder, data.class_names, [TEMPLATE])
    metrics = {view: MulticlassPrecision(10, average="micro") for view in views}
    with torch.inference_mode():
        for batch in data.test_dataloader():
            for view, images in batch.views.items():
                metrics[view].update(classifier(images), batch.labels)
    return [float(metric.compute()) for metric in metrics.values()]


@pytest.mark.parametrize("name", ["demo-rn", "demo-vit"])
@pytest.mark.parametrize("size", [32, 96])
def test_the_shipped_weights_show_the_phenomenon_on_held_out_images(name, size):
    encoder = load_encoder(str(MODELS / f"{name}.json"), str(MODELS / f"{name}.safetensors"))
    original, jpeg_75, jpeg_50, jpeg_25 = precision(encoder, size, ["original", "jpeg-75", "jpeg-50", "jpeg-25"], 200)
    assert original >= 0.95
    assert original - 0.10 >= jpeg_25
    assert original >= jpeg_75 >= jpeg_50 >= jpeg_25


def test_the_demo_configuration_trains_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    command = ["fit", "--config", "configs/demo_train.yaml", "--model.output", f"{tmp_path}/demo.safetensors"]
    small = ["--data.limit", "40", "--data.num_workers", "0", "--data.batch_size", "18", "--trainer.max_epochs", "1"]
    logs = ["--trainer.logger.init_args.save_dir", str(tmp_path), "--trainer.enable_progress_bar", "false"]
    lightning(monkeypatch, [*command, *small, *logs, "--trainer.accelerator", "cpu"])
    assert load_encoder("configs/models/demo-rn.json", f"{tmp_path}/demo.safetensors").image_size == 64


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_retraining_reaches_the_shipped_precision(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    command = ["fit", "--config", "configs/demo_train.yaml", "--model.output", f"{tmp_path}/demo.safetensors"]
    logs = ["--trainer.logger.init_args.save_dir", str(tmp_path)]
    lightning(monkeypatch, [*command, *logs, "--trainer.accelerator", "cpu"])
    encoder = load_encoder("configs/models/demo-rn.json", f"{tmp_path}/demo.safetensors")
    shipped = load_encoder("configs/models/demo-rn.json", "configs/models/demo-rn.safetensors")
    for size in (32, 96):
        original, jpeg_25 = precision(encoder, size, ["original", "jpeg-25"], 1000)
        assert original >= 0.95
        assert original - jpeg_25 >= 0.10
        assert abs(original - precision(shipped, size, ["original"], 1000)[0]) <= 0.01
