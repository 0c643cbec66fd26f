"""A linear correction of the embedding, fitted in closed form: no gradient, and one pass per view of an image."""

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.finetuning.tuning import EncoderTuning
from bench.paper import TEMPLATE
from datamodules.degradations import ORIGINAL
from datamodules.errors import UserError
from datamodules.training import RANDOM
from datamodules.views import Batch


class LinearCorrection(EncoderTuning):
    """Maps the embedding of a degraded image to that of its original, and folds the map into the last projection.

    The matrix A and offset b that minimise, over all images and the random views drawn for them,
    `|A f0(random) + b - f0(original)|^2 + keep * |A f0(original) + b - f0(original)|^2` and a ridge that holds A near
    the identity: `bench.finetuning.Consistency` with nothing trainable but the projection. Label-free. What is summed
    has the size of the embedding squared; each epoch adds another random view of every image. Towers whose projection
    has no offset (ViT) get none.

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

    second_moments: Tensor  # float64 [D + 1, D + 1], sum of (x, 1) (x, 1)^T
    cross_moments: Tensor  # float64 [D, D + 1], sum of y (x, 1)^T

    def __init__(
        self,
        encoder: str = "ViT-B/32",
        pretrained: str | None = "openai",
        activation: Literal["quickgelu", "gelu"] | None = None,
        templates: Sequence[str] = (TEMPLATE,),
        ridge: float = 1e-3,
        keep: float = 1.0,
    ) -> None:
        if not ridge > 0:
            raise UserError(f"--model.ridge {ridge} is out of range: choose one above 0")
        if not keep >= 0:
            raise UserError(f"--model.keep {keep} is out of range: choose at least 0")
        super().__init__(encoder, pretrained, activation, templates)
        self.save_hyperparameters()
        self.automatic_optimization = False
        self.ridge, self.keep = ridge, keep
        size = int(self.tower.output_dim)  # type: ignore[arg-type]
        self.register_buffer("second_moments", torch.zeros(size + 1, size + 1, dtype=torch.float64))
        self.register_buffer("cross_moments", torch.zeros(size, size + 1, dtype=torch.float64))
        self._fresh: list[tuple[Tensor, Tensor]] = []

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

    def setup(self, stage: str) -> None:
        super().setup(stage)
        warnings.filterwarnings("ignore", message=".*configure_optimizers.* returned .None.")

    def configure_optimizers(self) -> None:
        """There is nothing to descend."""

    @torch.no_grad()
    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the sums."""
        target = self.embed(self.original, batch.views[ORIGINAL])
        degraded = self.embed(self.original, batch.views[RANDOM])
        one, two = moments(degraded, target), moments(target, target)
        self._fresh.append((one[0] + self.keep * two[0], one[1] + self.keep * two[1]))

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """After the last batch of an epoch, before validation: solve."""
        if not self.trainer.is_last_batch:
            return
        for total, parts in zip((self.second_moments, self.cross_moments), zip(*self._fresh, strict=True), strict=True):
            total += self.trainer.strategy.reduce(torch.stack(parts).sum(0), reduce_op="sum")
        self._fresh.clear()
        _, bias = _projection(self.tower)
        matrix, offset = near_identity(self.second_moments, self.cross_moments, self.ridge, offset=bias is not None)
        fold(self.tower, self.original, matrix, offset)


def moments(features: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over rows x of features and y of target, [B, D] each, of (x, 1) (x, 1)^T and y (x, 1)^T, in float64."""
    padded = nn.functional.pad(features.double(), (0, 1), value=1.0)
    return padded.T @ padded, target.double().T @ padded


def near_identity(second: Tensor, cross: Tensor, ridge: float, *, offset: bool) -> tuple[Tensor, Tensor]:
    """The A [D, D] and b [D] with least `sum |A x + b - y|^2 + ridge * s * |A - I|^2`, s = sum |x|^2 / D.

    Ridge regression of y - x on x with penalty ridge * s (Hoerl and Kennard, 1970), since A = I + B.

    Args:
        second: Sum of (x, 1) (x, 1)^T, float64 [D + 1, D + 1].
        cross: Sum of y (x, 1)^T, float64 [D, D + 1].
        ridge: Above 0.
        offset: Whether b is free; otherwise it is 0.
    """
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

    Raises:
        UserError: The tower ends in no projection that is known here.
    """
    weight, bias = _projection(tower)
    source, constant = _projection(original)
    if bias is None or constant is None:
        weight.copy_(source.double() @ matrix.T)  # ViT: rows times the matrix
        return
    weight.copy_(matrix @ source.double())
    bias.copy_(matrix @ constant.double() + offset)


def _projection(tower: nn.Module) -> tuple[Tensor, Tensor | None]:
    """The last linear map of open_clip's own towers: [D, W] and offset [D] of a ResNet, [W, D] and None of a ViT."""
    from open_clip.modified_resnet import ModifiedResNet
    from open_clip.transformer import VisionTransformer

    if isinstance(tower, ModifiedResNet):
        return tower.attnpool.c_proj.weight, tower.attnpool.c_proj.bias
    if isinstance(tower, VisionTransformer) and isinstance(tower.proj, nn.Parameter):
        return tower.proj, None
    raise UserError(
        f"a linear correction cannot be folded into {type(tower).__name__}: use bench.RobustFineTuning, for example "
        "with bench.finetuning.Norms"
    )
