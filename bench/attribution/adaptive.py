"""Adaptive quadrature for Integrated Gradients: as many gradients as an image's own path asks for.

A ViT's gradient is smooth along the path: a high-order rule on 9 points is accurate to 1e-6. A ReLU network's jumps
wherever a unit switches: high orders gain nothing, but the jumps crowd in parts of the path, and putting the points
there halves the bill. Both begin from the same 9 Chebyshev points and the integrand shows which of the two it is.
"""

import math
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor

from bench.attribution.quadrature import Field, Integral, Quadrature, clenshaw_curtis
from datamodules.errors import UserError

_FIRST = 8  # intervals of the first Chebyshev grid
_SMOOTH = 0.6  # smooth: two Clenshaw-Curtis levels differ by less than this share of the spread that jumps would cause
_SPREAD, _DEFECT = 0.6, 6.0  # weights of the two error signs; benchmarks/attribution.py shows how well they predict
_NARROWEST = 2.0**-20  # a narrower cell's ends are the same image in float32


@dataclass(frozen=True)
class Adaptive(Quadrature):
    """Refines each path until the estimated relative L1 error of its map is below `tolerance`.

    Every path starts from Clenshaw-Curtis on 9 points, which contain the rules on 5 and 3 points.

    *Smooth paths* (consecutive levels agree far better than a jumping integrand could) double the grid, 9, 17, 33 ...
    points, and keep the Clenshaw-Curtis value. With d_n the relative L1 distance between the levels of n + 1 and
    n / 2 + 1 points, the error estimate is d_n (d_n / d_{n/2})^1.5, QUADPACK's exponent (Piessens et al., 1983). Extra
    digits cost next to nothing here, so smooth paths are held to `smooth_tolerance`.

    *Jumping paths* keep the trapezoid over cells of unequal width h and halve the worst eighth of the cells at a time.
    A cell shows two signs of error: the spread h |f(b) - f(a)| / sqrt(12), the standard deviation of the trapezoid when
    the difference is jumps at uniformly random places, and the defect |h (f'(a) + f'(b)) / 2 - (F(b) - F(a))| of its
    share of completeness, which is known exactly because each gradient comes with its loss F. The defect sees what
    hides between two points that agree. Cells add up as independent errors: per pixel for the spread, in total for the
    defect. The two weights are calibrated on a CLIP ResNet.

    Memory: besides `field`'s own, every gradient of the paths in flight, at most `max_batch` paths.

    Attributes:
        tolerance: bound on the estimated relative L1 error of the map, in (0, 1).
        smooth_tolerance: the same bound for smooth paths, in (0, 1).
        max_points: cap on gradients per path, at least 9; a path that hits it reports `converged=False`.
    """

    tolerance: float = 0.0275
    smooth_tolerance: float = 3e-5
    max_points: int = 129

    def __post_init__(self) -> None:
        for name in ("tolerance", "smooth_tolerance"):
            if not 0 < (value := getattr(self, name)) < 1:
                raise UserError(f"Adaptive({name}={value}): a relative error; give a number between 0 and 1")
        if self.max_points <= _FIRST:
            raise UserError(
                f"Adaptive(max_points={self.max_points}): the first estimate takes 9 points; give 9 or more"
            )

    def nodes(self) -> tuple[Tensor, Tensor]:
        """The points and weights every path starts from."""
        return clenshaw_curtis(_FIRST)

    def integrate(self, field: Field, count: int, max_batch: int) -> Integral:
        waiting = iter(range(count))
        paths: dict[int, _Refinement] = {}
        wanted: dict[int, list[float]] = {}
        samples: dict[int, list[_Sample]] = {}
        queue: deque[tuple[int, float]] = deque()  # over all paths, so that only the last batches are not full
        done: dict[int, _Outcome] = {}

        def ask(pair: int, points: list[float]) -> None:
            wanted[pair], samples[pair] = points, []
            queue.extend((pair, point) for point in points)

        while len(done) < count:
            while len(paths) < max_batch and (pair := next(waiting, None)) is not None:
                paths[pair] = _refine(self)
                ask(pair, next(paths[pair]))
            chunk = [queue.popleft() for _ in range(min(max_batch, len(queue)))]
            for (pair, _), sample in zip(chunk, _sample(field, chunk), strict=True):
                samples[pair].append(sample)
            for pair in dict.fromkeys(pair for pair, _ in chunk):
                if len(samples[pair]) < len(wanted[pair]):
                    continue
                try:
                    ask(pair, paths[pair].send(samples[pair]))
                except StopIteration as stop:
                    done[pair] = stop.value
                    del paths[pair], wanted[pair], samples[pair]
        outcomes = [done[pair] for pair in range(count)]
        return Integral(
            slopes=torch.stack([o.integral for o in outcomes]),
            evaluations=torch.tensor([o.evaluations for o in outcomes]),
            error_estimate=torch.tensor([o.error for o in outcomes], dtype=torch.float64),
            converged=torch.tensor([o.error <= self.tolerance for o in outcomes]),
        )


@dataclass(frozen=True)
class _Sample:
    value: float
    rate: float  # the derivative of the value along the path
    slopes: Tensor  # [D]


@dataclass(frozen=True)
class _Outcome:
    integral: Tensor
    evaluations: int
    error: float


_Refinement = Generator[list[float], list[_Sample], _Outcome]
"""One path in flight: asks for points, is sent their samples, returns the outcome."""


def _sample(field: Field, chunk: list[tuple[int, float]]) -> list[_Sample]:
    """One call of `field`; each sample owns its memory, or it would keep that of the whole batch."""
    pairs, points = zip(*chunk, strict=True)
    values, slopes = field(torch.tensor(pairs), torch.tensor(points, dtype=torch.float64))
    numbers = torch.stack([values.to(slopes), slopes.sum(1)]).tolist()
    return [_Sample(value, rate, row.clone()) for value, rate, row in zip(*numbers, slopes, strict=True)]


def _refine(rule: Adaptive) -> _Refinement:
    """Doubles the Chebyshev grid while the path looks smooth; from then on halves the trapezoid's worst cells."""
    samples: dict[float, _Sample] = {}
    intervals = _FIRST
    while True:
        points = _chebyshev(intervals)[0]
        new = [point for point in points if point not in samples]
        samples.update(zip(new, (yield new), strict=True))
        slopes = torch.stack([samples[point].slopes for point in points])
        cells = _Cells.over(samples, points, slopes)
        integral, change, error = _clenshaw_curtis_levels(slopes)
        if not change <= _SMOOTH * cells.deviation():  # also where the loss is not a number
            break
        if error <= min(rule.smooth_tolerance, rule.tolerance) or 2 * intervals + 1 > rule.max_points:
            return _Outcome(integral, len(samples), error)
        intervals *= 2
    del slopes
    while True:
        error = _relative(cells.error(), cells.integral)
        worst = cells.worst()[: rule.max_points - len(samples)]
        if error <= rule.tolerance or not worst:
            return _Outcome(cells.integral, len(samples), error)
        middles = [(left + right) / 2 for left, right in worst]
        samples.update(zip(middles, (yield middles), strict=True))
        cells.halve(samples, worst)


@cache
def _chebyshev(intervals: int) -> tuple[list[float], list[float]]:
    """Points and Clenshaw-Curtis weights as numbers."""
    points, weights = clenshaw_curtis(intervals)
    return points.tolist(), weights.tolist()


def _clenshaw_curtis_levels(slopes: Tensor) -> tuple[Tensor, float, float]:
    """The finest level's integral, its L1 distance to the level below, and the estimate of its relative error."""
    intervals = len(slopes) - 1
    weights = slopes.new_zeros(3, intervals + 1)
    for level, step in enumerate((1, 2, 4)):
        weights[level, ::step] = slopes.new_tensor(_chebyshev(intervals // step)[1])
    fine, middle, coarse = weights @ slopes
    change, before = torch.stack([(fine - middle).abs().sum(), (middle - coarse).abs().sum()]).tolist()
    shrinking = min(1.0, change / before) if before > 0 else 1.0
    rounding = 8 * torch.finfo(slopes.dtype).eps
    return fine, change, max(_relative(change * shrinking**1.5, fine), rounding)


def _relative(error: float, integral: Tensor) -> float:
    """`error` over the L1 norm of `integral`; 0 where both are 0."""
    norm = float(integral.abs().sum())
    if norm > 0:
        return error / norm
    return 0.0 if error == 0 else math.inf


@dataclass
class _Cells:
    """The trapezoid over unequal cells, with running sums so that halving a cell costs the work of one cell."""

    integral: Tensor
    spread: Tensor  # per pixel, the sum of squares
    defect: float = 0.0  # the sum of squares
    shares: dict[tuple[float, float], float] = field(default_factory=dict)  # of the error, per cell

    @classmethod
    def over(cls, samples: dict[float, _Sample], points: list[float], slopes: Tensor) -> "_Cells":
        """Over neighbouring `points`, with their slopes [P, D]."""
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

    def halve(self, samples: dict[float, _Sample], cells: list[tuple[float, float]]) -> None:
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

    def _enter(self, samples: dict[float, _Sample], cell: tuple[float, float], size: float) -> None:
        """Count a cell whose slopes change by `size` in L1 norm."""
        width, defect = cell[1] - cell[0], self._defect(samples, cell)
        self.defect += defect**2
        share = _SPREAD * width * size / math.sqrt(12) + _DEFECT * defect
        self.shares[cell] = share if width > _NARROWEST else 0.0

    def _defect(self, samples: dict[float, _Sample], cell: tuple[float, float]) -> float:
        a, b, width = samples[cell[0]], samples[cell[1]], cell[1] - cell[0]
        rounding = 32 * torch.finfo(self.integral.dtype).eps  # of a loss made from logits of some tens
        return max(0.0, abs(width * (a.rate + b.rate) / 2 - (b.value - a.value)) - rounding)

    def deviation(self) -> float:
        """L1 norm over pixels of the standard deviation that the spread implies."""
        return float(self.spread.clamp(min=0).sqrt().sum()) / math.sqrt(12)

    def error(self) -> float:
        return _SPREAD * self.deviation() + _DEFECT * math.sqrt(max(0.0, self.defect))
