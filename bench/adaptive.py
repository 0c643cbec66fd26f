"""Adaptive quadrature for Integrated Gradients: as many gradients as an image's own path asks for.

A ViT's gradient is smooth along the path: a high-order rule on 9 points is accurate to 1e-6. A ReLU network's jumps
wherever a unit switches: high orders gain nothing, but the jumps crowd in parts of the path, and putting the points
there halves the bill. Both begin from the same 9 Chebyshev points and the integrand shows which of the two it is.
"""

import math
from collections.abc import Generator
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from bench.quadrature import Field, Integral, Quadrature, clenshaw_curtis
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

    *Jumping paths* keep the trapezoid over cells of unequal width h and halve the worst cell, one at a time. A cell
    shows two signs of error: the spread h |f(b) - f(a)| / sqrt(12), the standard deviation of the trapezoid when the
    difference is jumps at uniformly random places, and the defect |h (f'(a) + f'(b)) / 2 - (F(b) - F(a))| of its share
    of completeness, which is known exactly because each gradient comes with its loss F. The defect sees what hides
    between two points that agree. Cells add up as independent errors: per pixel for the spread, in total for the
    defect. The two weights are calibrated on a CLIP ResNet.

    Memory: besides `field`'s own, every gradient of the paths in flight, at most `max_batch` paths.

    Attributes:
        tolerance: bound on the estimated relative L1 error of the map, in (0, 1).
        smooth_tolerance: the same bound for smooth paths, in (0, 1).
        max_points: cap on gradients per path, at least 9; a path that hits it reports `converged=False`.
    """

    tolerance: float = 0.0275
    smooth_tolerance: float = 1e-4
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
        done: dict[int, _Outcome] = {}
        while len(done) < count:
            while len(paths) < max_batch and (pair := next(waiting, None)) is not None:
                paths[pair] = _refine(self)
                wanted[pair] = next(paths[pair])
            samples = _sample(field, wanted, max_batch)
            for pair in list(paths):
                try:
                    wanted[pair] = paths[pair].send(samples[pair])
                except StopIteration as stop:
                    done[pair] = stop.value
                    del paths[pair], wanted[pair]
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


def _sample(field: Field, wanted: dict[int, list[float]], max_batch: int) -> dict[int, list[_Sample]]:
    """Every path's wanted points, in its order, at most `max_batch` at a time over all paths."""
    samples: dict[int, list[_Sample]] = {pair: [] for pair in wanted}
    queue = [(pair, point) for pair, points in wanted.items() for point in points]
    for start in range(0, len(queue), max_batch):
        pairs, points = zip(*queue[start : start + max_batch], strict=True)
        values, slopes = field(torch.tensor(pairs), torch.tensor(points, dtype=torch.float64))
        for pair, value, rate, row in zip(pairs, values.tolist(), slopes.sum(1).tolist(), slopes, strict=True):
            samples[pair].append(_Sample(value, rate, row.clone()))
    return samples


def _refine(rule: Adaptive) -> _Refinement:
    """Doubles the Chebyshev grid while the path looks smooth; from then on halves the trapezoid's worst cell."""
    samples: dict[float, _Sample] = {}
    intervals = _FIRST
    while True:
        points = clenshaw_curtis(intervals)[0].tolist()
        new = [point for point in points if point not in samples]
        samples.update(zip(new, (yield new), strict=True))
        cells = _Cells.over(samples, points)
        integral, change, error = _clenshaw_curtis_levels(samples, points)
        if not change <= _SMOOTH * cells.deviation():  # also where the loss is not a number
            break
        if error <= min(rule.smooth_tolerance, rule.tolerance) or 2 * intervals + 1 > rule.max_points:
            return _Outcome(integral, len(samples), error)
        intervals *= 2
    while True:
        error = _relative(cells.error(), cells.integral)
        (left, right), share = max(cells.shares.items(), key=lambda cell: cell[1])
        if error <= rule.tolerance or len(samples) >= rule.max_points or not share > 0:
            return _Outcome(cells.integral, len(samples), error)
        (samples[(left + right) / 2],) = yield [(left + right) / 2]
        cells.halve(samples, left, right)


def _clenshaw_curtis_levels(samples: dict[float, _Sample], points: list[float]) -> tuple[Tensor, float, float]:
    """The finest level's integral, its L1 distance to the level below, and the estimate of its relative error."""
    slopes = torch.stack([samples[point].slopes for point in points])
    intervals = len(points) - 1
    fine, middle, coarse = (clenshaw_curtis(intervals // step)[1].to(slopes) @ slopes[::step] for step in (1, 2, 4))
    change, before = float((fine - middle).abs().sum()), float((middle - coarse).abs().sum())
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
    def over(cls, samples: dict[float, _Sample], points: list[float]) -> "_Cells":
        zero = torch.zeros_like(samples[points[0]].slopes)
        cells = cls(integral=zero, spread=zero.clone())
        for left, right in pairwise(points):
            cells._add(samples, left, right, +1)
        return cells

    def halve(self, samples: dict[float, _Sample], left: float, right: float) -> None:
        middle = (left + right) / 2
        del self.shares[left, right]
        self._add(samples, left, right, -1)
        self._add(samples, left, middle, +1)
        self._add(samples, middle, right, +1)

    def _add(self, samples: dict[float, _Sample], left: float, right: float, sign: int) -> None:
        a, b, width = samples[left], samples[right], right - left
        change = (b.slopes - a.slopes) * width
        rounding = 32 * torch.finfo(change.dtype).eps  # of a loss made from logits of some tens
        defect = max(0.0, abs(width * (a.rate + b.rate) / 2 - (b.value - a.value)) - rounding)
        self.integral = self.integral + sign * (width / 2) * (a.slopes + b.slopes)
        self.spread = self.spread + sign * change.square()
        self.defect += sign * defect**2
        if sign > 0:
            share = _SPREAD * float(change.abs().sum()) / math.sqrt(12) + _DEFECT * defect
            self.shares[left, right] = share if width > _NARROWEST else 0.0

    def deviation(self) -> float:
        """L1 norm over pixels of the standard deviation that the spread implies."""
        return float(self.spread.clamp(min=0).sqrt().sum()) / math.sqrt(12)

    def error(self) -> float:
        return _SPREAD * self.deviation() + _DEFECT * math.sqrt(max(0.0, self.defect))
