"""Adapters that are told what view an image is: conditions, additions, fits, files, and what a test says of them."""

import json
from copy import deepcopy

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from safetensors.torch import load_file, save_file

from bench import ConditionedTuning, ZeroShotEvaluation
from bench.adapters.conditions import Conditions
from bench.adapters.files import metadata, read_adapter
from bench.adapters.layers import ConditionedAdapter, reached_layers
from bench.adapters.tuning import TARGETS, ConditionedLoRA
from bench.attribution import First
from bench.clip.encoders import load_encoder
from bench.clip.zero_shot import unit
from bench.finetuning import Augment, Consistency, LoRA, Sum, TokenConsistency
from bench.runs.folder import RunFolder
from callbacks import FineTuningWriter, IntegratedGradients, ResultsWriter
from datamodules.errors import UserError
from datamodules.training import TrainingViews
from datamodules.views import Draw
from tests.support.checkpoints import RESNET, VIT, save_safetensors, write_config
from tests.support.fits import Losses, Stop, few
from tests.support.towers import build_awake

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")

CONFIGS = {"resnet": RESNET, "vit": VIT}
JPEG = {"jpeg-{}": (10, 90)}
MIXED = ["original", "jpeg-10", "webp-50", "jpeg-77", None]
QUIET = {
    "accelerator": "cpu", "devices": 1, "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
    "enable_model_summary": False, "num_sanity_val_steps": 0, "log_every_n_steps": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Options of tiny CLIPs by kind."""
    folder = tmp_path_factory.mktemp("clip")
    return {
        kind: {
            "encoder": write_config(folder, config, f"{kind}.json"),
            "pretrained": save_safetensors(build_awake(config), folder / f"{kind}.safetensors"),
        }
        for kind, config in CONFIGS.items()
    }


@pytest.fixture(scope="module")
def encoder(clip):
    return load_encoder(clip["vit"]["encoder"], clip["vit"]["pretrained"])


@pytest.fixture(scope="module")
def fitted(clip, tmp_path_factory):
    """A fit on four images: its module, losses step by step, folder and encoder."""
    folder = tmp_path_factory.mktemp("fit")
    seed_everything(0, verbose=False)
    module = ConditionedTuning(Consistency(keep=0.0), rank=2, learning_rate=0.01, **clip["resnet"])
    losses = Losses()
    callbacks = [losses, FineTuningWriter("told", alphas=[], export=[0.5])]
    data = few(training_views=TrainingViews({"jpeg-{}": [10, 30]}))
    Trainer(max_epochs=5, check_val_every_n_epoch=5, default_root_dir=folder, callbacks=callbacks, **QUIET).fit(
        module, data
    )
    return module, losses.values, RunFolder(folder), clip["resnet"]


def tower_and_adapter(kind, rank=3):
    """A tower and an adapter of it that adds something under every condition."""
    tower = build_awake(CONFIGS[kind]).visual
    torch.manual_seed(0)
    layers = reached_layers(tower, CONFIGS[kind]["vision_cfg"]["image_size"])
    adapter = ConditionedAdapter(layers, rank, 4.0, Conditions(JPEG))
    for update in adapter.updates.values():
        torch.nn.init.normal_(update.up, std=0.1)
    return tower, adapter


def inputs(kind, count):
    side = CONFIGS[kind]["vision_cfg"]["image_size"]
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def embedded(tower, adapter, images, views):
    with torch.no_grad(), adapter.attached(tower, views):
        return tower(images)


class TestConditions:
    def test_a_quality_lies_between_knots_on_a_logarithmic_scale_and_no_further(self):
        views = ["jpeg-9", "jpeg-3", "jpeg-999", "jpeg-31", "jpeg-17"]
        rows = Conditions({"jpeg-{}": (9, 99)}).features(views)
        # 1 + quality: 10 to 100, the middle knot at 31.6; ln(18 / 10) / ln(10) = 0.2553
        expected = [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0.98970, 0.01030, 0], [0.48946, 0.51055, 0, 0]]
        torch.testing.assert_close(rows, torch.tensor(expected), rtol=0, atol=1e-4)

    def test_codecs_have_features_of_their_own_and_originals_none(self):
        conditions = Conditions({"jpeg-{}": (10, 90), "webp-{}": (10, 10)})
        rows = conditions.features(["original", "webp-10", "webp-90", "jpeg-90", "jpeg-25-444", None])
        assert rows.argmax(1).tolist()[1:] == [3, 3, 2, 6, 6]
        assert rows.sum(1).tolist() == [0, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("kind", CONFIGS)
class TestAdapter:
    def test_untrained_it_adds_nothing_bit_for_bit(self, kind):
        tower, adapter = tower_and_adapter(kind)
        for update in adapter.updates.values():
            torch.nn.init.zeros_(update.up)
        images = inputs(kind, len(MIXED))
        assert embedded(tower, adapter, images, MIXED).equal(tower(images).detach())

    def test_originals_are_embedded_as_without_it_bit_for_bit_also_beside_others(self, kind):
        tower, adapter = tower_and_adapter(kind)
        images = inputs(kind, 4)
        plain = tower(images).detach()
        assert embedded(tower, adapter, images, ["original"] * 4).equal(plain)
        found = embedded(tower, adapter, images, ["original", "jpeg-10", "original", None])
        assert found[[0, 2]].equal(plain[[0, 2]])
        assert (found[[1, 3]] - plain[[1, 3]]).abs().amax(1).min() > 1e-4

    def test_images_of_one_batch_are_embedded_as_alone_and_nothing_stays_attached(self, kind):
        tower, adapter = tower_and_adapter(kind)
        images = inputs(kind, len(MIXED))
        before = deepcopy(tower)(images).detach()
        together = embedded(tower, adapter, images, MIXED)
        alone = [embedded(tower, adapter, image[None], [view]) for image, view in zip(images, MIXED, strict=True)]
        torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)
        assert tower(images).detach().equal(before)

    def test_under_one_condition_it_is_the_update_of_the_weights_that_it_says(self, kind):
        tower, adapter = tower_and_adapter(kind)
        images, merged = inputs(kind, 2), deepcopy(tower)
        (strengths,) = (Conditions(JPEG).features(["jpeg-20"]) @ adapter.strengths).detach()
        for name, update in adapter.updates.items():
            weight = merged.get_submodule(name).weight
            own = torch.diag(strengths[: len(update.down)])
            weight.data += (update.factor * update.up @ own @ update.down).detach().view_as(weight)
        found = embedded(tower, adapter, images, ["jpeg-20"] * 2)
        torch.testing.assert_close(found, merged(images).detach(), rtol=1e-4, atol=1e-4)

    def test_every_number_gets_a_gradient(self, kind):
        tower, adapter = tower_and_adapter(kind)
        views = ["jpeg-10", "jpeg-30", "jpeg-90", None]
        with adapter.attached(tower, views):
            tower(inputs(kind, 4)).square().sum().backward()
        assert all(parameter.grad.abs().max() > 0 for parameter in adapter.parameters())
        assert adapter.strengths.grad.abs().amax(1).min() > 0

    def test_it_learns_as_many_numbers_as_low_rank_updates_of_the_same_matrices_and_its_table(self, kind):
        config = CONFIGS[kind]
        tower = build_awake(config).visual
        layers = ConditionedLoRA(4, 16.0, TARGETS, ["jpeg-{}"], 0.2).layers(tower, config["vision_cfg"]["image_size"])
        told = ConditionedAdapter(layers, 4, 16.0, Conditions(JPEG))
        names = LoRA(4, targets=TARGETS).release(tower)
        assert names == {f"{name}.weight" for name in layers}
        plain = sum(parameter.numel() for parameter in tower.parameters() if parameter.requires_grad)
        assert sum(parameter.numel() for parameter in told.parameters()) == plain + (3 + 1) * 4


class TestFit:
    def test_the_objective_falls_and_the_encoder_stays_as_it_is(self, fitted):
        module, losses, _, _ = fitted
        assert sum(losses[-2:]) < 0.9 * sum(losses[:2])  # an epoch each
        before, after = module.original_state(), module.tuned_state()
        assert all(before[name].equal(after[name]) for name in before)

    def test_the_exported_file_predicts_what_the_fit_measured_and_leaves_originals_alone(
        self, fitted, tmp_path, capsys
    ):
        module, _, folder, clip = fitted
        record, file = folder.finetuning_record(), folder.path / "told.safetensors"
        assert record.label_free
        assert (record.method["trainable"]["name"], record.method["told"]) == ("ConditionedLoRA", "codec and quality")
        assert "--model.adapter told.safetensors" in folder.card.read_text()
        found = {}
        for adapter in (None, str(file)):
            held_out = few(split="train", limit=None, indices=list(module.data.validation_positions))
            place = tmp_path / str(adapter is None)
            tested = ZeroShotEvaluation(**clip, adapter=adapter)
            trainer = Trainer(default_root_dir=place, callbacks=[ResultsWriter()], **QUIET)
            trainer.test(tested, held_out, verbose=False)
            assert (" with told.safetensors on synthetic" in capsys.readouterr().out) == (adapter is not None)
            found[adapter] = json.loads((place / "results.json").read_text())
        without, told = found.values()
        assert told["model"]["adapter_sha256"] == record.exports[-1].sha256
        assert told["model"]["weights_sha256"] == without["model"]["weights_sha256"]
        assert told["metrics"]["original"] == without["metrics"]["original"]
        assert told["metrics"]["jpeg-25"]["loss"] != without["metrics"]["jpeg-25"]["loss"]
        for view, measures in record.after.items():
            assert told["metrics"][view]["loss"] == pytest.approx(measures["loss"], abs=1e-5)

    def test_between_the_ends_the_addition_grows_in_proportion(self, fitted):
        _, _, folder, _ = fitted
        half, whole = (load_file(folder.path / f"told{share}.safetensors") for share in ("-0.5", ""))
        assert all(half[name].equal(tensor / 2 if name.endswith(".up") else tensor) for name, tensor in whole.items())

    def test_each_random_view_is_embedded_as_its_own_draw_asks(self, fitted):
        module, _, _, _ = fitted
        (batch, *_) = module.data.train_dataloader()
        told = [module._told(draw) for draw in batch.draws]
        assert all(view in (draw.view, None) for view, draw in zip(told, batch.draws, strict=True))
        pairs = module.pairs(batch)
        alone = [module.student(batch.views["random"][row : row + 1], view) for row, view in enumerate(told)]
        torch.testing.assert_close(pairs.degraded.detach(), torch.cat(alone).detach(), rtol=1e-4, atol=1e-5)
        untold = module.student(batch.views["original"], None)
        torch.testing.assert_close(pairs.original.detach(), untold.detach(), rtol=1e-4, atol=1e-5)
        assert (unit(pairs.original) - unit(pairs.target)).abs().max() > 1e-4

    @pytest.mark.parametrize("view", ["original", "jpeg-30"])
    def test_of_a_share_of_images_nothing_is_told_whether_they_are_degraded_or_not(self, fitted, view):
        module, _, _, _ = fitted
        draws = [Draw(epoch, index, view, False) for epoch in range(2) for index in range(250)]
        told = [module._told(draw) for draw in draws]
        assert told.count(view) + told.count(None) == 500
        assert told.count(None) == pytest.approx(100, abs=35)
        assert told[:250] != told[250:]  # each epoch anew
        assert told[:9] == [module._told(draw) for draw in draws[:9]]

    def test_where_nothing_is_degraded_there_is_nothing_to_learn(self, fitted, monkeypatch):
        module, _, _, _ = fitted
        monkeypatch.setattr(module.data, "training_views", TrainingViews({"jpeg-{}": [10, 90]}, clean=1.0))
        monkeypatch.setattr(module, "log", lambda *_, **__: None)
        (batch, *_) = module.data.train_dataloader()
        loss = module.training_step(batch, 0)
        gradients = torch.autograd.grad(loss, [*module.adapter.parameters()])
        assert loss.item() == pytest.approx(0, abs=1e-9)
        assert not any(gradient.any() for gradient in gradients)

    def test_a_killed_and_resumed_fit_gives_the_numbers_of_an_undisturbed_one(self, clip, tmp_path):
        def numbers(folder, epochs, checkpoint=None):
            seed_everything(0, verbose=False)
            objective = Sum([Consistency(keep=0.0), TokenConsistency()], [1.0, 1.0])
            module = ConditionedTuning(objective, **clip["vit"])
            callbacks = [ModelCheckpoint(tmp_path / folder, save_last=True), Stop(epochs)]
            options = {**QUIET, "enable_checkpointing": True, "default_root_dir": tmp_path, "limit_val_batches": 0}
            Trainer(max_epochs=2, callbacks=callbacks, **options).fit(module, few(), ckpt_path=checkpoint)
            return module.ends()[1]

        undisturbed = numbers("undisturbed", 2)
        with pytest.raises(SystemExit):
            numbers("killed", 1)
        resumed = numbers("killed", 2, tmp_path / "killed" / "last.ckpt")
        assert all(undisturbed[name].equal(resumed[name]) for name in undisturbed)


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"rank": 65}, "`rank` 65 is out of range: choose from 1 to 64"),
            ({"scale": 0.0}, "`scale` 0.0 is out of range"),
            ({"untold": 1.0}, "`untold` 1.0 is out of range"),
            (
                {"targets": ["*"]},
                r"`targets` \['\*'\] fits attnpool.k_proj.weight, which the tower hands to a function",
            ),
            ({"targets": ["none"]}, "fits no matrix of the image tower, the first are conv1.weight"),
        ],
    )
    def test_impossible_choices_are_refused(self, options, match):
        usual = {"rank": 2, "scale": 4.0, "targets": TARGETS, "codecs": ["jpeg-{}"], "untold": 0.2}
        with pytest.raises(UserError, match=match):
            ConditionedLoRA(**{**usual, **options}).layers(build_awake(RESNET).visual, 64)

    def test_labels_are_refused(self):
        with pytest.raises(UserError, match="Augment learns from labels, and no control could tell what that alone"):
            ConditionedTuning(Augment())

    def test_a_codec_that_is_never_drawn_is_refused_before_the_fit(self, clip):
        module = ConditionedTuning(Consistency(), codecs=["webp-{}"], **clip["vit"])
        with pytest.raises(UserError, match=r"`codecs` has webp-\{\}, which no training image is degraded with"):
            Trainer(max_epochs=1, **QUIET).fit(module, few())

    def test_it_goes_with_nothing_else(self, clip):
        with pytest.raises(UserError, match="`adapter` and `restoration` do not go together: leave one out"):
            ZeroShotEvaluation(**clip["vit"], adapter="told.safetensors", restoration="deblock-10")

    def test_attributions_are_refused_before_the_first_batch(self, clip, encoder, tmp_path):
        file = write_adapter(tmp_path, encoder)
        callback = IntegratedGradients(First(1))
        trainer = Trainer(default_root_dir=tmp_path, callbacks=[callback], **QUIET)
        module = ZeroShotEvaluation(**clip["vit"], adapter=str(file))
        with pytest.raises(UserError, match="embeds an original and its view by two functions"):
            trainer.test(module, few(), verbose=False)
        assert module.parts == []


def write_adapter(folder, encoder, state=None, said=None, content=None, tuned_from=None):
    """A file with an adapter of two layers of the tiny ViT, or with what else is asked for."""
    path = folder / "told.safetensors"
    if content is not None:
        path.write_bytes(content)
        return path
    layers = reached_layers(encoder.model.visual, encoder.image_size)
    chosen = {name: layer for name, layer in layers.items() if name.endswith("c_fc")}
    adapter = ConditionedAdapter(chosen, 2, 4.0, Conditions(JPEG))
    given = metadata(2, 4.0, Conditions(JPEG), tuned_from or encoder.provenance()["weights_sha256"])
    save_file({**adapter.named_state(), **(state or {})}, path, given | ({} if said is None else {"adapter": said}))
    return path


class TestFiles:
    def test_what_is_written_is_read(self, encoder, tmp_path):
        path = write_adapter(tmp_path, encoder, state={"strengths": torch.arange(8.0).view(4, 2)})
        adapter = read_adapter(path, encoder).adapter
        assert adapter.named_state().keys() == load_file(path).keys()
        assert all(tensor.equal(adapter.named_state()[name]) for name, tensor in load_file(path).items())
        assert adapter.conditions == Conditions(JPEG)
        assert {update.factor for update in adapter.updates.values()} == {2.0}
        assert not any(parameter.requires_grad for parameter in adapter.parameters())

    @pytest.mark.parametrize(
        ("changes", "match"),
        [
            ({"state": {"strengths": torch.zeros(4, 3)}}, r"as float32 \[4, 3\] and not float32 \[4, 2\]"),
            ({"state": {"transformer.resblocks.0.mlp.c_fc.up": torch.zeros(3, 2)}}, r"as float32 \[3, 2\] and not"),
            ({"state": {"strengths": torch.full((4, 2), torch.inf)}}, "not finite, first in strengths"),
            ({"state": {"transformer.resblocks.0.attn.out_proj.up": torch.zeros(1)}}, "adds to .*out_proj, which is"),
            ({"state": {"more": torch.zeros(1)}}, "which is no layer of the encoder"),
            ({"said": '{"rank": 1000000000, "scale": 4.0, "codecs": {}}'}, "declares the adapter"),
            ({"said": '{"rank": 2, "scale": NaN, "codecs": {}}'}, "declares the adapter"),
            ({"said": '{"rank": 2, "scale": 4.0, "codecs": {"jpeg": [1, 2]}}'}, "declares the adapter"),
            ({"said": '{"rank": 2, "scale": 4.0, "codecs": {"jpeg-{}": [-1, 2]}}'}, "declares the adapter"),
            ({"said": '{"rank": 2}'}, "declares the adapter"),
            ({"said": "[" * 5000}, "declares the adapter"),
            ({"tuned_from": "another"}, "is of the encoder with the hash another and not of vit"),
            ({"content": b"\xff" * 64}, "is no safetensors file"),
        ],
    )  # fmt: skip
    def test_a_file_of_anything_else_is_refused_in_one_line(self, encoder, tmp_path, changes, match):
        with pytest.raises(UserError, match=match) as error:
            read_adapter(write_adapter(tmp_path, encoder, **changes), encoder)
        assert "\n" not in str(error.value)
        assert "a fit of bench.ConditionedTuning exported" in str(error.value)
        assert len(str(error.value)) < 600
