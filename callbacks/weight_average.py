"""An exponential moving average of the weights that leaves frozen ones alone, bit for bit."""

from typing import Any

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from datamodules.errors import UserError


class ExponentialAverage(WeightAveraging):
    """Validates, saves and exports the moving average of the weights instead of the last ones.

    Lightning's `EMAWeightAveraging` computes d * average + (1 - d) * weight, which moves frozen weights by rounding.
    This one adds a share of the difference, which for them is 0. Like torch's, the average starts at the first step's
    weights.

    Args:
        decay: Share of the average that each step keeps, in [0, 1).

    Raises:
        UserError: The decay is out of range.
    """

    def __init__(self, decay: float = 0.99) -> None:
        if not 0 <= decay < 1:
            raise UserError(f"ExponentialAverage(decay={decay}) is out of range: choose at least 0 and below 1")

        def towards(average: Tensor, weight: Tensor, _steps: Any) -> Tensor:
            moved = average + (1 - decay) * (weight - average)
            return torch.where(weight == average, average, moved)  # -0.0 plus 0 is 0.0

        super().__init__(use_buffers=False, avg_fn=towards)
