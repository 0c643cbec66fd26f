"""Fine-tuning of an image tower, by gradients, so that compression costs it less."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from bench.attribution.sensitivity import predicted_divergence, sensitivity
from bench.clip.towers import residual_blocks
from bench.clip.zero_shot import ZeroShotClassifier
from bench.finetuning.kept_targets import KeptTargets
from bench.finetuning.objectives import Objective, Pairs
from bench.finetuning.optimisation import adamw, no_loss, total_steps, warmup_cosine
from bench.finetuning.trainable import Trainable
from bench.finetuning.tuning import EncoderTuning
from bench.paper import TEMPLATE
from bench.runs.folder import RunFolder
from datamodules.base import DegradedDataModule
from datamodules.degradations import ORIGINAL
from datamodules.errors import UserError
from datamodules.sources import digest
from datamodules.training import RANDOM
from datamodules.views import Batch

P = TypeVar("P", bound=Pairs)

_SENSITIVITY = "sensitivity"
_MOST_MEASURED, _AT_ONCE = 256, 64  # images


class RobustFineTuning(EncoderTuning):
    """Tunes the chosen weights for an objective with AdamW; the learning rate warms up, then falls as a cosine.

    Args:
        objective: What is minimised, of `bench.finetuning`.
        trainable: What learns, of `bench.finetuning`.
        encoder: As for `bench.ZeroShotEvaluation`.
        pretrained: As for `bench.ZeroShotEvaluation`.
        activation: As for `bench.ZeroShotEvaluation`.
        templates: As for `bench.ZeroShotEvaluation`.
        learning_rate: At its peak, above 0.
        weight_decay: AdamW's, for matrices and kernels only, at least 0.
        warmup: Share of all steps in which the learning rate rises, in [0, 1).

    Raises:
        UserError: The encoder, its weights, the prompts or a number is unusable.

    >>> from bench.finetuning import Consistency, Norms
    >>> demo = ("configs/models/demo-rn.json", "configs/models/demo-rn.safetensors")
    >>> module = RobustFineTuning(Consistency(), Norms(), *demo, learning_rate=1e-3)
    >>> module.method()["trainable"]["name"]
    'Norms'

    `Trainer(max_epochs=3).fit(module, data)` tunes it; `callbacks.FineTuningWriter` exports the result.
    """

    def __init__(
        self,
        objective: Objective,
        trainable: Trainable,
        encoder: str = "ViT-B/32",
        pretrained: str | None = "openai",
        activation: Literal["quickgelu", "gelu"] | None = None,
        templates: Sequence[str] | str = (TEMPLATE,),
        learning_rate: float = 1e-5,
        weight_decay: float = 0.01,
        warmup: float = 0.1,
    ) -> None:
        for name, value, fits, mend in [
            ("learning_rate", learning_rate, learning_rate > 0, "choose one above 0"),
            ("weight_decay", weight_decay, weight_decay >= 0, "choose at least 0"),
            ("warmup", warmup, 0 <= warmup < 1, "choose a share of at least 0 and below 1"),
        ]:
            if not fits:
                raise UserError(f"`{name}` {value} is out of range: {mend}", option=f"model.{name}")
        self._choice = trainable
        super().__init__(encoder, pretrained, activation, templates)
        self.save_hyperparameters(ignore=["objective", "trainable"])  # a checkpoint holds no objects of this project
        if objective.uses_tokens and residual_blocks(self.tower) is None:
            raise UserError(
                f"the order of blocks in {type(self.tower).__name__} is not known, so that there are no tokens: choose "
                "another `objective`",
                option="model.objective",
            )
        self.objective = objective
        self._sensitivity: Tensor | None = None
        self._targets: KeptTargets | None = None
        self.learning_rate, self.weight_decay, self.warmup = learning_rate, weight_decay, warmup

    def release(self, tower: nn.Module) -> frozenset[str]:
        return self._choice.release(tower)

    def method(self) -> dict[str, Any]:
        return {
            "objective": {**described(self.objective), "label_free": self.objective.label_free},
            "trainable": described(self._choice),
            "trained_parameters": sum(p.numel() for p in self.parameters() if p.requires_grad),
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay,
            "warmup": self.warmup,
        }

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The objective, a scalar; of a batch without a readable image a 0 that moves nothing."""
        if not len(batch):
            return no_loss(self.parameters())
        loss = self.objective.loss(self.pairs(batch))
        self.log("train/loss", loss, batch_size=len(batch), prog_bar=True)
        return loss

    def pairs(self, batch: Batch) -> Pairs:
        """What objectives may ask of a batch."""
        original, degraded = batch.views[ORIGINAL], batch.views[RANDOM]
        return self.paired(
            Pairs, batch, lambda: self.embed(self.tower, original), lambda: self.embed(self.tower, degraded)
        )

    def paired(
        self,
        make: Callable[..., P],
        batch: Batch,
        embed_original: Callable[[], Tensor],
        embed_degraded: Callable[[], Tensor],
    ) -> P:
        """Pairs of a batch whose student embeds as it is told to, with the frozen encoder's targets.

        Args:
            make: Makes pairs of the attributes of `Pairs`.
            batch: At least one image.
            embed_original: As in `Pairs`, by `tower`.
            embed_degraded: As in `Pairs`, by `tower`.
        """
        seen: dict[str, Tensor] = {}

        def watched(name: str, tower: nn.Module, embed: Callable[[], Tensor]) -> Callable[[], Tensor]:
            if not self.objective.uses_tokens:
                return embed

            def watch() -> Tensor:
                with last_block_watched(tower, partial(seen.__setitem__, name)):
                    return embed()

            return watch

        def tokens(name: str) -> Tensor:
            getattr(pairs, name)
            return seen[name]

        frozen = watched("target", self.original, lambda: self.embed(self.original, batch.views[ORIGINAL]))
        pairs = make(
            embed_original=watched("original", self.tower, embed_original),
            embed_degraded=watched("degraded", self.tower, embed_degraded),
            embed_target=torch.no_grad()(frozen) if self.objective.uses_tokens else lambda: self._target(batch),
            classify=self.logits,
            labels=batch.labels,
            tokens=tokens,
            predicted_divergence=lambda: self._predicted_divergence(batch),
        )
        return pairs

    def on_fit_start(self) -> None:
        """Make room for what the frozen encoder says about each training image, mirrored too where some are."""
        super().on_fit_start()
        if self.objective.uses_sensitivity and self._sensitivity is None:
            encoder = self.with_weights(self.original_state())
            frozen = ZeroShotClassifier(encoder, self.data.class_names, self.templates, self.text).to(self.device)
            self._sensitivity = training_sensitivity(frozen, self.data)
        draws = self.data.training_views
        assert draws is not None  # checked before fitting
        self._positions, self._ways = np.unique(self.data.training_positions), 2 if draws.flip > 0 else 1
        rows, size = self._ways * len(self._positions), self.text.shape[1]
        folder = RunFolder(Path(self.trainer.log_dir or self.trainer.default_root_dir)).unfinished
        facts = [self.encoder.provenance(), self.data.content, self.trainer.precision, self._ways]
        subject = digest(facts, [self._positions.tobytes()])
        file = folder / f"targets-{self.global_rank}" if folder.is_dir() else None
        self._targets = KeptTargets(rows, size, subject, file)

    def _target(self, batch: Batch) -> Tensor:
        images = batch.views[ORIGINAL]
        assert self._targets is not None  # of a fit alone

        @torch.no_grad()
        def embed(places: Tensor) -> Tensor:
            chosen = images[places] if isinstance(images, Tensor) else [images[place] for place in places.tolist()]
            return self.embed(self.original, chosen)

        places = np.searchsorted(self._positions, [draw.index for draw in batch.draws])
        rows = self._ways * places + [draw.mirrored for draw in batch.draws]
        return self._targets.get(rows, embed).to(self.device)

    def _predicted_divergence(self, batch: Batch) -> Tensor:
        assert self._sensitivity is not None  # measured where an objective may ask
        return predicted_divergence(self._sensitivity, batch.views[ORIGINAL], batch.views[RANDOM])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep sensitivity and targets with the checkpoint, so that a fit that is taken up has the bits that it had."""
        super().on_save_checkpoint(checkpoint)
        if self._targets is not None:
            self._targets.save()
        if self._sensitivity is not None:
            checkpoint[_SENSITIVITY] = self._sensitivity

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the sensitivity of the checkpoint."""
        super().on_load_checkpoint(checkpoint)
        self._sensitivity = checkpoint.get(_SENSITIVITY)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW without decay of gains and biases; the schedule advances with every step."""
        optimizer = adamw((p for p in self.parameters() if p.requires_grad), self.learning_rate, self.weight_decay)
        steps = total_steps(self.trainer)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: warmup_cosine(step, math.ceil(self.warmup * steps), steps)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def training_sensitivity(classifier: ZeroShotClassifier, data: DegradedDataModule) -> Tensor:
    """The sensitivity of an encoder per DCT coefficient, float64 [3, 8, 8], on up to 256 images that a fit trains on.

    See `bench.attribution.sensitivity`. Images are as batches bring them: of their own size, or fitted to the encoder.

    Args:
        classifier: On its device.
        data: Set up for a fit.
    """
    positions = data.training_positions
    chosen = positions[:: max(1, len(positions) // _MOST_MEASURED)][:_MOST_MEASURED]
    images = data.views_of(chosen, views=(), geometry=data.geometry)
    parts = (range(first, min(first + _AT_ONCE, len(images))) for first in range(0, len(images), _AT_ONCE))
    batches = (images.collate([images[place] for place in part]).to(classifier.text.device) for part in parts)
    return sensitivity(classifier, (batch.views[ORIGINAL] for batch in batches), data.seed, max_batch=_AT_ONCE).mean


@contextmanager
def last_block_watched(tower: nn.Module, see: Callable[[Tensor], None]) -> Iterator[None]:
    """Hand on what the last residual block of an image tower is given; nothing where its blocks are not known."""
    if (blocks := residual_blocks(tower)) is None:
        yield
        return
    block = tower.get_submodule(blocks.residual[-1].rstrip("."))
    watch = block.register_forward_pre_hook(lambda _, given: see(given[0]))
    try:
        yield
    finally:
        watch.remove()


def described(choice: Objective | Trainable) -> dict[str, Any]:
    """A frozen dataclass as JSON, objectives within objectives too."""
    values = asdict(choice)  # type: ignore[call-overload]  # every choice is a dataclass
    if isinstance(terms := getattr(choice, "terms", None), Sequence):
        values["terms"] = [described(term) for term in terms]
    return {"name": type(choice).__name__, **values}
