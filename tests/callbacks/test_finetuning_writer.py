"""What a fit leaves: files that the benchmark and plain open_clip load, a record, a card, events."""

import json

import open_clip
import pytest
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from open_clip.factory import add_model_config
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from bench.clip.encoders import load_encoder
from bench.clip.zero_shot import ZeroShotClassifier
from bench.finetuning import Augment, LastBlocks, LinearCorrection, LoRA, RobustFineTuning
from callbacks import FineTuningWriter
from datamodules import Synthetic
from datamodules.errors import UserError
from datamodules.training import TrainingViews

VIEWS = ["original", "jpeg-50", "jpeg-25"]
PROJECTION = "visual.attnpool.c_proj.weight"

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")


def data():
    views = TrainingViews({"jpeg-{}": [10, 90]}, clean=0.2)
    return Synthetic(
        degradations=VIEWS, training_views=views, limit=60, validation_every=3, batch_size=20, num_workers=0
    )


@pytest.fixture
def encoder(repository):
    """Options that choose one of the demo's trained CLIPs."""
    models = repository / "configs" / "models"
    return lambda name: {"encoder": f"{models / name}.json", "pretrained": f"{models / name}.safetensors"}


@pytest.fixture
def fit(tmp_path, encoder):
    """Fits; gives the module and the run's folder."""

    def run(name="demo-rn", trainable=None, writer=None, callbacks=(), version="run", max_epochs=2, **options):
        seed_everything(0, verbose=False)
        module = RobustFineTuning(
            Augment(), trainable or LastBlocks(1), **encoder(name), **{"learning_rate": 1e-3, **options}
        )
        trainer = Trainer(
            accelerator="cpu", devices=1, max_epochs=max_epochs, num_sanity_val_steps=0, log_every_n_steps=1,
            logger=TensorBoardLogger(tmp_path, name=None, version=version, default_hp_metric=False),
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=bool(callbacks),
            callbacks=[*callbacks, writer or FineTuningWriter("tuned", alphas=[0.5], export=[0.25])],
        )  # fmt: skip
        trainer.fit(module, datamodule=data())
        return module, tmp_path / version

    return run


def images():
    source = data()
    source.setup("fit")
    return next(iter(source.val_dataloader())), source.class_names


class TestEncoder:
    @pytest.mark.parametrize("trainable", [LastBlocks(1), LoRA(2)], ids=["blocks", "lora"])
    @pytest.mark.parametrize("name", ["demo-rn", "demo-vit"])
    def test_plain_open_clip_loads_it_and_predicts_the_same(self, fit, encoder, name, trainable):
        module, folder = fit(name, trainable)
        add_model_config(encoder(name)["encoder"])
        plain = open_clip.create_model(name, pretrained=str(folder / "tuned.safetensors")).eval()
        batch, names = images()
        found = ZeroShotClassifier(module.with_weights(module.tuned_state()), names, module.templates)
        prompts = [module.templates[0].replace("{}", name) for name in names]
        with torch.no_grad():
            pixels = found.preprocess(batch.views["jpeg-25"])
            expected = plain.get_logits(pixels, module.encoder.tokenizer(prompts))[0]
            logits = found(batch.views["jpeg-25"])
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-3)  # logits reach 100
        assert logits.argmax(1).equal(expected.argmax(1))
        assert len(set(expected.argmax(1).tolist())) > 3

    def test_the_benchmark_loads_it_without_being_told_its_activation(self, fit, encoder):
        module, folder = fit()
        loaded = load_encoder(encoder("demo-rn")["encoder"], str(folder / "tuned.safetensors"))
        state = loaded.model.state_dict()
        assert all(torch.equal(state[name], tensor) for name, tensor in module.tuned_state().items())
        record = json.loads((folder / "finetuning.json").read_text())
        assert loaded.provenance()["weights_sha256"] == record["exports"][-1]["sha256"]

    def test_a_share_is_exported_on_request(self, fit, encoder):
        module, folder = fit()
        loaded = load_encoder(encoder("demo-rn")["encoder"], str(folder / "tuned-0.25.safetensors"))
        before, after, found = module.original_state(), module.tuned_state(), loaded.model.state_dict()
        expected = 0.75 * before[PROJECTION] + 0.25 * after[PROJECTION]
        torch.testing.assert_close(found[PROJECTION], expected)

    def test_the_best_share_is_named_and_exported_on_request(self, fit):
        _, folder = fit(writer=FineTuningWriter("tuned", alphas=[0.5], export=["best"]))
        record = json.loads((folder / "finetuning.json").read_text())
        means = {
            point["alpha"]: sum(values["precision"] for values in point["metrics"].values())
            for point in record["interpolation"]
        }
        best = [one["alpha"] for one in record["exports"] if one["best"]]
        assert best == [min(alpha for alpha, mean in means.items() if mean == max(means.values()))]

    def test_the_best_checkpoint_is_exported_where_one_is_watched_for(self, fit, tmp_path):
        watch = ModelCheckpoint(tmp_path / "checkpoints", monitor="val/loss/original", mode="min")
        stop = EarlyStopping("val/loss/original", patience=1)
        module, _ = fit(callbacks=[watch, stop, Spoil()], max_epochs=6, learning_rate=1e-4)
        best = torch.load(watch.best_model_path, weights_only=True)["state_dict"]
        assert module.trainer.current_epoch == 2
        assert "epoch=0" in watch.best_model_path
        assert module.tuned_state()[PROJECTION].equal(best[f"model.{PROJECTION}"])


class Spoil(Callback):
    """Makes every epoch but the first useless."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch:
            torch.nn.init.zeros_(pl_module.tower.attnpool.c_proj.weight)


class TestRecord:
    @pytest.fixture
    def finished(self, fit):
        module, folder = fit()
        return module, folder, json.loads((folder / "finetuning.json").read_text())

    def test_it_says_what_was_done_with_what(self, finished):
        module, folder, record = finished
        assert record["method"]["objective"] == {"name": "Augment", "label_free": False}
        assert record["method"]["trainable"] == {"name": "LastBlocks", "blocks": 1}
        assert record["training"]["views"] == {
            "codecs": {"jpeg-{}": [10, 90]}, "law": "Uniform", "clean": 0.2, "flip": 0.0
        }  # fmt: skip
        assert (record["training"]["epochs"], record["training"]["steps"]) == (2, 4)
        assert record["original"]["weights_sha256"] == module.encoder.provenance()["weights_sha256"]
        assert (sum(record["images_per_class"].values()), record["validation_images"]) == (40, 20)
        assert record["seeds"] == {"data": 0, "everything": "0"}
        assert record["frozen"]["unchanged"]
        assert not (folder / "unfinished").exists()

    def test_its_ends_are_the_original_and_the_tuned_encoder_on_the_held_out_images(self, finished):
        module, _, record = finished
        points = {point["alpha"]: point["metrics"] for point in record["interpolation"]}
        assert sorted(points) == [0.0, 0.25, 0.5, 1.0]
        assert record["metrics"] == {"before": points[0.0], "after": points[1.0]}
        for view in VIEWS:
            assert points[1.0][view] == pytest.approx(module.measured[view], abs=1e-4)  # another memory layout
        for alpha, state in ((0.0, module.original_state()), (1.0, module.tuned_state())):
            classifier = ZeroShotClassifier(module.with_weights(state), images()[1], module.templates)
            batch, _ = images()
            with torch.no_grad():
                right = (classifier(batch.views["jpeg-25"]).argmax(1) == batch.labels).float().mean().item()
            assert points[alpha]["jpeg-25"]["precision"] == pytest.approx(right)

    def test_the_card_has_the_table_and_how_to_load_it(self, finished):
        _, folder, record = finished
        card = (folder / "MODEL_CARD.md").read_text()
        before, after = (record["metrics"][when]["jpeg-25"]["precision"] for when in ("before", "after"))
        assert f"| jpeg-25 | {before:.4f} | {after:.4f} | {after - before:+.4f} |" in card
        assert 'pretrained="tuned.safetensors", force_quick_gelu=True)' in card
        assert "objective: Augment" in card
        assert "jpeg-{} at 10 to 90" in card

    def test_tensorboard_has_the_precision_of_all_views_and_the_curve(self, finished):
        _, folder, record = finished
        events = EventAccumulator(str(folder))
        events.Reload()
        for view in VIEWS:
            assert len(events.Scalars(f"val/precision/{view}")) == 2
            curve = {event.step: event.value for event in events.Scalars(f"interpolation/precision/{view}")}
            points = {round(100 * p["alpha"]): p["metrics"][view]["precision"] for p in record["interpolation"]}
            assert curve == pytest.approx(points)
        assert "interpolation/curve" in events.Tags()["images"]
        assert "model_card/text_summary" in events.Tags()["tensors"]
        assert len(events.Scalars("train/loss")) == 4


def test_the_linear_correction_leaves_the_same_files(tmp_path, encoder):
    module = LinearCorrection(**encoder("demo-vit"))
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_progress_bar=False, enable_checkpointing=False,
        enable_model_summary=False, num_sanity_val_steps=0, default_root_dir=tmp_path / "run",
        callbacks=[FineTuningWriter("linear")],
    )  # fmt: skip
    trainer.fit(module, datamodule=data())
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "linear.safetensors", "finetuning.json", "MODEL_CARD.md"
    }  # fmt: skip
    assert "trained: the last projection" in (tmp_path / "run" / "MODEL_CARD.md").read_text()


class TestFolder:
    def test_a_finished_fit_is_not_overwritten(self, fit, tmp_path):
        fit()
        before = (tmp_path / "run" / "tuned.safetensors").read_bytes()
        with pytest.raises(UserError, match="holds a finished fit"):
            fit()
        assert (tmp_path / "run" / "tuned.safetensors").read_bytes() == before

    def test_a_trial_run_writes_nothing(self, tmp_path, encoder):
        module = RobustFineTuning(Augment(), LastBlocks(1), **encoder("demo-rn"))
        trainer = Trainer(
            accelerator="cpu", fast_dev_run=1, enable_progress_bar=False, enable_model_summary=False,
            default_root_dir=tmp_path / "run", callbacks=[FineTuningWriter()],
        )  # fmt: skip
        trainer.fit(module, datamodule=data())
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"alphas": [1.5]}, "FineTuningWriter.alphas 1.5"),
            ({"export": ["worst"]}, "FineTuningWriter.export worst"),
            ({"name": "a/b"}, "'a/b' is no file name"),
            ({"name": ""}, "'' is no file name"),
        ],
    )
    def test_bad_arguments_are_refused(self, options, message):
        with pytest.raises(UserError, match=message):
            FineTuningWriter(**options)
