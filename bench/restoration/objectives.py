"""What a front end minimises in the pixels, beside the objectives of `bench.finetuning` behind the frozen encoder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from bench.finetuning.objectives import Objective, Pairs
from datamodules.errors import UserError

Stacks = Sequence[Tensor]
"""Images as batches of one size, float32 [N, 3, H, W] in units of [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class RestoredPairs(Pairs):
    """Pairs whose images pass through a front end, restored when an objective asks for it, at most once.

    Attributes:
        originals: The originals as they are.
        restore_original: Returns the restored originals, not clipped.
        restore_degraded: Returns the restored random views, not clipped.
    """

    originals: Stacks
    restore_original: Callable[[], Stacks]
    restore_degraded: Callable[[], Stacks]

    @cached_property
    def restored_original(self) -> Stacks:
        """The restored originals."""
        return self.restore_original()

    @cached_property
    def restored_degraded(self) -> Stacks:
        """The restored random views."""
        return self.restore_degraded()


@dataclass(frozen=True)
class PixelError(Objective):
    """The restored pixels of a random view shall be the original's; neither label, nor text, nor encoder.

    `mse(r(degraded), original) + keep * mse(r(original), original)`, means over images of the mean square of the
    difference in units of the range of a pixel: what PSNR is the logarithm of.

    Attributes:
        keep: Weight of the second term, at least 0.
    """

    keep: float = 1.0
    label_free: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.keep >= 0:
            raise UserError(f"PixelError(keep={self.keep}): choose at least 0")

    def loss(self, pairs: Pairs) -> Tensor:
        if not isinstance(pairs, RestoredPairs):
            raise UserError("PixelError needs a front end that makes pixels: use it with bench.RestorationTuning")
        loss = _mean_square(pairs.restored_degraded, pairs.originals)
        return loss + self.keep * _mean_square(pairs.restored_original, pairs.originals) if self.keep else loss


def _mean_square(restored: Stacks, originals: Stacks) -> Tensor:
    errors = [(found - wanted).square().mean((1, 2, 3)) for found, wanted in zip(restored, originals, strict=True)]
    return torch.cat(errors).mean()
