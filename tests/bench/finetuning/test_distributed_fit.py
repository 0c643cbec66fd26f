"""Two processes tune as one does: the same pairs make up each step."""

import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.support.processes import run_ranks


@pytest.fixture
def fit(repository, tmp_path, clip):
    """Fits in processes of its own, the same images per step whatever their number; gives the run's folder."""

    def fit(method, world, before="", **options):
        config = yaml.safe_load((repository / "configs/finetune" / f"{method}.yaml").read_text())
        images = {"degradations": ["original", "jpeg-25"], "limit": 36, "validation_every": 9, "num_workers": 0}
        views = config["data"]["init_args"]["training_views"]
        batch = {"batch_size": 8 // world, "training_views": {**views, "flip": 0.0}}
        config["data"] = {"class_path": "datamodules.Synthetic", "init_args": {**images, **batch, **options}}
        (tmp_path / f"{method}-{world}.yaml").write_text(yaml.safe_dump(config))
        words = [
            *("--model.encoder", clip["resnet"]["encoder"], "--model.pretrained", clip["resnet"]["pretrained"]),
            *("--trainer.accelerator=cpu", f"--trainer.devices={world}", "--trainer.max_epochs=1"),
            *("--trainer.enable_progress_bar=false", f"--trainer.logger.save_dir={tmp_path}/{world}"),
            *(["--trainer.strategy=ddp"] if world > 1 else []),
        ]
        run_ranks(["fit", "--config", f"{tmp_path}/{method}-{world}.yaml", *words], tmp_path, world, before)
        return tmp_path / f"{world}" / "finetune" / method / "version_0"

    return fit


@pytest.mark.parametrize("method", ["augment", pytest.param("linear", marks=pytest.mark.slow)])
def test_two_processes_give_the_weights_of_one(fit, clip, method):
    one, two = (load_file(fit(method, world) / f"{method}.safetensors") for world in (1, 2))
    start = load_file(clip["resnet"]["pretrained"])
    name = "visual.attnpool.c_proj.weight"
    step = (one[name] - start[name]).abs().max()
    assert step > 0
    for key in one:  # sums in another order, which Adam's first steps divide by: so a share of the step
        assert (one[key] - two[key]).abs().max() <= 0.02 * step, key


BREAK = """
from datamodules.synthetic import SyntheticSource
load = SyntheticSource.load

def load_whole(self, index):
    if index % 5 == 1:
        raise ValueError("broken")
    return load(self, index)

SyntheticSource.load = load_whole
"""


def test_a_checkpoint_holds_what_either_process_could_not_read(fit):
    folder = fit("augment", 2, BREAK, on_error="skip")
    saved = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["unreadable"]
    assert [index for index, *_ in saved] == list(range(1, 36, 5))
