"""Test-time adaptation as a run: what it says, that it says on what that depends, and what it refuses."""

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Callback, Trainer

import bench
from bench.adaptation.entropy import Stream, Tent
from bench.cli import main
from bench.finetuning.tuning import fingerprint
from bench.runs.folder import RunFolder
from callbacks import IntegratedGradients, ResultsWriter, TensorBoardReport
from datamodules import Synthetic
from datamodules.errors import UserError
from tests.support.archives import write_cifar10
from tests.support.checkpoints import RESNET, save_safetensors, write_config
from tests.support.results import read_record
from tests.support.towers import build_awake

VIEWS = ["original", "jpeg-25"]
QUIET = {
    "accelerator": "cpu", "devices": 1, "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
    "enable_model_summary": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Options of a tiny CLIP with batch norms."""
    folder = tmp_path_factory.mktemp("clip")
    weights = save_safetensors(build_awake(RESNET), folder / "tiny.safetensors")
    return {"encoder": write_config(folder, RESNET), "pretrained": weights, "fidelity": False}


def images(**options):
    return Synthetic(**{"limit": 10, "batch_size": 4, "num_workers": 0, "degradations": VIEWS, **options})


def run(module, folder, *callbacks, data=None, **options):
    """Record and per-image table of a test."""
    trainer = Trainer(**{**QUIET, "default_root_dir": folder, "callbacks": [ResultsWriter(0.0), *callbacks], **options})
    trainer.test(module, data or images(), verbose=False)
    return read_record(folder), pd.read_csv(folder / "images.csv")


@pytest.fixture(scope="module")
def adapted(clip, tmp_path_factory):
    """Module, folder, record and table of an adapted test."""
    module, folder = bench.TestTimeAdaptation(**clip), tmp_path_factory.mktemp("adapted")
    return module, folder, *run(module, folder)


def said(table, view):
    return table[table["view"] == view].drop(columns="view").reset_index(drop=True)


class TestResults:
    """What an adapted run measures."""

    def test_predictions_are_those_of_a_stream_per_view_over_the_batches_in_order(self, adapted, clip):
        _, _, _, table = adapted
        data = images()
        data.setup("test")
        data.order_seed = 0
        classifier = bench.ZeroShotClassifier(bench.load_encoder(clip["encoder"], clip["pretrained"]), data.class_names)
        for view in VIEWS:
            stream, found = Stream(classifier, Tent()), {}
            for batch in data.test_dataloader():
                probabilities = classifier.logits(stream.embed(classifier.preprocess(batch.views[view]))).softmax(1)
                found |= dict(zip(batch.indices.tolist(), probabilities.amax(1).tolist(), strict=True))
            assert said(table, view)["confidence"].to_numpy() == pytest.approx([found[i] for i in range(10)], abs=1e-7)

    def test_views_do_not_influence_one_another(self, adapted, tmp_path):
        module, _, _, table = adapted
        more = images(degradations=["original", "jpeg-90", "jpeg-25"])
        _, with_more = run(module, tmp_path, data=more)
        assert said(with_more, "jpeg-25").equals(said(table, "jpeg-25"))

    def test_every_run_begins_with_the_original_weights_which_it_leaves_as_they_are(self, adapted, clip, tmp_path):
        module, _, _, table = adapted
        original = fingerprint(bench.load_encoder(clip["encoder"], clip["pretrained"]).model.state_dict())
        _, again = run(module, tmp_path, inference_mode=False)
        assert again.equals(table)
        assert fingerprint(module.encoder.model.state_dict()) == original

    def test_the_order_decides_and_an_ordinary_test_knows_nothing_of_it(self, adapted, clip, tmp_path):
        _, _, _, table = adapted
        data = images()
        _, other = run(bench.TestTimeAdaptation(**clip, shuffle=None), tmp_path / "stored", data=data)
        assert other["adapted_in_batch"].tolist() == np.repeat(np.arange(10) // 4, 2).tolist()
        assert not said(other, "jpeg-25")["loss"].equals(said(table, "jpeg-25")["loss"])
        module = bench.ZeroShotEvaluation(**clip)
        data.order_seed = 7  # as an adapted run may leave it
        _, after = run(module, tmp_path / "after", data=data)
        record, before = run(module, tmp_path / "before")
        assert after.equals(before)
        assert "adapted_in_batch" not in after
        assert "adaptation" not in record["model"]

    def test_a_killed_run_begins_anew(self, adapted, tmp_path):
        module, _, _, table = adapted

        class Kill(Callback):
            def on_test_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
                if batch_idx:
                    raise RuntimeError("killed")

        with pytest.raises(RuntimeError, match="killed"):
            run(module, tmp_path, Kill())
        assert RunFolder(tmp_path).journal.subject_file.exists()
        assert not list(tmp_path.rglob("*.safetensors"))
        record, found = run(module, tmp_path)
        assert record["run"]["images_taken_up"] == 0
        assert found.equals(table)


class TestMarks:
    """That results say on what they depend."""

    def test_record_table_and_scalars_say_so(self, adapted):
        module, _, record, table = adapted
        said = record["model"]["adaptation"]
        assert said.pop("note").startswith("adapted while tested (TENT): predictions depend on their neighbours and")
        assert said == {
            "method": "TENT", "optimiser": "adam", "learning_rate": 0.001, "reset": "never", "statistics": "batch",
            "trained_parameters": module.trained_parameters, "batch_size": 4, "shuffle": 0, "processes": 1,
        }  # fmt: skip
        batches = table.drop_duplicates("index").set_index("index")["adapted_in_batch"]
        assert sorted(batches) == [0] * 4 + [1] * 4 + [2] * 2
        assert batches.tolist() != sorted(batches)
        assert {name.partition("/")[0] for name in module.trainer.callback_metrics} == {"adapted"}

    def test_the_configuration_runs_and_its_screen_says_so(self, repository, tmp_path, monkeypatch, tiny_clip, capsys):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.argv", ["lightning"])
        write_cifar10(tmp_path / "data", count=6)
        main(
            [
                *("test", "--config", str(repository / "configs/tent.yaml"), *tiny_clip, "--data.batch_size=4"),
                *("--data.verify_checksums=false", "--data.num_workers=0", "--trainer.accelerator=cpu"),
                *("--trainer.enable_progress_bar=false", "--trainer.callbacks.table=parquet"),
            ]
        )
        mark = "adapted while tested (TENT): predictions depend on their neighbours and order (batches of 4, shuffled"
        assert mark in capsys.readouterr().out
        table = pd.read_parquet(tmp_path / "runs/tent/version_0/images.parquet")
        assert sorted(table.drop_duplicates("index")["adapted_in_batch"]) == [0, 0, 0, 0, 1, 1]
        record = read_record(tmp_path / "runs/tent/version_0")
        assert record["model"]["adaptation"]["statistics"] is None  # of a ViT


class TestRefusals:
    """What is refused in one line before anything is written."""

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"precision": "bf16-mixed"}, "`precision` bf16-mixed would round the gradients"),
            ({"devices": 2, "strategy": "ddp"}, "2 processes would adapt as many encoders.*`devices=1` and one node"),
            ({"callbacks": [IntegratedGradients()]}, "callbacks.IntegratedGradients cannot follow.*leave the callback"),
            ({"callbacks": [TensorBoardReport()]}, "callbacks.TensorBoardReport cannot follow.*leave the callback out"),
        ],
    )
    def test_runs_that_would_be_something_else(self, adapted, tmp_path, options, reason):
        trainer, data = Trainer(**{**QUIET, "default_root_dir": tmp_path, **options}), images()
        data.setup("test")
        with pytest.raises(UserError, match=reason):
            adapted[0].check_run(trainer, data)

    def test_a_seed_below_zero(self, clip):
        with pytest.raises(UserError, match="`shuffle` -1 is out of range"):
            bench.TestTimeAdaptation(**clip, shuffle=-1)

    def test_a_tower_without_normalisation_layers(self, clip, monkeypatch):
        monkeypatch.setattr("bench.finetuning.trainable._NORMS", (torch.nn.InstanceNorm2d,))
        with pytest.raises(UserError, match="has no normalisation layers to adapt"):
            bench.TestTimeAdaptation(**clip)
