"""A checkpoint of a fit of one epoch, and what another command may do with it."""

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler, ModelCheckpoint

from bench.finetuning import Augment, Consistency, LoRA, Norms, RobustFineTuning, WholeTower
from bench.finetuning.continuation import UNREADABLE, unreadable_images
from callbacks import ExponentialAverage
from datamodules.errors import UserError
from datamodules.views import Unreadable
from tests.support.fits import few

QUIET = {
    "accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False,
    "enable_checkpointing": False,
}  # fmt: skip

pytestmark = [
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),  # without the callback that wrote it
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]


CLIPPED = {"gradient_clip_val": 1.0, "gradient_clip_algorithm": "value"}


@pytest.fixture(scope="module")
def made(clip, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    module = RobustFineTuning(Augment(), Norms(), **clip["resnet"], learning_rate=0.002)
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, default_root_dir=folder, **CLIPPED,
        callbacks=[ExponentialAverage(0.9), ModelCheckpoint(folder, save_last=True)],
    )  # fmt: skip
    trainer.fit(module, datamodule=few())
    return folder / "last.ckpt"


def test_it_holds_nothing_that_could_outvote_a_command_line(made):
    saved = torch.load(made, weights_only=True)
    assert not any("hparams" in key or "hyper" in key for key in saved)
    assert saved["fit"]["settings"]["model"]["learning_rate"] == 0.002
    assert saved["fit"]["settings"]["data"]["training_views"]["codecs"] == {"jpeg-{}": [10, 90]}


@pytest.mark.parametrize(
    ("options", "images", "message"),
    [
        ({"learning_rate": 1e-9}, {}, "model.learning_rate 0.002, not 1e-09"),
        ({"objective": Consistency()}, {}, 'model.objective.name "Augment", not "Consistency"'),
        ({"trainable": WholeTower()}, {}, 'model.trainable.name "Norms", not "WholeTower"'),
        ({"templates": ["zebra {}"]}, {}, r'not \["zebra {}"\]'),
        ({}, {"seed": 3}, "data.seed 0, not 3"),
        ({}, {"image_seed": 1}, 'data.content "sha256:[0-9a-f]{64}", not "sha256:'),
    ],
)
def test_a_fit_that_contradicts_it_is_refused(tuning, fit, made, options, images, message):
    settings = {"objective": Augment(), "trainable": Norms(), "learning_rate": 0.002, **options}
    with pytest.raises(UserError, match=message):
        fit(tuning(**settings), few(**images), ckpt_path=made)


@pytest.mark.parametrize(
    ("decay", "options", "message"),
    [
        (0.1, CLIPPED, "trainer.moving_average.decay 0.9, not 0.1"),
        (None, CLIPPED, 'trainer.moving_average.name "ExponentialAverage", not "no average"'),
        (0.9, {}, r"trainer.gradient_clip_val 1.0, not 0.0"),
        (0.9, {"gradient_clip_val": 1.0}, 'trainer.gradient_clip_algorithm "value", not "norm"'),
        (0.9, {**CLIPPED, "accumulate_grad_batches": 2}, "trainer.accumulate_grad_batches 1, not 2"),
        (0.9, {**CLIPPED, "precision": "bf16-mixed"}, 'trainer.precision "32-true", not "bf16-mixed"'),
    ],
)
def test_a_trainer_that_contradicts_it_is_refused(tuning, fit, made, decay, options, message):
    module = tuning(objective=Augment(), trainable=Norms(), learning_rate=0.002)
    average = [] if decay is None else [ExponentialAverage(decay)]
    with pytest.raises(UserError, match=message):
        fit(module, few(), ckpt_path=made, callbacks=average, **options)


def test_the_same_fit_goes_on_for_more_epochs(tuning, fit, made):
    module = tuning(objective=Augment(), trainable=Norms(), learning_rate=0.002)
    callbacks = [ExponentialAverage(0.9), ModelCheckpoint(made.parent, save_last=True)]
    trainer = fit(module, few(), ckpt_path=made, callbacks=callbacks, enable_checkpointing=True, **CLIPPED)
    assert (trainer.current_epoch, trainer.global_step) == (2, 4)


def test_one_that_does_not_say_of_which_images_and_trainer_it_is_goes_on(tuning, fit, made, tmp_path):
    saved = torch.load(made, weights_only=True)
    del saved["fit"]["settings"]["data"]["content"], saved["fit"]["settings"]["trainer"]  # as earlier versions wrote it
    torch.save(saved, tmp_path / "earlier.ckpt")
    module = tuning(objective=Augment(), trainable=Norms(), learning_rate=0.002)
    average = ExponentialAverage(0.9)
    assert fit(module, few(), ckpt_path=tmp_path / "earlier.ckpt", callbacks=[average]).global_step == 4


def test_one_whose_accumulation_follows_a_schedule_goes_on(tuning, fit, tmp_path):
    def go_on(epochs, ckpt_path=None):
        schedule = GradientAccumulationScheduler({1: 2})
        callbacks = [schedule, ModelCheckpoint(tmp_path / f"{epochs}", save_last=True)]
        options = {"callbacks": callbacks, "enable_checkpointing": True, "max_epochs": epochs}
        return fit(tuning(trainable=Norms()), few(), ckpt_path, **options)

    go_on(2)
    assert go_on(3, tmp_path / "2/last.ckpt").global_step == 4


def test_validation_takes_the_templates_that_are_asked_for(tuning, made, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "bench.finetuning.tuning.classifier_of_the_run",
        lambda trainer, encoder, names, templates: asked.append(templates) or torch.eye(len(names), 32),
    )
    module = tuning(objective=Consistency(), trainable=Norms(), templates=["zebra {}"])
    trainer = Trainer(**QUIET)
    trainer.validate(module, datamodule=few(), ckpt_path=made, verbose=False)
    assert asked == [("zebra {}",)]


def test_validation_refuses_weights_of_another_encoder(tuning, made):
    trainer = Trainer(**QUIET)
    with pytest.raises(UserError, match=r"model\.trainable\.name"):
        trainer.validate(tuning(trainable=LoRA(2)), datamodule=few(), ckpt_path=made, verbose=False)
    with pytest.raises(UserError, match=r'model.architecture "resnet", not "vit"'):
        trainer.validate(tuning("vit", trainable=Norms()), datamodule=few(), ckpt_path=made, verbose=False)


def test_what_no_fit_here_has_written_is_refused(tuning, fit, made, tmp_path):
    saved = torch.load(made, weights_only=True)
    torch.save({key: value for key, value in saved.items() if key != "fit"}, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match="`ckpt_path` is no checkpoint of a fit by this program"):
        fit(tuning(), few(), ckpt_path=tmp_path / "other.ckpt")


@pytest.mark.parametrize(
    "listed", [5, [1], [[1, 2]], [[-1, None, "why"]], [["0", None, "why"]], [[0, 3, "why"]], [[0, None, None]], ["abc"]]
)
def test_a_checkpoint_that_lists_no_images_as_unreadable_is_refused(listed):
    assert unreadable_images({}) == []
    assert unreadable_images({UNREADABLE: [[3, None, "cut off"]]}) == [Unreadable(3, None, "cut off")]
    with pytest.raises(UserError, match="`ckpt_path` is damaged"):
        unreadable_images({UNREADABLE: listed})
