"""An exponential moving average of the weights that leaves frozen ones alone, bit for bit."""

import math

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from datamodules.errors import UserError


class ExponentialAverage(WeightAveraging):
    """Validates, saves and exports the moving average of the weights instead of the last ones.

    After t steps the average is the mean of the weights after each step, weighted with d^(t - 1), ..., d, 1: the
    unbiased one of Kingma and Ba (2015, arXiv 1412.6980), section 3. Uncorrected it would be mostly the first step's
    weights for the first 1 / (1 - d) steps. Lightning's `EMAWeightAveraging` moves frozen weights by rounding;
    this one takes off a share of the difference, which for them is 0.

    Args:
        decay: Weight d of a step in units of the next one's, in [0, 1).

    Raises:
        UserError: The decay is out of range.
    """

    def __init__(self, decay: float = 0.99) -> None:
        if not 0 <= decay < 1:
            raise UserError(f"ExponentialAverage(decay={decay}) is out of range: choose at least 0 and below 1")

        self.decay = decay
        log_decay = math.log(decay) if decay else -math.inf

        def towards(averages: list[Tensor], weights: list[Tensor], averaged: Tensor) -> None:
            share = (1 - decay) / -torch.expm1((averaged + 1) * log_decay)
            differences = torch._foreach_sub(averages, weights)
            torch._foreach_mul_(differences, share)
            torch._foreach_sub_(averages, differences)  # -0.0 minus 0 is -0.0

        super().__init__(use_buffers=False, multi_avg_fn=towards)
