"""The loss while an image is repaired in the order of a map, and the score that says how right the order is.

Samek et al. (2017, "Evaluating the visualization of what a deep neural network has learned") destroy regions in the
order of a map and look at the area between curves; Petsiuk et al. (2018, RISE) insert and delete pixels. Here nothing
has to be invented in place of what is taken away: both ends, the degraded image and its original, are given.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from datamodules.errors import UserError

Losses = Callable[[Tensor, Tensor], Tensor]
"""`(rows int64 [N], restored bool [N, U]) -> loss [N]` of image `rows[n]` with the units `restored[n]` put back.

It is handed tensors in host memory, like all of this module.
"""


@dataclass(frozen=True)
class Repair:
    """What became of B images.

    Attributes:
        counts: K numbers of restored units, from 0 to all of them.
        most_first: float64 [B, K] in host memory, the loss in nats after so many units in the order of the map.
        least_first: float64 [B, K], the same in the reverse order.
    """

    counts: Sequence[int]
    most_first: Tensor
    least_first: Tensor

    @property
    def score(self) -> Tensor:
        """Area between the curves in nats, float64 [B]: positive where the map's order repairs sooner than its reverse.

        Both curves have the same ends, so that only the order counts. Were the loss that of the degraded image minus a
        sum of parts of the units, the order of these parts would have the largest score of all orders. A random order
        has score 0 in expectation, whatever the loss, since its reverse is as likely.
        """
        return area(self.least_first - self.most_first, self.counts)


def area(curves: Tensor, counts: Sequence[int]) -> Tensor:
    """Integral by trapezoids over the share of restored units, from 0 to 1.

    Args:
        curves: float [..., K].
        counts: K numbers of units, from 0 to all.

    >>> area(torch.tensor([3.0, 5.0, 4.0, 0.0]), [0, 1, 2, 3])
    tensor(3.5000, dtype=torch.float64)
    """
    shares = torch.tensor(counts, dtype=torch.float64, device=curves.device) / counts[-1]
    return torch.trapezoid(curves.double(), shares)


def step_counts(units: int, steps: int) -> list[int]:
    """About evenly spaced numbers of restored units, from 0 to all; every number where there are few units.

    Args:
        units: At least 1.
        steps: How many units or groups of units are put back one after another, at most.

    Raises:
        UserError: There is no step.

    >>> step_counts(4, 16), step_counts(192, 4)
    ([0, 1, 2, 3, 4], [0, 48, 96, 144, 192])
    """
    if steps < 1:
        raise UserError(f"steps={steps}: the original is put back in steps; give at least 1")
    steps = min(steps, units)
    return [round(units * step / steps) for step in range(steps + 1)]


def follow(losses: Losses, ranking: Tensor, counts: Sequence[int], ties: torch.Generator | None = None) -> Repair:
    """Follow the loss while images are repaired, the units with the largest value first, and in the reverse order.

    Args:
        losses: See `Losses`.
        ranking: float [B, U] on any device, a map's values of the units; signed maps are positive where compression
            raised the loss.
        counts: See `step_counts`.
        ties: Draws the order of units with equal values; of seed 0 if None.

    Raises:
        ValueError: A value is not a number.
    """
    if ranking.isnan().any():
        raise ValueError("a map has values that are no numbers")
    order = descending(ranking.cpu(), ties)
    most_first = _curves(losses, order, counts)
    inner = _curves(losses, order.flip(1), counts[1:-1])
    least_first = torch.cat([most_first[:, :1], inner, most_first[:, -1:]], 1)
    return Repair(counts, most_first, least_first)


def descending(ranking: Tensor, ties: torch.Generator | None = None) -> Tensor:
    """Units by falling value, int64 [B, U]; equal ones in random order, so that no map gains by where units are."""
    ties = torch.Generator().manual_seed(0) if ties is None else ties
    shuffled = torch.rand(ranking.shape, generator=ties, dtype=torch.float64).argsort(1)
    return shuffled.gather(1, ranking.gather(1, shuffled).argsort(dim=1, descending=True, stable=True))


def _curves(losses: Losses, order: Tensor, counts: Sequence[int]) -> Tensor:
    images, units = order.shape
    if not counts:
        return torch.zeros((images, 0), dtype=torch.float64)
    places = order.argsort(1)  # when a unit's turn comes
    limits = torch.tensor(counts)
    restored = places[:, None] < limits[None, :, None]
    rows = torch.arange(images).repeat_interleave(len(counts))
    return losses(rows, restored.view(-1, units)).cpu().double().view(images, len(counts))
