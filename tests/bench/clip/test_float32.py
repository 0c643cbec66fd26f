"""Where TF32 is let in."""

import pytest
import torch
from lightning.pytorch import Trainer

from bench import RobustFineTuning, ZeroShotEvaluation
from bench.clip.float32 import full_float32
from bench.finetuning import Augment, WholeTower
from bench.finetuning.pretraining import ClipPretraining
from datamodules import Synthetic
from datamodules.training import TrainingViews

KINDS = {
    "test": lambda clip, folder: ZeroShotEvaluation(**clip),
    "fit": lambda clip, folder: RobustFineTuning(Augment(), WholeTower(), **clip),
    "pretraining": lambda clip, folder: ClipPretraining(clip["encoder"], folder / "trained.safetensors"),
}


@pytest.fixture(autouse=True)
def put_back():
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield
    torch.set_float32_matmul_precision(products)
    torch.backends.cudnn.allow_tf32 = convolutions


@pytest.mark.parametrize(("products", "allowed"), [("highest", False), ("high", True)])
@pytest.mark.parametrize("kind", KINDS)
def test_runs_convolve_as_they_multiply(tiny_clip, tmp_path, kind, products, allowed):
    _, encoder, _, weights = tiny_clip
    torch.set_float32_matmul_precision(products)
    torch.backends.cudnn.allow_tf32 = not allowed
    trainer = Trainer(
        accelerator="cpu", devices=1, max_epochs=1, logger=False, default_root_dir=tmp_path, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, num_sanity_val_steps=0, log_every_n_steps=1,
    )  # fmt: skip
    views = TrainingViews({"jpeg-{}": [10, 90]})
    data = Synthetic(limit=4, num_workers=0, batch_size=2, validation_every=2, training_views=views)
    work = trainer.test if kind == "test" else trainer.fit
    work(KINDS[kind]({"encoder": encoder, "pretrained": weights}, tmp_path), data)
    assert torch.backends.cudnn.allow_tf32 == allowed


def test_settings_are_kept_out_and_put_back():
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    with full_float32():
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("highest", False)
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("high", True)
