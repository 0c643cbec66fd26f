"""The trapezoid over cells of unequal width, and what each cell shows of its error."""

import math
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

_SPREAD, _DEFECT = 0.6, 6.0  # weights of the two error signs; benchmarks/attribution.py shows how well they predict
_NARROWEST = 2.0**-20  # a narrower cell's ends are the same image in float32


@dataclass(frozen=True)
class Sample:
    """The integrand at one point of a path.

    Attributes:
        value: The loss.
        rate: The derivative of the loss along the path, the sum of the slopes.
        slopes: float [D], the gradient times the change of each value along the path.
    """

    value: float
    rate: float
    slopes: Tensor


@dataclass
class Cells:
    """The trapezoid over unequal cells, with running sums so that halving a cell costs the work of one cell.

    A cell of width h shows two signs of error: the spread h |f(b) - f(a)| / sqrt(12), the standard deviation of the
    trapezoid when the difference is jumps at uniformly random places, and the defect |h (f'(a) + f'(b)) / 2 - (F(b) -
    F(a))| of its share of completeness, which is known exactly because each gradient comes with its loss F. The defect
    sees what hides between two points that agree. Cells add up as independent errors: per pixel for the spread, in
    total for the defect. The two weights are calibrated on a CLIP ResNet.

    Attributes:
        integral: float [D].
        spread: float [D], the sum of squares over cells.
        defect: The sum of squares over cells.
        shares: Of the error, per cell; 0 for cells too narrow to be halved.
    """

    integral: Tensor
    spread: Tensor
    defect: float = 0.0
    shares: dict[tuple[float, float], float] = field(default_factory=dict)

    @classmethod
    def over(cls, samples: dict[float, Sample], points: list[float], slopes: Tensor) -> "Cells":
        """Over neighbouring `points`, ascending, with their slopes [P, D]."""
        width = slopes.new_tensor(points).diff()
        changes = slopes.diff(dim=0)
        cells = cls(integral=width / 2 @ (slopes[1:] + slopes[:-1]), spread=width.square() @ changes.square())
        for cell, size in zip(pairwise(points), changes.abs().sum(1).tolist(), strict=True):
            cells._enter(samples, cell, size)
        return cells

    def worst(self) -> list[tuple[float, float]]:
        """The eighth of the cells that holds most of the error, at least one; none where there is nothing to gain.

        One at a time would leave the last paths of a call alone in their batches.
        """
        ranked = sorted((cell for cell, share in self.shares.items() if share > 0), key=lambda c: -self.shares[c])
        return ranked[: max(1, len(self.shares) // 8)]

    def halve(self, samples: dict[float, Sample], cells: list[tuple[float, float]]) -> None:
        """Replace cells by their halves, whose middles have been sampled."""
        threes = [(left, (left + right) / 2, right) for left, right in cells]
        a, b, c = (torch.stack([samples[point].slopes for point in column]) for column in zip(*threes, strict=True))
        first, second, width = b - a, c - b, a.new_tensor([right - left for left, right in cells])
        self.integral = self.integral + width / 4 @ (first - second)
        halves = (first.square() + second.square()) / 4 - (c - a).square()
        self.spread = self.spread + width.square() @ halves
        sizes = torch.stack([first.abs().sum(1), second.abs().sum(1)]).tolist()
        for (left, middle, right), one, other in zip(threes, *sizes, strict=True):
            del self.shares[left, right]
            self.defect -= self._defect(samples, (left, right)) ** 2
            self._enter(samples, (left, middle), one)
            self._enter(samples, (middle, right), other)

    def _enter(self, samples: dict[float, Sample], cell: tuple[float, float], size: float) -> None:
        """Count a cell whose slopes change by `size` in L1 norm."""
        width, defect = cell[1] - cell[0], self._defect(samples, cell)
        self.defect += defect**2
        share = _SPREAD * width * size / math.sqrt(12) + _DEFECT * defect
        self.shares[cell] = share if width > _NARROWEST else 0.0

    def _defect(self, samples: dict[float, Sample], cell: tuple[float, float]) -> float:
        a, b, width = samples[cell[0]], samples[cell[1]], cell[1] - cell[0]
        rounding = 32 * torch.finfo(self.integral.dtype).eps  # of a loss made from logits of some tens
        return max(0.0, abs(width * (a.rate + b.rate) / 2 - (b.value - a.value)) - rounding)

    def deviation(self) -> float:
        """L1 norm over pixels of the standard deviation that the spread implies."""
        return float(self.spread.clamp(min=0).sqrt().sum()) / math.sqrt(12)

    def error(self) -> float:
        """Estimated L1 distance of `integral` to the truth."""
        return _SPREAD * self.deviation() + _DEFECT * math.sqrt(max(0.0, self.defect))
