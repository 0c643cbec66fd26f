"""Fits of a tiny CLIP: what moves, what must not, and that an interruption changes nothing."""

from math import isfinite

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint, StochasticWeightAveraging
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassPrecision

from bench.clip.encoders import load_encoder
from bench.clip.zero_shot import ZeroShotClassifier
from bench.finetuning import (
    Augment,
    Consistency,
    FrequencyConsistency,
    LastBlocks,
    LinearCorrection,
    LogitDistillation,
    LoRA,
    Norms,
    Sum,
    TokenConsistency,
    WholeTower,
)
from bench.finetuning.integrity import fingerprint
from bench.finetuning.optimisation import moving_average, warmup_cosine
from bench.finetuning.robust import described, last_block_watched
from callbacks import ExponentialAverage
from datamodules.errors import UserError
from tests.support.fits import Losses, Stop, few

KINDS = pytest.mark.parametrize("kind", ["resnet", "vit"])
CHOICES = [WholeTower(), LastBlocks(1), Norms(), LoRA(2)]


def moved(module):
    before, after = module.original_state(), module.tuned_state()
    return {name for name in before if not torch.equal(before[name], after[name])}


class TestFreezing:
    @KINDS
    @pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: type(choice).__name__)
    def test_nothing_but_the_chosen_weights_moves(self, tuning, fit, clip, kind, choice):
        module = tuning(kind, trainable=choice, weight_decay=0.1)
        fit(module)
        untouched = load_encoder(clip[kind]["encoder"], clip[kind]["pretrained"]).model.state_dict()
        state = module.tuned_state()
        assert fingerprint(state, without=module.moving) == fingerprint(untouched, without=module.moving)
        changed = {name for name in untouched if not torch.equal(untouched[name], state[name])}
        assert changed == module.moving
        assert all(name.startswith("visual.") for name in changed)

    def test_batch_norm_statistics_are_frozen_also_while_the_whole_tower_learns(self, tuning, fit):
        module = tuning("resnet")
        before = {name: tensor.clone() for name, tensor in module.tower.named_buffers()}
        fit(module)
        assert any("running_mean" in name for name in before)
        assert all(torch.equal(tensor, before[name]) for name, tensor in module.tower.named_buffers())
        assert not any(part.training for part in module.model.modules())

    def test_averaged_weights_leave_frozen_ones_alone_bit_for_bit(self, tuning, fit):
        module = tuning("resnet", trainable=Norms())
        fit(module, callbacks=[ExponentialAverage(0.7)])
        assert moved(module) == module.moving

    def test_a_frozen_weight_that_moved_is_found_and_nothing_is_given_out(self, tuning):
        module = tuning(trainable=Norms())
        with torch.no_grad():
            module.model.logit_scale += 1e-6
        with pytest.raises(RuntimeError, match="a frozen weight has changed"):
            module.tuned_state()

    def test_the_fingerprint_sees_a_single_bit_and_no_order(self):
        one = {"a": torch.zeros(2), "b": torch.ones(1)}
        assert fingerprint(one) == fingerprint(dict(reversed(one.items())))
        assert fingerprint(one) != fingerprint(one | {"a": torch.tensor([0.0, -0.0])})
        assert fingerprint(one) != fingerprint({"a": torch.zeros(2, 1), "b": torch.ones(1)})


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")  # it is what one resumes from
class TestInterruption:
    @pytest.mark.parametrize("averaged", [False, True], ids=["last", "averaged"])
    @pytest.mark.parametrize("choice", [WholeTower(), LoRA(2)], ids=["whole", "lora"])
    def test_a_killed_and_resumed_fit_gives_the_weights_of_an_undisturbed_one(
        self, tuning, fit, tmp_path, averaged, choice
    ):
        def callbacks(name, *more):
            watch = ModelCheckpoint(tmp_path / name, save_last=True)
            return [*([ExponentialAverage(0.5)] if averaged else []), *more, watch]

        options = {"max_epochs": 3, "enable_checkpointing": True}
        undisturbed = tuning("resnet", trainable=choice)
        fit(undisturbed, few(), callbacks=callbacks("undisturbed"), **options)
        killed = tuning("resnet", trainable=choice)
        with pytest.raises(SystemExit):
            fit(killed, few(), callbacks=callbacks("killed", Stop(2)), **options)
        resumed = tuning("resnet", trainable=choice)
        fit(resumed, few(), callbacks=callbacks("killed"), ckpt_path=tmp_path / "killed" / "last.ckpt", **options)
        expected, found = undisturbed.tuned_state(), resumed.tuned_state()
        assert all(torch.equal(expected[name], found[name]) for name in expected)  # on one machine, no tolerance
        assert any(not torch.equal(killed.tuned_state()[name], found[name]) for name in resumed.moving)


@KINDS
def test_the_linear_correction_brings_degraded_embeddings_closer_and_moves_the_projection_alone(clip, fit, data, kind):
    module = LinearCorrection(**clip[kind], ridge=1e-6)
    source = data()
    fit(module, source, max_epochs=3)
    projection = {"visual.proj"} if kind == "vit" else {"visual.attnpool.c_proj.weight", "visual.attnpool.c_proj.bias"}
    assert moved(module) == module.moving == projection
    before, after = 0.0, 0.0
    with torch.no_grad():
        for batch in source.train_dataloader():
            target = module.embed(module.original, batch.views["original"])
            for tower, add in ((module.original, "before"), (module.tower, "after")):
                found = (module.embed(tower, batch.views["random"]) - target).square().sum().item()
                before, after = (before + found, after) if add == "before" else (before, after + found)
    assert after < 0.9 * before


@KINDS
def test_tokens_are_what_the_last_block_is_given(tuning, kind):
    module, images = tuning(kind), torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    tower = module.tower
    block = tower.layer4[0] if kind == "resnet" else tower.transformer.resblocks[-1]
    expected, seen = [], []
    block.register_forward_pre_hook(lambda _, given: expected.append(given[0]))
    with last_block_watched(tower, seen.append):
        module.embed(tower, images)
    module.embed(tower, images)
    assert len(seen) == 1
    assert torch.equal(seen[0], expected[0])


@KINDS
def test_a_fit_by_tokens_brings_degraded_ones_closer_to_the_frozen_encoders(tuning, fit, data, kind):
    watch = Losses()
    module = tuning(kind, objective=Sum([Consistency(), TokenConsistency()], [0.01, 1.0]), learning_rate=3e-3)
    fit(module, data(), callbacks=[watch], max_epochs=12)
    assert sum(watch.values[-4:]) < 0.9 * sum(watch.values[:4])
    assert module.method()["objective"]["label_free"]


class TestTraining:
    def test_the_loss_falls(self, tuning, fit):
        losses = Losses()
        fit(tuning(objective=Augment(), learning_rate=5e-3), callbacks=[losses], max_epochs=8)
        assert sum(losses.values[-4:]) < 0.9 * sum(losses.values[:4])

    def test_the_rate_warms_up_and_falls_as_a_cosine_over_all_steps(self, tuning, fit):
        class Rates(Callback):
            def __init__(self):
                self.values = []

            def on_train_batch_start(self, trainer, module, batch, batch_idx):
                self.values.append(trainer.optimizers[0].param_groups[0]["lr"])

        rates = Rates()
        fit(tuning(learning_rate=0.01, warmup=0.5), callbacks=[rates])
        assert rates.values == pytest.approx([0.01 * warmup_cosine(step, 2, 4) for step in range(4)])
        assert rates.values == pytest.approx([0.005, 0.01, 0.01, 0.005])

    def test_gains_and_biases_do_not_decay(self, tuning, fit):
        trainer = fit(tuning(weight_decay=0.3), max_epochs=1)
        decayed, free = trainer.optimizers[0].param_groups
        assert (decayed["weight_decay"], free["weight_decay"]) == (0.3, 0.0)
        assert {p.ndim for p in free["params"]} == {1}
        assert min(p.ndim for p in decayed["params"]) == 2

    def test_accumulated_batches_are_one_step(self, tuning, fit):
        assert fit(tuning(), accumulate_grad_batches=2).global_step == 2

    @pytest.mark.parametrize(
        "objective", [Consistency(), FrequencyConsistency(), LogitDistillation(), TokenConsistency()], ids=repr
    )
    def test_the_clean_only_control_of_a_label_free_objective_is_the_original_itself(
        self, tuning, fit, data, objective
    ):
        views = data().training_views
        control = data(training_views=type(views)(views.codecs, clean=1.0))
        module = tuning(objective=objective, weight_decay=0.0)
        fit(module, control)
        assert moved(module) == set()

    def test_the_clean_only_control_of_augmentation_learns(self, tuning, fit, data):
        views = data().training_views
        module = tuning(objective=Augment())
        fit(module, data(training_views=type(views)(views.codecs, clean=1.0)))
        assert moved(module) == module.moving


def test_the_average_is_unbiased_after_any_number_of_steps_and_leaves_what_is_frozen_alone(fit_numbers):
    for decay, steps in ((0.99, 11), (0.5, 3), (0.0, 4), (0.9, 1)):
        weights, averaged, frozen = fit_numbers(ExponentialAverage(decay), steps)
        assert frozen.view(torch.int32).equal(FROZEN.view(torch.int32))
        shares = torch.tensor([decay**age for age in range(steps - 1, -1, -1)], dtype=torch.float64)
        expected = shares / shares.sum() @ torch.stack(weights).double()
        torch.testing.assert_close(averaged.double(), expected, rtol=1e-6, atol=1e-7)


FROZEN = torch.tensor([0.1, -0.0, 3e38])


@pytest.fixture
def fit_numbers(tmp_path):
    """Fits three numbers; gives their values after each step, those the fit ends with, and three that it has frozen."""

    class Numbers(LightningModule):
        def __init__(self):
            super().__init__()
            self.numbers, self.seen = torch.nn.Parameter(torch.tensor([1.0, 2.0, -3.0])), []
            self.frozen = torch.nn.Parameter(FROZEN.clone(), requires_grad=False)

        def training_step(self, batch, batch_idx):
            return (self.numbers * batch[0]).square().sum()

        def on_train_batch_end(self, outputs, batch, batch_idx):
            self.seen.append(self.numbers.detach().clone())

        def configure_optimizers(self):
            return torch.optim.SGD([self.numbers], lr=0.05)

    def fit(callback, steps):
        module, rows = Numbers(), torch.rand(steps, 3, generator=torch.Generator().manual_seed(0))
        trainer = Trainer(
            accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, default_root_dir=tmp_path, callbacks=[callback],
        )  # fmt: skip
        trainer.fit(module, DataLoader(TensorDataset(rows), batch_size=1))
        return module.seen, module.numbers.detach(), module.frozen.detach()

    return fit


@pytest.mark.parametrize(
    ("callbacks", "described"),
    [
        ([], {"name": "no average"}),
        ([ModelCheckpoint(), ExponentialAverage(0)], {"name": "ExponentialAverage", "decay": 0.0}),
        ([EMAWeightAveraging()], {"name": "EMAWeightAveraging"}),
        ([StochasticWeightAveraging(1e-3)], {"name": "StochasticWeightAveraging"}),
    ],
)
def test_whatever_averages_the_weights_of_steps_is_named(callbacks, described):
    assert moving_average(Trainer(accelerator="cpu", logger=False, callbacks=callbacks)) == described


class TestUnreadable:
    @pytest.mark.parametrize("method", ["gradient", "linear"])
    def test_a_batch_without_a_readable_image_moves_nothing(self, tuning, clip, fit, method, break_images):
        break_images(2, 5)  # of which 5 is held out
        module = LinearCorrection(**clip["resnet"]) if method == "linear" else tuning(objective=Augment())
        losses = Losses()
        source = few(batch_size=1, limit=10, on_error="skip")
        trainer = fit(module, source, max_epochs=1, callbacks=[] if method == "linear" else [losses])
        assert len(losses.values) == (0 if method == "linear" else 8)
        assert all(isfinite(loss) for loss in losses.values)
        assert isfinite(trainer.callback_metrics["val/loss/jpeg-25"])
        assert {image.index: image.reason for image in source.unreadable.values()} == dict.fromkeys(
            (2, 5), "ValueError: broken"
        )
        assert moved(module) == module.moving
        assert all(tensor.isfinite().all() for tensor in module.tuned_state().values())


@pytest.mark.parametrize("averaged", [False, True], ids=["last", "averaged"])
def test_validation_measures_every_view_as_the_tuned_weights_classify_it(tuning, fit, data, averaged):
    module, source = tuning(), data()
    trainer = fit(module, source, callbacks=[ExponentialAverage(0.5)] if averaged else None)
    encoder = module.with_weights(module.tuned_state())
    classifier = ZeroShotClassifier(encoder, source.class_names, module.templates)
    logged = trainer.callback_metrics
    for view in ("original", "jpeg-25"):
        oracle = MulticlassPrecision(10, average="micro")
        with torch.no_grad():
            for batch in source.val_dataloader():
                oracle.update(classifier(batch.views[view]), batch.labels)
        assert logged[f"val/precision/{view}"] == pytest.approx(float(oracle.compute()))
        assert f"val/loss/{view}" in logged
    assert logged["val/precision_mean"] == pytest.approx(
        (logged["val/precision/original"] + logged["val/precision/jpeg-25"]) / 2
    )


def test_a_checkpoint_does_not_hold_the_frozen_copy(tuning):
    names = tuning().state_dict()
    assert sum(name.endswith("attnpool.c_proj.weight") for name in names) == 1


def test_choices_are_described_with_everything_within():
    from bench.finetuning import Sum

    both = Sum([Augment(), Consistency(keep=2.0)], [1.0, 0.5])
    assert described(both) == {
        "name": "Sum",
        "terms": [{"name": "Augment"}, {"name": "Consistency", "keep": 2.0}],
        "weights": [1.0, 0.5],
    }
    assert described(LoRA(4)) == {"name": "LoRA", "rank": 4, "scale": 16.0, "targets": ("*",)}


class TestMistakes:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"learning_rate": 0.0}, "`learning_rate` 0.0 is out of range"),
            ({"weight_decay": -1.0}, "`weight_decay` -1.0 is out of range"),
            ({"warmup": 1.0}, "`warmup` 1.0 is out of range"),
            ({"templates": ["an image"]}, "template 'an image'"),
        ],
    )
    def test_bad_arguments_are_refused(self, tuning, options, message):
        with pytest.raises(UserError, match=message):
            tuning(**options)

    @pytest.mark.parametrize(("options", "message"), [({"ridge": 0.0}, "`ridge` 0.0"), ({"keep": -1.0}, "`keep` -1.0")])
    def test_bad_arguments_of_the_linear_correction_too(self, clip, options, message):
        with pytest.raises(UserError, match=message):
            LinearCorrection(**clip["vit"], **options)

    def test_data_without_random_views_are_refused(self, tuning, fit, data):
        with pytest.raises(UserError, match="`training_views` is not set"):
            fit(tuning(), data(training_views=None))

    @pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64-true"])
    def test_precisions_that_round_the_weights_or_the_record_of_them_are_refused(self, tuning, fit, precision):
        with pytest.raises(UserError, match=f"`precision` {precision} keeps the weights in another type"):
            fit(tuning(), few(), precision=precision)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"max_epochs": -1, "max_time": {"seconds": 1}}, "`max_epochs` -1 leaves open over how many steps"),
            ({"max_epochs": 0}, "the fit makes no step"),
            ({"limit_train_batches": 0}, "the fit makes no step"),
        ],
    )
    def test_a_schedule_without_a_number_of_steps_is_refused(self, tuning, fit, options, message):
        with pytest.raises(UserError, match=message):
            fit(tuning(), few(), **options)

    def test_a_linear_correction_that_nothing_ends_is_refused(self, clip, fit):
        with pytest.raises(UserError, match="set `max_epochs`"):
            fit(LinearCorrection(**clip["vit"]), few(), max_epochs=None, max_steps=3)

    def test_divergence_is_an_error_not_a_file(self, tuning):
        module = tuning()
        with torch.no_grad():
            module.tower.conv1.weight.fill_(torch.nan)
        with pytest.raises(UserError, match="training diverged: choose a lower `learning_rate`"):
            module.tuned_state()

    def test_decay_of_the_average_is_a_share(self):
        with pytest.raises(UserError, match=r"decay=1\.0"):
            ExponentialAverage(1.0)
