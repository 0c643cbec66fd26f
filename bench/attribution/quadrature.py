"""Rules that integrate a vector-valued function over [0, 1]: how the path integral of Integrated Gradients is taken.

Each rule is a frozen dataclass, so a configuration names it by `class_path`. The fixed ones spend the same points on
every image; `bench.attribution.adaptive.Adaptive` decides image by image.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from datamodules.errors import UserError

Field = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""`(pairs int64 [M], points float64 [M] in [0, 1]) -> (values [M], slopes [M, D])`.

For pair i at point t: the loss there, and its gradient times (target - baseline), so that the sum of a row of slopes is
the derivative of the value along t. Both come detached, on the model's device, which may lack float64: `pairs`,
`points` and whatever a rule computes in float64 stay in host memory.
"""


@dataclass(frozen=True)
class Integral:
    """What a rule found for B pairs.

    Attributes:
        slopes: [B, D], the integral of the slopes over [0, 1].
        evaluations: int64 [B], gradients spent; like the following in host memory.
        error_estimate: float [B], estimated relative L1 error of a row of `slopes`; NaN where the rule makes none.
        converged: bool [B], whether the estimate met the rule's tolerance; True for rules that have none.
    """

    slopes: Tensor
    evaluations: Tensor
    error_estimate: Tensor
    converged: Tensor


class Quadrature(ABC):
    """A rule over [0, 1]."""

    @abstractmethod
    def nodes(self) -> tuple[Tensor, Tensor]:
        """Points in [0, 1] and weights that sum to 1, both float64 [P], in ascending order of the points."""

    def integrate(self, field: Field, count: int, max_batch: int) -> Integral:
        """The weighted sum over the nodes, for every pair 0..count-1.

        Args:
            field: the integrand; never asked for more than `max_batch` points at once.
            count: number of pairs, at least 1.
            max_batch: bound on (pair, point) combinations per call of `field`.
        """
        points, weights = self.nodes()
        size = len(points)
        sums: list[Tensor | float] = [0.0] * count
        for first in range(0, count * size, max_batch):
            chunk = torch.arange(first, min(first + max_batch, count * size))
            pairs, at = chunk // size, chunk % size
            _, slopes = field(pairs, points[at])
            for pair in range(int(pairs[0]), int(pairs[-1]) + 1):
                mine = pairs == pair
                sums[pair] = (
                    sums[pair] + weights[at[mine]].to(slopes.dtype).to(slopes.device) @ slopes[mine.to(slopes.device)]
                )
        return Integral(
            slopes=torch.stack([s for s in sums if isinstance(s, Tensor)]),
            evaluations=torch.full((count,), size),
            error_estimate=torch.full((count,), float("nan")),
            converged=torch.ones(count, dtype=torch.bool),
        )


def _require_positive(rule: str, n: int) -> None:
    if n < 1:
        raise UserError(f"{rule}(n={n}): n counts the steps along the path; give at least 1")


@dataclass(frozen=True)
class Trapezoid(Quadrature):
    """N equal steps, N + 1 points, the two ends at half weight. The authors' code is `Trapezoid(50)`.

    >>> Trapezoid(2).nodes()[1].tolist()
    [0.25, 0.5, 0.25]
    """

    n: int = 50

    def __post_init__(self) -> None:
        _require_positive("Trapezoid", self.n)

    def nodes(self) -> tuple[Tensor, Tensor]:
        weights = torch.full((self.n + 1,), 1 / self.n, dtype=torch.float64)
        weights[[0, -1]] /= 2
        return torch.linspace(0, 1, self.n + 1, dtype=torch.float64), weights


@dataclass(frozen=True)
class Midpoint(Quadrature):
    """The middle of each of N equal steps."""

    n: int = 50

    def __post_init__(self) -> None:
        _require_positive("Midpoint", self.n)

    def nodes(self) -> tuple[Tensor, Tensor]:
        steps = torch.arange(self.n, dtype=torch.float64)
        return (steps + 0.5) / self.n, torch.full((self.n,), 1 / self.n, dtype=torch.float64)


@dataclass(frozen=True)
class RightRiemann(Quadrature):
    """The right end of each of N equal steps: Equation (4) of Chen, Namboodiri and Padget (2023), s = 1..N."""

    n: int = 50

    def __post_init__(self) -> None:
        _require_positive("RightRiemann", self.n)

    def nodes(self) -> tuple[Tensor, Tensor]:
        steps = torch.arange(1, self.n + 1, dtype=torch.float64)
        return steps / self.n, torch.full((self.n,), 1 / self.n, dtype=torch.float64)


@dataclass(frozen=True)
class GaussLegendre(Quadrature):
    """N Gauss-Legendre points: exact for polynomials of degree 2N - 1, little use where the gradient jumps."""

    n: int = 16

    def __post_init__(self) -> None:
        _require_positive("GaussLegendre", self.n)

    def nodes(self) -> tuple[Tensor, Tensor]:
        points, weights = np.polynomial.legendre.leggauss(self.n)
        return torch.from_numpy((points + 1) / 2), torch.from_numpy(weights / 2)


def clenshaw_curtis(n: int) -> tuple[Tensor, Tensor]:
    """Points `(1 - cos(k pi / n)) / 2`, k = 0..n, and their Clenshaw-Curtis weights, both float64 [n + 1]; n even.

    The points for n are every other point for 2n, bit for bit where n is a power of two, so gradients can be kept.
    Weights after Waldvogel (2006), "Fast construction of the Fejer and Clenshaw-Curtis quadrature rules".

    >>> clenshaw_curtis(2)[1].mul(6).round().tolist()
    [1.0, 4.0, 1.0]
    """
    k = torch.arange(n + 1, dtype=torch.float64)
    weights = torch.ones(n + 1, dtype=torch.float64)
    for j in range(1, n // 2 + 1):
        factor = (1 if 2 * j == n else 2) / (4 * j * j - 1)
        weights -= factor * torch.cos(2 * j * k * (torch.pi / n))
    weights /= n
    weights[[0, -1]] /= 2
    return (1 - torch.cos(k * torch.pi / n)) / 2, weights
