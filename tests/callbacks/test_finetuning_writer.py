"""What a fit leaves: files that the benchmark and plain open_clip load, a record, a card, events."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import open_clip
import pytest
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, WeightAveraging
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from bench.clip.encoders import load_encoder
from bench.clip.zero_shot import ZeroShotClassifier
from bench.finetuning import Augment, LastBlocks, LinearCorrection, LoRA, RobustFineTuning
from bench.finetuning.export import configuration, export
from bench.runs.finetuning_record import TrainingViews as Drawn
from bench.runs.folder import RunFolder
from bench.runs.json_values import differences
from bench.runs.record import Skipped
from callbacks import ExponentialAverage, FineTuningWriter
from datamodules import Synthetic
from datamodules.errors import UserError
from datamodules.synthetic import SyntheticSource
from datamodules.training import TrainingViews
from tests.support.nodes import OtherDisk

VIEWS = ["original", "jpeg-50", "jpeg-25"]
PROJECTION = "visual.attnpool.c_proj.weight"

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")


MODELS = Path(__file__).resolve().parents[2] / "configs" / "models"


def data(**options):
    """16 images to fit on, 8 held out."""
    views = TrainingViews({"jpeg-{}": [10, 90]}, clean=0.2)
    settings = {"degradations": VIEWS, "training_views": views, "limit": 24, "validation_every": 3}
    return Synthetic(**{**settings, "batch_size": 8, "num_workers": 0, **options})


def encoder(name):
    """Options that choose one of the demo's trained CLIPs."""
    return {"encoder": f"{MODELS / name}.json", "pretrained": f"{MODELS / name}.safetensors"}


def fit(folder, name="demo-rn", trainable=None, writer=None, callbacks=(), loggers=(), source=None, **options):
    """Fits; gives the module."""
    seed_everything(0, verbose=False)
    rate, checkpoint = options.pop("learning_rate", 1e-3), options.pop("ckpt_path", None)
    module = RobustFineTuning(Augment(), trainable or LastBlocks(1), **encoder(name), learning_rate=rate)
    own = TensorBoardLogger(folder.parent, name=None, version=folder.name, default_hp_metric=False)
    trainer = Trainer(
        devices=1, num_sanity_val_steps=0, log_every_n_steps=1, logger=[*loggers, own],
        enable_progress_bar=False, enable_model_summary=False,
        callbacks=[*callbacks, writer or FineTuningWriter("tuned", alphas=[0.5], export=[0.25])],
        **{"accelerator": "cpu", "max_epochs": 2, "enable_checkpointing": bool(callbacks), **options},
    )  # fmt: skip
    trainer.fit(module, datamodule=source or data(), ckpt_path=checkpoint)
    return module


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A fit's module, folder and record."""
    folder = tmp_path_factory.mktemp("fits") / "run"
    module = fit(folder)
    return module, folder, RunFolder(folder).finetuning_record()


@pytest.fixture
def broken(monkeypatch):
    """Makes three images unreadable, of which the first is held out; gives their records."""
    load = SyntheticSource.load

    def load_whole(self, index):
        if index in (3, 4, 7):
            raise ValueError("broken")
        return load(self, index)

    monkeypatch.setattr(SyntheticSource, "load", load_whole)
    return tuple(Skipped(index, None, "ValueError: broken") for index in (3, 4, 7))


def images():
    source = data()
    source.setup("fit")
    return next(iter(source.val_dataloader())), source.class_names


def run_card(folder, monkeypatch):
    """What the code of the model card defines, run where the card lies."""
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "MODEL_CARD.md").read_text(), re.DOTALL)
    monkeypatch.chdir(folder)
    names = {}
    exec(code, names)
    return names


class TestEncoder:
    @pytest.mark.parametrize(
        ("name", "trainable"), [("demo-rn", None), ("demo-vit", LastBlocks(1)), ("demo-vit", LoRA(2))]
    )
    def test_the_cards_own_code_loads_it_in_plain_open_clip_and_predicts_the_same(
        self, finished, tmp_path, monkeypatch, name, trainable
    ):
        module, folder, _ = finished
        if trainable is not None:
            folder = tmp_path / "run"
            module = fit(folder, name, trainable, max_epochs=1)
        assert json.loads((folder / "tuned.json").read_text()) == json.loads((MODELS / f"{name}.json").read_text())
        loaded = run_card(folder, monkeypatch)
        plain = loaded["model"].eval()
        batch, names = images()
        found = ZeroShotClassifier(module.with_weights(module.tuned_state()), names, module.templates)
        prompts = loaded["tokenizer"]([module.templates[0].replace("{}", name) for name in names])
        with torch.no_grad():
            logits = found(batch.views["jpeg-25"])
            pixels = [loaded["preprocess"](Image.fromarray(x.permute(1, 2, 0).numpy())) for x in batch.views["jpeg-25"]]
            expected = plain.get_logits(torch.stack(pixels), prompts)[0]
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-3)  # logits reach 100
        assert logits.argmax(1).equal(expected.argmax(1))
        assert len(set(expected.argmax(1).tolist())) > 3

    def test_the_benchmark_loads_it_without_being_told_its_activation(self, finished):
        module, folder, record = finished
        for config in (encoder("demo-rn")["encoder"], str(folder / "tuned.json")):
            loaded = load_encoder(config, str(folder / "tuned.safetensors"))
            state = loaded.model.state_dict()
            assert all(torch.equal(state[name], tensor) for name, tensor in module.tuned_state().items())
            assert loaded.provenance()["weights_sha256"] == record.exports[-1].sha256

    def test_a_share_is_exported_on_request(self, finished):
        module, folder, _ = finished
        loaded = load_encoder(encoder("demo-rn")["encoder"], str(folder / "tuned-0.25.safetensors"))
        before, after, found = module.original_state(), module.tuned_state(), loaded.model.state_dict()
        expected = 0.75 * before[PROJECTION] + 0.25 * after[PROJECTION]
        torch.testing.assert_close(found[PROJECTION], expected)

    def test_the_best_share_is_named_and_exported_on_request(self, tmp_path):
        fit(tmp_path / "run", writer=FineTuningWriter("tuned", alphas=[0.5], export=["best"]), max_epochs=1)
        record = RunFolder(tmp_path / "run").finetuning_record()
        means = {
            alpha: sum(values["precision"] for values in measures.values())
            for alpha, measures in record.interpolation.items()
        }
        best = [one.alpha for one in record.exports if one.best]
        assert best == [min(alpha for alpha, mean in means.items() if mean == max(means.values()))]

    def test_the_best_checkpoint_is_exported_where_one_is_watched_for(self, tmp_path):
        watch = ModelCheckpoint(tmp_path / "checkpoints", monitor="val/loss/original", mode="min")
        stop = EarlyStopping("val/loss/original", patience=1)
        module = fit(tmp_path / "run", callbacks=[watch, stop, Spoil()], max_epochs=6, learning_rate=1e-4)
        best = torch.load(watch.best_model_path, weights_only=True)["state_dict"]
        assert module.trainer.current_epoch == 2
        assert "epoch=0" in watch.best_model_path
        assert module.tuned_state()[PROJECTION].equal(best[f"model.{PROJECTION}"])

    def test_an_encoder_that_open_clip_knows_brings_no_configuration(self):
        class Known:
            config = open_clip.get_model_config("RN50")

            def provenance(self):
                return {"architecture": "RN50"}

        assert configuration(Known()) is None
        Known.config = {**Known.config, "embed_dim": 7}
        assert configuration(Known()) == Known.config


class Spoil(Callback):
    """Makes every epoch but the first useless."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch:
            torch.nn.init.zeros_(pl_module.tower.attnpool.c_proj.weight)


class TestRecord:
    def test_it_says_what_was_done_with_what(self, finished):
        module, folder, record = finished
        assert record.method["objective"] == {"name": "Augment", "label_free": False}
        assert record.method["trainable"] == {"name": "LastBlocks", "blocks": 1}
        assert record.training.views == Drawn({"jpeg-{}": (10, 90)}, "Uniform", clean=0.2, flip=0.0)
        assert (record.training.epochs, record.training.steps) == (2, 4)
        assert record.original.weights_sha256 == module.encoder.provenance()["weights_sha256"]
        assert (sum(record.images_per_class.values()), record.validation_images, record.skipped) == (16, 8, ())
        assert record.validation_every == 3
        assert (record.seed, record.seed_everything) == (0, "0")
        assert not (folder / "unfinished").exists()

    def test_its_ends_are_the_original_and_the_tuned_encoder_on_the_held_out_images(self, finished):
        module, _, record = finished
        assert sorted(record.interpolation) == [0.0, 0.25, 0.5, 1.0]
        for view in VIEWS:
            assert record.after[view] == pytest.approx(module.measured[view], abs=1e-4)  # another memory layout
        batch, names = images()
        for measures, state in ((record.before, module.original_state()), (record.after, module.tuned_state())):
            classifier = ZeroShotClassifier(module.with_weights(state), names, module.templates)
            with torch.no_grad():
                right = (classifier(batch.views["jpeg-25"]).argmax(1) == batch.labels).float().mean().item()
            assert measures["jpeg-25"]["precision"] == pytest.approx(right)

    def test_the_card_has_the_table_and_the_method(self, finished):
        _, folder, record = finished
        card = (folder / "MODEL_CARD.md").read_text()
        before, after = record.before["jpeg-25"]["precision"], record.after["jpeg-25"]["precision"]
        assert f"| jpeg-25 | {before:.4f} | {after:.4f} | {after - before:+.4f} |" in card
        assert "- objective: Augment\n- trained: LastBlocks (blocks 1), " in card
        assert "- random views: jpeg-{} at 10 to 90, Uniform qualities; 20% clean; 0% mirrored\n" in card
        digest = record.exports[-1].sha256
        assert f"- `tuned.safetensors`: 1 of the tuned weights, 0 of the original's; SHA-256 `{digest}`" in card
        assert "\n\n\n" not in card

    def test_record_card_and_recipe_say_how_weights_were_averaged_and_gradients_clipped(self, finished, tmp_path):
        _, plain, without = finished
        clipped = {"gradient_clip_val": 1.0, "max_epochs": 2}
        fit(tmp_path / "run", callbacks=[ExponentialAverage(0.75)], enable_checkpointing=False, **clipped)
        record = RunFolder(tmp_path / "run").finetuning_record()
        assert record.training.moving_average == {"name": "ExponentialAverage", "decay": 0.75}
        assert (record.training.gradient_clip_val, record.training.gradient_clip_algorithm) == (1.0, "norm")
        assert (without.training.moving_average, without.training.gradient_clip_val) == ({"name": "no average"}, 0.0)
        assert differences(without.recipe(1.0), record.recipe(1.0)) == [
            "training.moving_average.name", "training.moving_average.decay",
            "training.gradient_clip_val", "training.gradient_clip_algorithm",
        ]  # fmt: skip
        card = (tmp_path / "run/MODEL_CARD.md").read_text()
        assert "- moving average: ExponentialAverage (decay 0.75)\n- gradient clip val: 1.0\n" in card
        assert "- moving average: no average\n- gradient clip val: 0.0\n\n" in (plain / "MODEL_CARD.md").read_text()

    def test_tensorboard_has_the_precision_of_all_views_and_the_curve(self, finished):
        _, folder, record = finished
        events = EventAccumulator(str(folder))
        events.Reload()
        for view in VIEWS:
            assert len(events.Scalars(f"val/precision/{view}")) == 2
            curve = {event.step: event.value for event in events.Scalars(f"interpolation/precision/{view}")}
            points = {round(100 * alpha): of[view]["precision"] for alpha, of in record.interpolation.items()}
            assert curve == pytest.approx(points)
        assert "interpolation/curve" in events.Tags()["images"]
        assert "model_card/text_summary" in events.Tags()["tensors"]
        assert len(events.Scalars("train/loss")) == 4

    def test_images_that_cannot_be_read_are_listed_and_not_counted(self, tmp_path, broken):
        table = CSVLogger(tmp_path / "table", name=None, version="run")
        fit(tmp_path / "run", loggers=[table], source=data(on_error="skip"), max_epochs=1)
        record = RunFolder(Path(table.log_dir)).finetuning_record()
        assert record.skipped == broken
        assert (sum(record.images_per_class.values()), record.validation_images) == (14, 7)
        source = SyntheticSource("train", (32,), 0)
        kept = Counter(source.classes[source.label(index)] for index in range(24) if index % 3 and index not in (4, 7))
        assert record.images_per_class == kept
        assert "- left out, because they could not be read: 3\n" in (Path(table.log_dir) / "MODEL_CARD.md").read_text()
        # the one TensorBoard logger is the second, and has the page all the same
        events = EventAccumulator(str(tmp_path / "run"))
        events.Reload()
        assert "interpolation/curve" in events.Tags()["images"]


def test_the_linear_correction_leaves_the_same_files(tmp_path):
    module = LinearCorrection(**encoder("demo-vit"))
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_progress_bar=False, enable_checkpointing=False,
        enable_model_summary=False, num_sanity_val_steps=0, default_root_dir=tmp_path / "run",
        callbacks=[FineTuningWriter("linear", alphas=[])],
    )  # fmt: skip
    trainer.fit(module, datamodule=data())
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "linear.safetensors", "linear.json", "finetuning.json", "MODEL_CARD.md"
    }  # fmt: skip
    assert "trained: the last projection" in (tmp_path / "run" / "MODEL_CARD.md").read_text()


class TestFolder:
    def test_nodes_that_do_not_share_the_folder_are_refused_before_anything_is_learnt(self, tmp_path):
        with pytest.raises(UserError, match="file system that all nodes share"):
            fit(tmp_path / "fit", accelerator="auto", strategy=OtherDisk())
        assert not RunFolder(tmp_path / "fit").finetuning.exists()

    def test_a_finished_fit_is_not_overwritten(self, finished):
        _, folder, _ = finished
        before = (folder / "tuned.safetensors").read_bytes()
        with pytest.raises(UserError, match="holds a finished fit"):
            fit(folder)
        assert (folder / "tuned.safetensors").read_bytes() == before

    @pytest.mark.parametrize("options", [{"max_epochs": 0}, {"limit_train_batches": 0}])
    def test_a_fit_of_no_step_exports_nothing(self, tmp_path, options):
        module = LinearCorrection(**encoder("demo-rn"))
        trainer = Trainer(
            accelerator="cpu", enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
            logger=False, default_root_dir=tmp_path, callbacks=[FineTuningWriter()], **{"max_epochs": 1, **options},
        )  # fmt: skip
        with pytest.raises(UserError, match="the fit makes no step: raise `max_epochs`"):
            trainer.fit(module, datamodule=data())
        assert not list(tmp_path.glob("*.*"))

    def test_a_trial_run_writes_nothing(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        module = RobustFineTuning(Augment(), LastBlocks(1), **encoder("demo-rn"))
        trainer = Trainer(
            accelerator="cpu", fast_dev_run=1, enable_progress_bar=False, enable_model_summary=False,
            default_root_dir=tmp_path / "run", callbacks=[FineTuningWriter(), ModelCheckpoint(save_last=True)],
        )  # fmt: skip
        trainer.fit(module, datamodule=data())
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"alphas": [1.5]}, "FineTuningWriter.alphas 1.5"),
            ({"export": ["worst"]}, "FineTuningWriter.export worst"),
            ({"name": "a/b"}, "'a/b' is no file name"),
            ({"name": ""}, "'' is no file name"),
            ({"name": ".."}, r"'\.\.' is no file name"),
            ({"name": "a\0"}, r"'a\\x00' is no file name"),
            ({"name": "\ud800"}, r"'\\ud800' is no file name"),
            ({"name": "é" * 101}, r"'é+'\.\.\. has 202 bytes: choose at most 200"),
            ({"name": "finetuning"}, r"'finetuning' is that of a record, finetuning\.json: choose another"),
            ({"name": "Results"}, "'Results' is that of a record"),
            ({"name": "failed"}, "'failed' is that of a record"),
        ],
    )
    def test_bad_arguments_are_refused(self, options, message):
        with pytest.raises(UserError, match=message):
            FineTuningWriter(**options)

    def test_the_longest_name_is_one_that_files_can_have(self, tmp_path):
        name = 200 * "n"
        fit(tmp_path / "run", writer=FineTuningWriter(name, alphas=[], export=[0.0123456]), max_epochs=1)
        assert (tmp_path / f"run/{name}-0.0123456.safetensors").is_file()


class TestSelfContained:
    """What is in a fit's folder is enough, wherever the folder lies."""

    def test_a_fit_whose_folder_was_moved_goes_on_as_if_nothing_had_happened(self, tmp_path):
        def watched(folder, *others, **options):
            watch = ModelCheckpoint(folder / "checkpoints", monitor="val/loss/original", mode="min", save_last=True)
            return fit(folder, callbacks=[watch, *others], max_epochs=3, learning_rate=1e-4, **options), watch

        whole, _ = watched(tmp_path / "whole", Spoil())
        with pytest.raises(RuntimeError, match="killed"):
            watched(tmp_path / "begun", Spoil(), Kill())
        (tmp_path / "begun").rename(tmp_path / "moved")
        moved, watch = watched(tmp_path / "moved", Spoil(), ckpt_path="last")
        assert Path(watch.best_model_path) == tmp_path / "moved/checkpoints/epoch=0-step=2.ckpt"
        assert moved.tuned_state()[PROJECTION].equal(whole.tuned_state()[PROJECTION])
        assert not (tmp_path / "begun").exists()
        names = {path.name for path in (tmp_path / "moved/checkpoints").iterdir()}
        assert names == {path.name for path in (tmp_path / "whole/checkpoints").iterdir()}

    @pytest.mark.parametrize("average", [ExponentialAverage, lambda: WeightAveraging(use_buffers=False, avg_fn=middle)])
    def test_a_fit_that_was_killed_while_it_exported_leaves_its_average_all_the_same(self, tmp_path, average):
        def averaged(folder, *others, **options):
            watch = ModelCheckpoint(folder / "checkpoints", save_last=True)
            fit(folder, callbacks=[average(), watch, *others], **options)
            return load_file(folder / "tuned.safetensors"), RunFolder(folder).finetuning_record()

        whole, expected = averaged(tmp_path / "whole")
        with pytest.raises(RuntimeError, match="killed"):
            averaged(tmp_path / "killed", KillExport())
        left, record = averaged(tmp_path / "killed", ckpt_path="last")
        assert all(left[name].equal(tensor) for name, tensor in whole.items())
        assert (record.training, record.interpolation) == (expected.training, expected.interpolation)
        last = torch.load(tmp_path / "killed/checkpoints/last.ckpt", weights_only=True)["current_model_state"]
        assert not left[PROJECTION].equal(last[f"model.{PROJECTION}"])

    @pytest.mark.parametrize("epochs", [1, 2], ids=["none", "one"])
    def test_a_fit_that_goes_on_for_so_many_epochs_lists_each_image_once_that_could_not_be_read(
        self, tmp_path, broken, epochs
    ):
        def watched(*others, **options):
            watch = ModelCheckpoint(tmp_path / "run/checkpoints", save_last=True)
            fit(tmp_path / "run", callbacks=[watch, *others], source=data(on_error="skip"), **options)

        with pytest.raises(RuntimeError, match="killed"):
            watched(KillExport(), max_epochs=1)
        watched(ckpt_path="last", max_epochs=epochs)
        record = RunFolder(tmp_path / "run").finetuning_record()
        assert record.skipped == broken
        assert sum(record.images_per_class.values()) == 14

    def test_the_weights_say_how_images_are_prepared_for_them(self, tmp_path):
        config = {
            "model_cfg": json.loads((MODELS / "demo-rn.json").read_text()),
            "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.5, 0.5], "resize_mode": "squash"},
        }
        (tmp_path / "own.json").write_text(json.dumps(config))
        original = load_encoder(str(tmp_path / "own.json"), encoder("demo-rn")["pretrained"])
        state = original.model.state_dict()
        (tmp_path / "fit").mkdir()
        export(tmp_path / "fit", "tuned", [0.5, 1.0], (state, state), original)
        for name in ("tuned", "tuned-0.5"):
            loaded = load_encoder(str(tmp_path / "fit/tuned.json"), str(tmp_path / f"fit/{name}.safetensors"))
            assert (loaded.mean, loaded.std) == ((0.5, 0.5, 0.5), (0.25, 0.5, 0.5))
            assert (loaded.resize_mode, loaded.interpolation) == ("squash", "bicubic")

    def test_the_card_names_no_folder_of_this_machine(self, finished):
        _, folder, _ = finished
        assert "of demo-rn (`demo-rn.safetensors`, SHA-256" in (folder / "MODEL_CARD.md").read_text()

    def test_no_two_processes_fit_in_one_folder(self, tmp_path, repository):
        code = "import pathlib, sys; from bench.runs.folder import RunFolder; f = RunFolder(pathlib.Path(sys.argv[1]))"
        code += "; f.unfinished.mkdir(parents=True); assert f.journal.acquire(); print(flush=True); input()"
        command = [sys.executable, "-c", code, str(tmp_path / "run")]
        with subprocess.Popen(command, cwd=repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            other.stdout.readline()
            with pytest.raises(UserError, match="another process fits in"):
                fit(tmp_path / "run")
            other.kill()


class Kill(Callback):
    """Ends a fit in its second epoch."""

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            raise RuntimeError("killed")


def middle(average, weights, _):
    """Between an average and new weights; where they are equal, these, bit for bit."""
    return average - (average - weights) / 2  # -0.0 minus 0 is -0.0


class KillExport(Callback):
    """Ends a fit after its last step, before anything is exported."""

    def on_fit_end(self, trainer, pl_module):
        raise RuntimeError("killed")
