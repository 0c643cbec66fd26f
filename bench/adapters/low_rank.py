"""A low-rank update of a matrix or kernel (Hu et al., 2022, arXiv 2106.09685)."""

import math

import torch
from torch import Tensor, nn


class LowRank(nn.Module):
    """Adds a low-rank update to a weight of at least two dimensions.

    Args:
        weight: What is updated.
        rank: Of the update; a smaller weight gets its own full rank.
        scale: The update is scale / rank * up @ down.
    """

    def __init__(self, weight: Tensor, rank: int, scale: float) -> None:
        super().__init__()
        rows, columns = weight.flatten(1).shape
        rank = min(rank, rows, columns)
        self.factor = scale / rank
        self.down = nn.Parameter(torch.empty(rank, columns, device=weight.device))
        self.up = nn.Parameter(torch.zeros(rows, rank, device=weight.device))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))  # as in Hu et al.'s code

    def forward(self, weight: Tensor) -> Tensor:
        """The updated weight, of the weight's shape."""
        return weight + (self.factor * (self.up @ self.down)).view_as(weight)
