"""Adaptive quadrature for Integrated Gradients: as many gradients as an image's own path asks for.

A ViT's gradient is smooth along the path: on most paths a high-order rule is accurate to 1e-4 or better on 9 points,
on hard ones, where compression was strong, on 17 or 33. A ReLU network's jumps wherever a unit switches: high orders
gain nothing, but the jumps crowd in parts of the path, and putting the points there halves the bill. Both begin from
the same 9 Chebyshev points, and the integrand shows which of the two it is: at first by how well the rules on these
points agree; whenever that looks like jumps, by whether their polynomial foretells the next point. `python -m
benchmarks.attribution` prints how well that works.
"""

import math
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor

from bench.attribution.cells import Cells, Sample
from bench.attribution.quadrature import Field, Integral, Quadrature, clenshaw_curtis
from datamodules.errors import UserError

_FIRST = 8  # intervals of the first Chebyshev grid
_SMOOTH = 0.6  # smooth: two Clenshaw-Curtis levels differ by less than this share of the spread that jumps would cause
_FORETOLD = 0.85  # smooth after all: the polynomial misses new points by less than this share of the chord's miss
_PATIENCE = 8  # points per point of the Chebyshev grid after which a jumping path is judged anew, on the doubled grid


@dataclass(frozen=True)
class Adaptive(Quadrature):
    """Refines each path until the estimated relative L1 error of its map is below `tolerance`.

    Every path starts from Clenshaw-Curtis on 9 points, which contain the rules on 5 and 3 points.

    *Smooth paths* (consecutive levels agree far better than a jumping integrand could) double the grid, 9, 17, 33 ...
    points, and keep the Clenshaw-Curtis value. With d_n the relative L1 distance between the levels of n + 1 and
    n / 2 + 1 points, the error estimate is d_n (d_n / d_{n/2})^1.5, QUADPACK's exponent (Piessens et al., 1983). Extra
    digits cost next to nothing here, so smooth paths are held to `smooth_tolerance`.

    *Jumping paths* keep the trapezoid over cells of unequal width and halve the worst eighth of the cells at a time;
    see `bench.attribution.cells` for the estimate. Each new point is a witness: if the polynomial through the Chebyshev
    points foretells its slopes clearly better than the chord of the cell does, the path is smooth after all and goes on
    with the doubled grid, if the cap allows it; so does one that takes long. At least one witness is heard before the
    trapezoid is returned, if the cap allows that. Of the trapezoid and the last Clenshaw-Curtis value the one with the
    smaller estimate is returned; for the latter, d_n plus the completeness residual, which counts on no smoothness.

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
        samples: dict[int, list[Sample]] = {}
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
class _Outcome:
    integral: Tensor
    evaluations: int
    error: float


_Refinement = Generator[list[float], list[Sample], _Outcome]
"""One path in flight: asks for points, is sent their samples, returns the outcome."""


def _sample(field: Field, chunk: list[tuple[int, float]]) -> list[Sample]:
    """One call of `field`; each sample owns its memory, or it would keep that of the whole batch."""
    pairs, points = zip(*chunk, strict=True)
    values, slopes = field(torch.tensor(pairs), torch.tensor(points, dtype=torch.float64))
    numbers = torch.stack([values.to(slopes), slopes.sum(1)]).tolist()
    return [Sample(value, rate, row.clone()) for value, rate, row in zip(*numbers, slopes, strict=True)]


def _refine(rule: Adaptive) -> _Refinement:
    """Doubles the Chebyshev grid while the path looks smooth, halves the trapezoid's worst cells while it does not."""
    samples: dict[float, Sample] = {}
    intervals = _FIRST
    while True:
        grid = _chebyshev(intervals)[0]
        new = [point for point in grid if point not in samples]
        samples.update(zip(new, (yield new), strict=True))
        slopes = torch.stack([samples[point].slopes for point in grid])
        integral, change, error = _clenshaw_curtis_levels(slopes)
        deviation = Cells.over(samples, grid, slopes).deviation()
        del slopes
        if change <= _SMOOTH * deviation:
            if error <= min(rule.smooth_tolerance, rule.tolerance) or len(samples) + intervals > rule.max_points:
                return _Outcome(integral, len(samples), error)
        else:  # also where the loss is not a number
            missing = abs(float(integral.sum()) - (samples[1.0].value - samples[0.0].value))
            outcome = yield from _halve(rule, samples, grid, integral, change + missing)
            if outcome is not None:
                return outcome
        intervals *= 2


def _halve(
    rule: Adaptive, samples: dict[float, Sample], grid: list[float], in_hand: Tensor, doubt: float
) -> Generator[list[float], list[Sample], _Outcome | None]:
    """Halves the trapezoid's worst cells; None when the path is to be judged anew, on the doubled grid.

    That is as soon as the new points show that it is smooth after all, and where halving has taken too long.

    Args:
        rule: What to keep to.
        samples: Of `grid` and of the points that earlier halvings met; new ones are added.
        grid: Chebyshev points.
        in_hand: Clenshaw-Curtis on `grid`, float [D].
        doubt: An estimate of its error in L1 norm that does not count on smoothness: its distance to the level below,
            and what it lacks to be complete.
    """
    points = sorted(samples)
    cells = Cells.over(samples, points, torch.stack([samples[point].slopes for point in points]))
    witnesses = _Witnesses(grid)
    while True:
        integral, error = (in_hand, doubt) if doubt < cells.error() else (cells.integral, cells.error())
        best = _Outcome(integral, len(samples), _relative(error, integral))
        worst = cells.worst()[: rule.max_points - len(samples)]
        if not worst or (best.error <= rule.tolerance and witnesses.heard):
            return best
        middles = [(left + right) / 2 for left, right in worst]
        samples.update(zip(middles, (yield middles), strict=True))
        cells.halve(samples, worst)
        witnesses.hear(samples, worst)
        again = witnesses.prefer_smooth() or len(samples) > _PATIENCE * len(grid)
        if again and len(samples) + len(grid) - 1 <= rule.max_points:
            return None


class _Witnesses:
    """Middles of a Chebyshev grid's cells: does the grid's polynomial foretell them, or the chord between neighbours?

    Where the slopes jump, a polynomial errs more than the chord; where they are smooth, less, even if 9 points are too
    few for it to be any good.
    """

    def __init__(self, grid: list[float]) -> None:
        self._grid, self._cells = grid, set(pairwise(grid))
        self._polynomial, self._chord = 0.0, 0.0
        self.heard = False

    def hear(self, samples: dict[float, Sample], halved: list[tuple[float, float]]) -> None:
        """Add those of the cells just halved that are cells of the grid."""
        cells = [cell for cell in halved if cell in self._cells]
        self.heard = True
        if not cells:
            return
        slopes = torch.stack([samples[point].slopes for point in self._grid])
        middles = [(left + right) / 2 for left, right in cells]
        found = torch.stack([samples[middle].slopes for middle in middles])
        foretold = slopes.new_tensor([_interpolation_weights(self._grid, middle) for middle in middles]) @ slopes
        chords = torch.stack([(samples[left].slopes + samples[right].slopes) / 2 for left, right in cells])
        misses = torch.stack([(foretold - found).abs().sum(), (chords - found).abs().sum()]).tolist()
        self._polynomial, self._chord = self._polynomial + misses[0], self._chord + misses[1]

    def prefer_smooth(self) -> bool:
        return self._polynomial < _FORETOLD * self._chord


def _interpolation_weights(grid: list[float], point: float) -> list[float]:
    """Of the polynomial through Chebyshev points, at a point between them (Berrut and Trefethen, 2004, section 5.3)."""
    terms = [(-1) ** k / (point - node) for k, node in enumerate(grid)]
    terms[0], terms[-1] = terms[0] / 2, terms[-1] / 2
    total = sum(terms)
    return [term / total for term in terms]


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
