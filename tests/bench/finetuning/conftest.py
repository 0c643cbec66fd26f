"""A tiny CLIP and a fit of it."""

import pytest
from lightning.pytorch import Trainer, seed_everything

from bench.finetuning import Augment, Consistency, RobustFineTuning, Sum, WholeTower
from datamodules import Synthetic
from datamodules.synthetic import SyntheticSource
from datamodules.training import TrainingViews
from tests.support.checkpoints import RESNET, VIT, save_safetensors, write_config
from tests.support.towers import build_awake

CONFIGS = {"resnet": RESNET, "vit": VIT}
VIEWS = ["original", "jpeg-25"]


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """Encoder and weights, as options, of a tiny CLIP by kind."""
    folder = tmp_path_factory.mktemp("clip")

    def paths(kind):
        weights = save_safetensors(build_awake(CONFIGS[kind]), folder / f"{kind}.safetensors")
        return {"encoder": write_config(folder, CONFIGS[kind], f"{kind}.json"), "pretrained": weights}

    return {kind: paths(kind) for kind in CONFIGS}


@pytest.fixture
def tuning(clip):
    """Makes a module; by default augmentation and consistency, the whole tower learning."""

    def make(kind="resnet", objective=None, trainable=None, **options):
        seed_everything(0, verbose=False)
        both = Sum([Augment(), Consistency()], [1.0, 1.0])
        settings = {"learning_rate": 1e-3, **options}
        return RobustFineTuning(objective or both, trainable or WholeTower(), **clip[kind], **settings)

    return make


@pytest.fixture
def data():
    """Makes 20 images to fit on and 4 held out."""

    def make(**options):
        views = TrainingViews({"jpeg-{}": [10, 90]}, clean=0.2)
        settings = {"degradations": VIEWS, "training_views": views, "limit": 24, "validation_every": 6}
        return Synthetic(**{**settings, "batch_size": 10, "num_workers": 0, **options})

    return make


@pytest.fixture
def fit(tmp_path, data):
    """Fits a module; gives the trainer."""

    def run(module, source=None, ckpt_path=None, **options):
        settings = {
            "accelerator": "cpu", "devices": 1, "max_epochs": 2, "logger": False, "enable_checkpointing": False,
            "enable_progress_bar": False, "enable_model_summary": False, "default_root_dir": tmp_path,
            "num_sanity_val_steps": 0, "log_every_n_steps": 1,
        }  # fmt: skip
        trainer = Trainer(**{**settings, **options})
        trainer.fit(module, datamodule=source or data(), ckpt_path=ckpt_path)
        return trainer

    return run


@pytest.fixture
def break_images(monkeypatch):
    """Makes images of `Synthetic` unreadable, by position."""
    load = SyntheticSource.load

    def break_(*positions):
        def broken(self, index):
            if index in positions:
                raise ValueError("broken")
            return load(self, index)

        monkeypatch.setattr(SyntheticSource, "load", broken)

    return break_
