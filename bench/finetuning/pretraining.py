"""Train a small CLIP from nothing, so that the benchmark has a model to run where none can be downloaded."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics.classification import MulticlassPrecision

from bench.clip.encoders import load_encoder, new_encoder
from bench.clip.float32 import convolve_as_products
from bench.clip.preprocess import Preprocess
from bench.clip.text_classifier import check_templates
from bench.finetuning.continuation import data_settings, label, require_same
from bench.finetuning.export import save_weights
from bench.finetuning.optimisation import adamw, check_precision, no_loss, total_steps, trainer_settings
from bench.paper import TEMPLATE
from bench.runs.checkpoints import load_weights_only
from datamodules.base import DegradedDataModule, degraded_data
from datamodules.errors import UserError
from datamodules.views import Batch, Images

_LARGEST_SCALE = 100.0  # Radford et al. (2021), section 2.5
_BETAS = (0.9, 0.98)


class ClipPretraining(LightningModule):
    """Trains image and text tower together to match each original image with the prompt of its class.

    The loss is the cross-entropy over the class prompts, one template drawn per step; the class names are those of the
    data module. AdamW, one cycle of the learning rate with cosine annealing. When fitting ends, the weights are written
    as a safetensors file that `load_encoder` reads together with the configuration.

    Args:
        encoder: Path of open_clip's model configuration (JSON) for a square input; it is normalised with OpenAI's mean
            and standard deviation unless it says others.
        output: Where to write the weights in float16 (`.safetensors`); a file that is there is replaced.
        templates: Prompts with `{}` for the class name. Validation uses the first.
        learning_rate: AdamW's at its peak, above 0.
        weight_decay: AdamW's, for matrices and kernels only, at least 0.
        warmup: Share of all steps in which the learning rate rises, above 0 and below 1.

    Raises:
        UserError: The configuration, the output's name, the templates or a number is unusable.
    """

    prompts: Tensor  # int64 [templates, classes, context length]

    def __init__(
        self,
        encoder: str,
        output: Path,
        templates: Sequence[str] = (TEMPLATE, "a photo of a {}.", "a picture of a {}.", "a {}."),
        learning_rate: float = 2e-3,
        weight_decay: float = 0.05,
        warmup: float = 0.2,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if Path(output).suffix != ".safetensors":
            raise UserError(f"`output` {output} has another extension: end it with .safetensors", option="model.output")
        check_templates(templates)
        for name, value, fits, mend in [
            ("learning_rate", learning_rate, learning_rate > 0, "choose one above 0"),
            ("weight_decay", weight_decay, weight_decay >= 0, "choose at least 0"),
            ("warmup", warmup, 0 < warmup < 1, "choose a share above 0 and below 1"),
        ]:
            if not fits:
                raise UserError(f"`{name}` {value} is out of range: {mend}", option=f"model.{name}")
        self.source, self.output, self.templates = encoder, Path(output), tuple(templates)
        self.learning_rate, self.weight_decay, self.warmup = learning_rate, weight_decay, warmup
        self.encoder = new_encoder(encoder)
        self.model: Any = self.encoder.model.requires_grad_(True).train()
        self.preprocess = Preprocess(
            self.encoder.image_size,
            self.encoder.mean,
            self.encoder.std,
            self.encoder.resize_mode,
            self.encoder.interpolation,
        )
        self.precisions: Sequence[MulticlassPrecision] = ()

    def check_run(self, trainer: Trainer, data: DegradedDataModule) -> None:
        """Refuse a precision that rounds the weights; see `bench.command_line.checks.Checks`."""
        check_precision(trainer)

    def setup(self, stage: str) -> None:
        """Tokenise the prompts of the data's classes and make a metric per view."""
        load_weights_only(self.trainer)
        convolve_as_products()
        data = self._data
        self.check_run(self.trainer, data)
        data.geometry = self.encoder.geometry
        if not data.labelled:
            raise UserError("the images have no labels, so there is nothing to learn: sort them into class folders")
        names = data.class_names
        prompts = [template.replace("{}", name) for template in self.templates for name in names]
        self.register_buffer(
            "prompts", self.encoder.tokenizer(prompts).view(len(self.templates), len(names), -1), persistent=False
        )
        metrics = nn.ModuleList(MulticlassPrecision(len(names), average="micro") for _ in data.views)
        self.precisions = cast(Sequence[MulticlassPrecision], metrics)

    @property
    def _data(self) -> DegradedDataModule:
        return degraded_data(self.trainer)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Cross-entropy of the originals, a scalar in nats; of a batch without a readable image a 0."""
        if not len(batch):
            return no_loss(self.parameters())
        template = int(torch.randint(len(self.templates), ()))
        loss = functional.cross_entropy(self._logits(batch.views["original"], template), batch.labels)
        self.log("train/loss", loss, batch_size=len(batch), prog_bar=True)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Keep the logit scale within CLIP's bounds."""
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, math.log(_LARGEST_SCALE))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Classify every view with the first template."""
        for precision, images in zip(self.precisions, batch.views.values(), strict=True):
            precision.update(self._logits(images, 0), batch.labels)

    def on_validation_epoch_end(self) -> None:
        """Log the micro precision of every view as `val/precision/<view>`."""
        for precision, view in zip(self.precisions, self._data.views, strict=True):
            self.log(f"val/precision/{view}", precision.compute(), prog_bar=True, rank_zero_only=True)
            precision.reset()

    def _logits(self, images: Images, template: int) -> Tensor:
        image = self.model.encode_image(self.preprocess(images), normalize=True)
        text = self.model.encode_text(self.prompts[template], normalize=True)
        logits: Tensor = self.model.logit_scale.exp() * image @ text.T
        return logits

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW without decay of gains and biases, and one cosine cycle over all steps."""
        optimizer = adamw(self.model.parameters(), self.learning_rate, self.weight_decay, _BETAS)
        steps = total_steps(self.trainer)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, steps, pct_start=self.warmup)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say which fit it is of."""
        label(checkpoint, *self._subject())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse one of another fit."""
        weights, settings = self._subject()
        require_same(checkpoint, weights, settings if self.trainer.training else None)

    def _subject(self) -> tuple[dict[str, Any], dict[str, Any]]:
        model = {
            "templates": self.templates,
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay,
            "warmup": self.warmup,
        }
        weights = {"class_path": type(self).__name__, "encoder": self.encoder.name}
        settings = {"model": model, "data": data_settings(self._data), "trainer": trainer_settings(self.trainer)}
        return {"model": weights}, settings

    def on_fit_end(self) -> None:
        """Write the weights, once, unless this was only a trial run; of a fit that had made its last step before, too.

        Raises:
            UserError: Training diverged.
        """
        trial = self.trainer.fast_dev_run  # type: ignore[attr-defined]  # Lightning sets it from another module
        if trial or not self.trainer.is_global_zero:
            return
        state = self.model.state_dict()
        weights = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
        if not all(tensor.isfinite().all() for tensor in weights.values()):
            raise UserError(
                f"training diverged at `learning_rate` {self.learning_rate}: choose a lower one",
                option="model.learning_rate",
            )
        save_weights(weights, self.output, self.encoder.activation)
        load_encoder(self.source, str(self.output))
