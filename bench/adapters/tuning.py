"""Training of an addition to a frozen image tower that is told which view it is shown."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn

from bench.adapters.conditions import Conditions
from bench.adapters.files import MOST_RANK, metadata
from bench.adapters.layers import ConditionedAdapter, Layer, reached_layers
from bench.clip.zero_shot import ZeroShotClassifier
from bench.finetuning.export import CHECKPOINT_SUFFIX, save_weights
from bench.finetuning.integrity import require_finite
from bench.finetuning.interpolation import interpolate
from bench.finetuning.objectives import Objective, Pairs
from bench.finetuning.optimisation import no_loss
from bench.finetuning.robust import RobustFineTuning
from bench.finetuning.trainable import Trainable, matrices
from bench.finetuning.tuning import Ends
from bench.paper import TEMPLATE
from datamodules.base import DegradedDataModule
from datamodules.degradations import ORIGINAL
from datamodules.errors import UserError
from datamodules.training import RANDOM
from datamodules.views import Batch, Draw, Images

TARGETS = ("*conv?.weight", "*.downsample.*", "*.c_fc.weight", "*.mlp.c_proj.weight")
"""Convolutions of CLIP's ResNet, and the layers of a ViT's two-layer perceptrons with its patch embedding."""

_TOLD = 1  # tells this draw of an image and epoch apart from those of its random view


@dataclass(frozen=True)
class ConditionedLoRA(Trainable):
    """Low-rank additions beside the layers of the image tower, which itself learns nothing."""

    rank: int
    scale: float
    targets: Sequence[str]
    codecs: Sequence[str]
    untold: float

    def __post_init__(self) -> None:
        for name, value, fits, mend in [
            ("rank", self.rank, 1 <= self.rank <= MOST_RANK, f"choose from 1 to {MOST_RANK}"),
            ("scale", self.scale, self.scale > 0, "choose one above 0"),
            ("untold", self.untold, 0 <= self.untold < 1, "choose a share of at least 0 and below 1"),
        ]:
            if not fits:
                raise UserError(f"`{name}` {value} is out of range: {mend}", option=f"model.{name}")

    def release(self, tower: nn.Module) -> frozenset[str]:
        """Leave the tower as it is."""
        return frozenset()

    def layers(self, tower: nn.Module, image_size: int) -> dict[str, Layer]:
        """The layers that are added to, by name.

        Raises:
            UserError: The patterns fit no matrix, or one that no addition could reach.
        """
        reached = reached_layers(tower, image_size)
        chosen = [name for name, _, _ in matrices(tower) if any(fnmatchcase(name, target) for target in self.targets)]
        for name in chosen:
            if name.removesuffix(".weight") not in reached:
                raise UserError(
                    f"`targets` {list(self.targets)} fits {name}, which the tower hands to a function, where nothing "
                    "can be added image by image: leave it out",
                    option="model.targets",
                )
        if not chosen:
            raise UserError(
                f"`targets` {list(self.targets)} fits no matrix of the image tower, the first are "
                f"{', '.join(f'{name}.weight' for name in list(reached)[:4])}: correct the patterns",
                option="model.targets",
            )
        return {name: layer for name, layer in reached.items() if f"{name}.weight" in chosen}


class ConditionedTuning(RobustFineTuning):
    """Trains low-rank additions to an image tower whose strengths depend on what it is told of each image's view.

    It is told the codec and the quality, which the name of a view says: other methods are not. The strengths of the
    rank's directions are linear between three qualities of each codec (see `bench.adapters.conditions`); of a view of
    another codec it is told nothing, for which it has strengths of their own, learnt by keeping it in the dark now and
    then, and from originals: what an objective's `keep` holds in place is how it embeds these when it is not told. Told
    what it is, an original is embedded as by the frozen encoder, bit for bit: clean precision cannot fall, and the
    clean-only control is the original itself.

    Args:
        objective: What is minimised, label-free ones of `bench.finetuning`: since originals stay what they are, no
            control could tell what labels alone would gain.
        rank: Of the additions, from 1 to 64.
        scale: The additions are scale / rank * B diag(strengths) A; above 0.
        targets: Patterns as of file names; a matrix whose name fits one of them is added to. Only layers that are
            called can be, which those of attention are not.
        codecs: Codecs that are told apart, of those in `training_views`.
        untold: Share of random views of which nothing is told, the clean ones among them too, in [0, 1).
        encoder: As for `bench.ZeroShotEvaluation`.
        pretrained: As for `bench.ZeroShotEvaluation`.
        activation: As for `bench.ZeroShotEvaluation`.
        templates: As for `bench.ZeroShotEvaluation`.
        learning_rate: At its peak, above 0.
        weight_decay: AdamW's, at least 0.
        warmup: Share of all steps in which the learning rate rises, in [0, 1).

    Raises:
        UserError: The encoder, its weights, the prompts, a pattern or a number is unusable.

    >>> from bench.finetuning import Consistency
    >>> demo = ("configs/models/demo-rn.json", "configs/models/demo-rn.safetensors")
    >>> told = ConditionedTuning(Consistency(), rank=4, encoder=demo[0], pretrained=demo[1])
    >>> told.adapter.strengths.shape
    torch.Size([4, 4])

    `Trainer(max_epochs=3).fit(module, data)` trains it; `callbacks.FineTuningWriter` exports a file for
    `bench.ZeroShotEvaluation(adapter=...)`.
    """

    card = "adapter_card.md.j2"

    def __init__(
        self,
        objective: Objective,
        rank: int = 8,
        scale: float = 16.0,
        targets: Sequence[str] = TARGETS,
        codecs: Sequence[str] = ("jpeg-{}",),
        untold: float = 0.2,
        encoder: str = "ViT-B/32",
        pretrained: str | None = "openai",
        activation: Literal["quickgelu", "gelu"] | None = None,
        templates: Sequence[str] | str = (TEMPLATE,),
        learning_rate: float = 3e-4,
        weight_decay: float = 0.0,
        warmup: float = 0.1,
    ) -> None:
        if not objective.label_free:
            raise UserError(
                f"{type(objective).__name__} learns from labels, and no control could tell what that alone gains where "
                "originals stay what they are: choose a label-free `objective` such as bench.finetuning.Consistency",
                option="model.objective",
            )
        choice = ConditionedLoRA(rank, scale, tuple(targets), tuple(codecs), untold)
        super().__init__(
            objective, choice, encoder, pretrained, activation, templates, learning_rate, weight_decay, warmup
        )
        self._lora = choice
        self._layers = choice.layers(self.tower, self.encoder.image_size)
        ranges = dict.fromkeys(choice.codecs, (0, 0))  # until there are data that say them
        self.adapter = ConditionedAdapter(self._layers, rank, scale, Conditions(ranges))

    def method(self) -> dict[str, Any]:
        return {**super().method(), "told": "codec and quality"}

    def check_run(self, trainer: Trainer, data: DegradedDataModule) -> None:
        """Refuse codecs that no training image is degraded with."""
        super().check_run(trainer, data)
        self._conditions(data)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        self.adapter.conditions = self._conditions(self.data)

    def _conditions(self, data: DegradedDataModule) -> Conditions:
        drawn = {} if data.training_views is None else data.training_views.codecs
        for codec in self._lora.codecs:
            if codec not in drawn:
                raise UserError(
                    f"`codecs` has {codec}, which no training image is degraded with: choose from "
                    f"{', '.join(drawn) or 'those of `training_views`, of which there are none'}",
                    option=("model.codecs", "data.training_views.codecs"),
                )
        return Conditions({codec: (drawn[codec][0], drawn[codec][1]) for codec in self._lora.codecs})

    def student(self, images: Images, view: str) -> Tensor:
        """Embeddings [B, D] of images of one view, whose name is told."""
        return self._adapted(images, [view] * len(images))

    def _adapted(self, images: Images, views: Sequence[str | None]) -> Tensor:
        with self.adapter.attached(self.tower, views):
            return self.embed(self.tower, images)

    def pairs(self, batch: Batch) -> Pairs:
        """What objectives may ask of a batch; each random view is embedded as its own draw asks.

        Originals are not told to be any, since there would be nothing to learn from them.
        """
        original, degraded = batch.views[ORIGINAL], batch.views[RANDOM]
        views = [self._told(draw) for draw in batch.draws]
        return self.paired(
            Pairs, batch, lambda: self._adapted(original, [None] * len(batch)), lambda: self._adapted(degraded, views)
        )

    def _told(self, draw: Draw) -> str | None:
        """Name of a random view, None where it is not told."""
        untold = np.random.default_rng([self.data.seed, draw.epoch, draw.index, _TOLD]).random() < self._lora.untold
        return None if untold else draw.view

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The objective, a scalar; of a batch of which nothing is degraded, one that moves nothing."""
        loss = super().training_step(batch, batch_idx)
        return loss if loss.requires_grad else loss + no_loss(self.parameters())

    def ends(self) -> Ends:
        """The adapter with nothing to add, and the trained one: between them additions grow in proportion.

        Raises:
            RuntimeError: A weight of the encoder has changed.
            UserError: A number is not finite.
        """
        super().ends()  # which looks at the encoder
        state = self.adapter.named_state()
        require_finite(state.values())
        nothing = {name: torch.zeros_like(part) if name.endswith(".up") else part for name, part in state.items()}
        return nothing, state

    def classifier(self, state: Mapping[str, Tensor]) -> ZeroShotClassifier:
        """The encoder with an adapter of these numbers, as a test has it, on this module's device."""
        adapter = ConditionedAdapter.with_state(self._layers, self._lora.scale, self.adapter.conditions, state)
        names = self.data.class_names
        classifier = ZeroShotClassifier(self.encoder, names, self.templates, self.text, adapter=adapter)
        return classifier.to(self.device)

    def export(self, folder: Path, name: str, shares: Iterable[float], ends: Ends) -> dict[float, tuple[str, str]]:
        """Write adapters between the one that adds nothing and the trained one, as safetensors."""
        files = {}
        tuned_from = str(self.encoder.provenance()["weights_sha256"])
        said = metadata(self._lora.rank, self._lora.scale, self.adapter.conditions, tuned_from)
        for share in shares:
            file = f"{name}{'' if share == 1 else f'-{share:g}'}{CHECKPOINT_SUFFIX}"
            state = interpolate(*ends, share)
            files[share] = file, save_weights(state, folder / file, None, alpha=f"{share:g}", **said)
        return files
