"""What all ways of tuning an image tower share: what is frozen, validation on every view, and the tuned weights."""

import warnings
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from bench.clip.encoders import Encoder, load_encoder
from bench.clip.float32 import convolve_as_products
from bench.clip.preprocess import Preprocess
from bench.clip.run_classifier import classifier_of_the_run
from bench.clip.templates import read_templates, templates_of
from bench.clip.towers import image_tower
from bench.clip.zero_shot import ZeroShotClassifier, class_logits, unit
from bench.finetuning.continuation import (
    UNREADABLE,
    data_settings,
    follow_moved,
    label,
    require_same,
    unreadable_images,
)  # fmt: skip
from bench.finetuning.export import export
from bench.finetuning.integrity import fingerprint, require_finite
from bench.finetuning.optimisation import check_precision, clipping, moving_average, trainer_settings
from bench.finetuning.trainable import merged_state
from bench.finetuning.validation import Measures, Validation, mean_precision
from bench.paper import TEMPLATE
from bench.runs.checkpoints import load_weights_only
from bench.runs.finetuning_record import Training, TrainingViews
from bench.runs.gathering import gather_everywhere
from datamodules.allocation import keep_freed_memory
from datamodules.base import DegradedDataModule, degraded_data
from datamodules.errors import UserError
from datamodules.views import Batch, Images, Unreadable

_TOWER = "visual."

Ends = tuple[dict[str, Tensor], dict[str, Tensor]]
"""State dicts of what a fit exports, before and after."""


class EncoderTuning(LightningModule):
    """A CLIP of which weights of the image tower may change and nothing else does.

    The text tower, the logit scale and all statistics of BatchNorm are frozen; the model stays in evaluation mode.

    Args:
        encoder: As for `bench.ZeroShotEvaluation`.
        pretrained: As for `bench.ZeroShotEvaluation`.
        activation: As for `bench.ZeroShotEvaluation`.
        templates: As for `bench.ZeroShotEvaluation`.

    Attributes:
        card: File of the template of its model card.
        moving: Names in the model's state dict of the weights that may change.
        measured: What the last validation found.

    Raises:
        UserError: The encoder, its weights or the prompts are unusable.
    """

    card: ClassVar[str] = "model_card.md.j2"

    def __init__(
        self,
        encoder: str = "ViT-B/32",
        pretrained: str | None = "openai",
        activation: Literal["quickgelu", "gelu"] | None = None,
        templates: Sequence[str] | str = (TEMPLATE,),
    ) -> None:
        super().__init__()
        self.templates = self._given_templates = read_templates(templates)
        self.source = (encoder, pretrained, activation)
        self.encoder = load_encoder(encoder, pretrained, activation)
        self.model = self.encoder.model
        self._original = [deepcopy(self.tower)]  # in a list: a submodule would be in every checkpoint
        self.preprocess = Preprocess(
            self.encoder.image_size,
            self.encoder.mean,
            self.encoder.std,
            self.encoder.resize_mode,
            self.encoder.interpolation,
        )
        self.text = torch.empty(0)
        self.validation: Validation | None = None
        self.measured: Measures = {}
        self.moving = frozenset(_TOWER + name for name in self.release(self.tower))
        self.frozen_before = fingerprint(self.original_state(), without=self.moving)

    @abstractmethod
    def release(self, tower: nn.Module) -> frozenset[str]:
        """Let weights of the frozen image tower change; their names in the tower's ordinary state dict."""

    @abstractmethod
    def method(self) -> dict[str, Any]:
        """What a record says about how the weights were tuned: JSON-able."""

    @property
    def tower(self) -> nn.Module:
        """The image tower that is tuned."""
        return image_tower(self.model)

    @property
    def original(self) -> nn.Module:
        """The image tower as it was."""
        return self._original[0]

    @property
    def data(self) -> DegradedDataModule:
        """The data module, which owns class names and views.

        Raises:
            UserError: The data module is of another kind.
        """
        return degraded_data(self.trainer)

    def check_run(self, trainer: Trainer, data: DegradedDataModule) -> None:
        """Refuse data without random views and precisions that round weights; see `bench.command_line.checks`."""
        check_precision(trainer)
        if data.training_views is None:
            raise UserError(
                "`training_views` is not set, so there is nothing to become robust against: give codecs and "
                'qualities such as {codecs: {"jpeg-{}": [10, 95]}}',
                option="data.training_views",
            )

    def setup(self, stage: str) -> None:
        """Build the text classifier for the data's class names."""
        load_weights_only(self.trainer)
        convolve_as_products()
        self.data.geometry = self.encoder.geometry
        if stage == "fit":
            self.check_run(self.trainer, self.data)
        if self.trainer.fast_dev_run:  # type: ignore[attr-defined]  # Lightning sets it from another module
            for checkpoint in self.trainer.checkpoint_callbacks:
                checkpoint.save_last = False  # type: ignore[attr-defined]  # Lightning 2.6 saves it in a trial run too
        if self.trainer.strategy.root_device.type == "cpu":
            keep_freed_memory()
        warnings.filterwarnings("ignore", message=r"Found .* module\(s\) in eval mode")  # they have to be
        self.templates = self._given_templates or templates_of(self.data)
        self.text = classifier_of_the_run(self.trainer, self.encoder, self.data.class_names, self.templates)

    def train(self, mode: bool = True) -> Self:
        """Change the mode of everything but the model: statistics of BatchNorm must not move."""
        super().train(mode)
        self.model.eval()
        return self

    def course(self) -> Training:
        """How long and with how many images at once it was tuned, once it is."""
        draws, trainer = self.data.training_views, self.trainer
        assert draws is not None  # checked before fitting
        return Training(
            views=TrainingViews(**draws.describe()),
            epochs=trainer.current_epoch,
            steps=trainer.global_step,
            batch_size=self.data.batch_size,
            accumulated_batches=trainer.accumulate_grad_batches,
            precision=str(trainer.precision),
            moving_average=moving_average(trainer),
            **clipping(trainer),
        )

    @property
    def members(self) -> tuple[str, ...]:
        """SHA-256 of the weights that it is the mean of; empty where it was fitted."""
        return ()

    @property
    def learnt(self) -> bool:
        """Whether a step has been made, so that there is something to export."""
        return self.trainer.global_step > 0

    def unreadable(self) -> tuple[Unreadable, ...]:
        """Images of the fit that some process could not read, by position; every process has to ask."""
        found = {index: image for rank in gather_everywhere(self.data.unreadable) for index, image in rank.items()}
        return tuple(found[index] for index in sorted(found))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say which fit it is of, and what it could not read, which it may not come by again when it goes on."""
        label(checkpoint, *self._subject())
        checkpoint[UNREADABLE] = [astuple(image) for image in self.unreadable()]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse one of another fit, and take up what that could not read."""
        weights, settings = self._subject()
        require_same(checkpoint, weights, settings if self.trainer.training else None)
        if self.trainer.training:
            self.data.unreadable |= {image.index: image for image in unreadable_images(checkpoint)}
        follow_moved(checkpoint, (one for one in self.trainer.checkpoint_callbacks if isinstance(one, ModelCheckpoint)))

    def _subject(self) -> tuple[dict[str, Any], dict[str, Any]]:
        method = self.method()
        weights = {
            "class_path": type(self).__name__,
            "trainable": method.pop("trainable"),
            **{name: self.encoder.provenance()[name] for name in ("architecture", "weights_sha256", "activation")},
        }
        settings = {
            "model": method | {"templates": self.templates},
            "data": data_settings(self.data),
            "trainer": trainer_settings(self.trainer),
        }
        return {"model": weights}, settings

    def on_fit_start(self) -> None:
        """Move what is no submodule."""
        self.original.to(self.device)

    def embed(self, tower: nn.Module, images: Images) -> Tensor:
        """Embeddings [B, D] of images by an image tower, as CLIP leaves them: not of unit length."""
        if not len(images):
            return torch.zeros(0, self.text.shape[1], device=self.device)
        return self.encode(tower, self.preprocess(images))

    @staticmethod
    def encode(tower: nn.Module, inputs: Tensor) -> Tensor:
        """Embeddings [B, D] by an image tower of normalised inputs, float [B, 3, image_size, image_size]."""
        features = tower(inputs)
        embeddings: Tensor = features[0] if isinstance(features, tuple) else features
        return embeddings

    def student(self, images: Images, view: str) -> Tensor:
        """Embeddings [B, D] of images by what is tuned, which may look at the name of their view."""
        return self.embed(self.tower, images)

    def logits(self, features: Tensor) -> Tensor:
        """Class logits float32 [B, C] of embeddings."""
        self.text = self.text.to(features.device)
        return class_logits(self.model, unit(features), self.text)

    def on_validation_epoch_start(self) -> None:
        """Begin to count right answers afresh."""
        self.validation = Validation(len(self.data.class_names))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Classify every view of the held-out images of a batch."""
        assert self.validation is not None
        self.validation.update(lambda view, images: unit(self.student(images, view)), self.logits, batch)

    def on_validation_epoch_end(self) -> None:
        """Log `val/<metric>/<view>`, and the mean precision of all views as `val/precision_mean`."""
        assert self.validation is not None
        self.measured = self.validation.compute()
        if not self.measured:
            raise UserError("none of the held-out images can be read: look at the files of the train split")
        self.log("val/precision_mean", mean_precision(self.measured), sync_dist=True, prog_bar=True)
        scalars = {
            f"val/{name}/{view}": value for view, values in self.measured.items() for name, value in values.items()
        }
        self.log_dict(scalars, sync_dist=True)  # equal on every process; Lightning warns unless it may average them

    def with_weights(self, state: Mapping[str, Tensor]) -> Encoder:
        """The encoder as an ordinary model with these weights, on this module's device; nothing is shared."""
        model = deepcopy(self.model, {id(self.tower): deepcopy(self.original)})  # without parametrisations
        model.load_state_dict(dict(state))
        return replace(self.encoder, model=model.to(self.device))

    def classifier(self, state: Mapping[str, Tensor]) -> ZeroShotClassifier:
        """The encoder with these weights as a test has it, on this module's device."""
        encoder = self.with_weights(state)
        return ZeroShotClassifier(encoder, self.data.class_names, self.templates, self.text).to(self.device)

    def ends(self) -> Ends:
        """What is exported, before and after, with an ordinary model's names.

        Raises:
            RuntimeError: A weight has changed that must not.
            UserError: A weight is not finite.
        """
        return self.original_state(), self.tuned_state()

    def export(self, folder: Path, name: str, shares: Iterable[float], ends: Ends) -> dict[float, tuple[str, str]]:
        """Write weights between the ends; see `bench.finetuning.export.export`."""
        return export(folder, name, shares, ends, self.encoder)

    def original_state(self) -> dict[str, Tensor]:
        """The weights before, with an ordinary model's names."""
        return self._state(self.original)

    def tuned_state(self) -> dict[str, Tensor]:
        """The weights as they are, with an ordinary model's names.

        Raises:
            RuntimeError: A weight has changed that must not.
            UserError: A weight is not finite.
        """
        state = self._state(self.tower)
        if fingerprint(state, without=self.moving) != self.frozen_before:
            raise RuntimeError("a frozen weight has changed: nothing is exported")
        require_finite(state[name] for name in self.moving)
        return state

    def _state(self, tower: nn.Module) -> dict[str, Tensor]:
        rest = {name: tensor for name, tensor in self.model.state_dict().items() if not name.startswith(_TOWER)}
        return {**rest, **{_TOWER + name: tensor for name, tensor in merged_state(tower).items()}}
