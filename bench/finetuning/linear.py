"""A linear correction of the embedding, fitted in closed form: no gradient, and one pass per view of an image."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Timer
from torch import Tensor, nn

from bench.clip.towers import Projection, last_projection
from bench.finetuning.optimisation import refuse_running_average
from bench.finetuning.tuning import EncoderTuning
from bench.paper import TEMPLATE
from bench.runs.finetuning_record import Training
from bench.runs.gathering import gather_everywhere
from datamodules.base import DegradedDataModule
from datamodules.degradations import ORIGINAL
from datamodules.errors import UserError
from datamodules.training import RANDOM
from datamodules.views import Batch

_SUMS = "linear_correction"


class LinearCorrection(EncoderTuning):
    """Maps the embedding of a degraded image to that of its original, and folds the map into the last projection.

    The matrix A and offset b that minimise, over all images and the random views drawn for them,
    `|A f0(random) + b - f0(original)|^2 + keep * |A f0(original) + b - f0(original)|^2` and a ridge that holds A near
    the identity: `bench.finetuning.Consistency` with nothing trainable but the projection. Label-free. What is summed
    has the size of the embedding squared; each epoch adds another random view of every image. Towers whose projection
    has no offset (ViT) get none. Sums and solution are float64 on the host, which not every device has.

    Args:
        encoder: As for `bench.ZeroShotEvaluation`.
        pretrained: As for `bench.ZeroShotEvaluation`.
        activation: As for `bench.ZeroShotEvaluation`.
        templates: As for `bench.ZeroShotEvaluation`.
        ridge: Weight of |A - I|^2 in units of the mean square of an embedding's coordinate, per image; above 0.
        keep: Weight of the originals, at least 0.

    Raises:
        UserError: The encoder, its weights, the prompts or a number is unusable.
    """

    def __init__(
        self,
        encoder: str = "ViT-B/32",
        pretrained: str | None = "openai",
        activation: Literal["quickgelu", "gelu"] | None = None,
        templates: Sequence[str] | str = (TEMPLATE,),
        ridge: float = 1e-3,
        keep: float = 1.0,
    ) -> None:
        if not ridge > 0:
            raise UserError(f"`ridge` {ridge} is out of range: choose one above 0", option="model.ridge")
        if not keep >= 0:
            raise UserError(f"`keep` {keep} is out of range: choose at least 0", option="model.keep")
        super().__init__(encoder, pretrained, activation, templates)
        self.save_hyperparameters()
        self.automatic_optimization = False
        self.ridge, self.keep = ridge, keep
        size = int(self.tower.output_dim)  # type: ignore[arg-type]
        self.sums = Moments.zero(size)
        self._fresh = Moments.zero(size)

    def release(self, tower: nn.Module) -> frozenset[str]:
        """The projection, which no optimiser touches."""
        weight, bias = _projection(tower)
        weight.requires_grad_(True)  # DistributedDataParallel refuses a model without such a weight
        names = {id(parameter): name for name, parameter in tower.named_parameters()}
        return frozenset(names[id(part)] for part in (weight, bias) if part is not None)

    def method(self) -> dict[str, Any]:
        return {
            "objective": {"name": "LinearCorrection", "keep": self.keep, "ridge": self.ridge, "label_free": True},
            "trainable": None,
        }

    def check_run(self, trainer: Trainer, data: DegradedDataModule) -> None:
        """Refuse callbacks that average the weights of steps, and fits that only a step could end."""
        super().check_run(trainer, data)
        refuse_running_average(trainer)
        callbacks = trainer.callbacks  # type: ignore[attr-defined]  # a connector sets it
        if trainer.max_epochs == -1 and not any(isinstance(part, Timer) for part in callbacks):
            raise UserError(
                "a linear correction makes no optimiser's step that could end it: set `max_epochs`",
                option="trainer.max_epochs",
            )

    def setup(self, stage: str) -> None:
        super().setup(stage)
        warnings.filterwarnings("ignore", message=".*configure_optimizers.* returned .None.")

    def configure_optimizers(self) -> None:
        """There is nothing to descend."""

    @torch.no_grad()
    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the sums."""
        if not len(batch):
            return
        pair = [self.embed(self.original, batch.views[view]).float() for view in (ORIGINAL, RANDOM)]
        target, degraded = torch.stack(pair).cpu()
        self._fresh.add(moments(degraded, target))
        self._fresh.add(moments(target, target, weight=self.keep))

    def on_validation_start(self) -> None:
        """Solve before what is solved is measured, also in the middle of an epoch that `max_time` ends."""
        self._solve()

    def on_train_epoch_end(self) -> None:
        """Solve with what no validation has followed."""
        self._solve()

    @torch.no_grad()
    def _solve(self) -> None:
        """Take up what all processes have summed since the last solution, if there is anything, and solve."""
        summed = gather_everywhere(self._fresh)
        if not any(fresh.second.any() for fresh in summed):
            return
        for fresh in summed:
            self.sums.add(fresh)
        self._fresh.clear()
        _, bias = _projection(self.tower)
        fold(self.tower, self.original, *near_identity(self.sums, self.ridge, offset=bias is not None))
        # without an optimiser Lightning counts no steps, and where none was made it writes no checkpoint
        steps = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        steps.increment_ready()
        steps.increment_completed()

    def course(self) -> Training:
        """How long it was fitted, without an optimiser's step."""
        return replace(super().course(), steps=0)

    @property
    def learnt(self) -> bool:
        """Whether an image is in the sums."""
        return bool(self.sums.second.any())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the sums in the checkpoint, so that an interrupted fit can go on."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[_SUMS] = vars(self.sums)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the sums of the checkpoint."""
        super().on_load_checkpoint(checkpoint)
        self.sums = Moments(**checkpoint[_SUMS])


@dataclass(frozen=True)
class Moments:
    """Sums over pairs of embeddings, x and y.

    Attributes:
        second: Sum of (x, 1) (x, 1)^T, float64 [D + 1, D + 1], on the host.
        cross: Sum of y (x, 1)^T, float64 [D, D + 1], on the host.
    """

    second: Tensor
    cross: Tensor

    @classmethod
    def zero(cls, size: int) -> Self:
        """Sums over no pairs of embeddings, whose size is given."""
        return cls(*(torch.zeros(rows, size + 1, dtype=torch.float64) for rows in (size + 1, size)))

    def add(self, other: Self) -> None:
        """Add to these sums in place."""
        self.second.add_(other.second)
        self.cross.add_(other.cross)

    def clear(self) -> None:
        """Make these sums those over no pairs, in place."""
        self.second.zero_()
        self.cross.zero_()


def moments(features: Tensor, target: Tensor, weight: float = 1.0) -> Moments:
    """The sums over rows x of features and y of target, [B, D] each and on the host, times a weight."""
    padded = nn.functional.pad(features.double(), (0, 1), value=1.0)
    weighted = weight * padded
    return Moments(padded.T @ weighted, target.double().T @ weighted)


def near_identity(sums: Moments, ridge: float, *, offset: bool) -> tuple[Tensor, Tensor]:
    """The A [D, D] and b [D] with least `sum |A x + b - y|^2 + ridge * s * |A - I|^2`, s = sum |x|^2 / D.

    Ridge regression of y - x on x with penalty ridge * s (Hoerl and Kennard, 1970), since A = I + B.

    Args:
        sums: Over x and y.
        ridge: Above 0.
        offset: Whether b is free; otherwise it is 0.
    """
    second, cross = sums.second, sums.cross
    size = len(cross)
    used = size + offset
    penalty = ridge * second.diagonal()[:size].sum() / size
    left, right = second[:used, :used].clone(), cross[:, :used].clone()
    left.diagonal()[:size].add_(penalty)
    right.diagonal().add_(penalty)
    solution = torch.linalg.solve(left, right, left=False)
    return solution[:, :size], solution[:, size] if offset else torch.zeros_like(solution[:, 0])


@torch.no_grad()
def fold(tower: nn.Module, original: nn.Module, matrix: Tensor, offset: Tensor) -> None:
    """Let a tower embed what the original one does, then multiplied by a matrix [D, D] and moved by an offset [D].

    Matrix and offset are float64 on the host.

    Raises:
        UserError: The tower ends in no projection that is known here.
    """
    weight, bias = _projection(tower)
    source, constant = _projection(original)
    if bias is None or constant is None:
        weight.copy_((source.cpu().double() @ matrix.T).float())  # ViT: rows times the matrix
        return
    weight.copy_((matrix @ source.cpu().double()).float())
    bias.copy_((matrix @ constant.cpu().double() + offset).float())


def _projection(tower: nn.Module) -> Projection:
    if (projection := last_projection(tower)) is None:
        raise UserError(
            f"a linear correction cannot be folded into {type(tower).__name__}: use bench.RobustFineTuning, for "
            "example with bench.finetuning.Norms"
        )
    return projection
