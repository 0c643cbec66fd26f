"""Integrated Gradients of a per-image loss along the straight line between two views of an image."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from bench.attribution.adaptive import Adaptive
from bench.attribution.quadrature import Quadrature
from datamodules.errors import UserError

Loss = Callable[[Tensor, Tensor], Tensor]
"""`(pixels float [N, 3, H, W] in [0, 1], labels int64 [N]) -> loss [N]`, no batch statistics."""


@dataclass(frozen=True)
class Attribution:
    """Integrated Gradients of B pairs.

    Attributes:
        attribution: [B, 3, H, W], in units of the loss; positive where going from baseline to target raised it.
        gradient: [B, 3, H, W], the mean gradient along the path, in units of the loss per unit of a pixel, also where
            the pixel does not change; `attribution` is its product with target - baseline. 0 where the two agree
            throughout.
        total: [B], the sum of `attribution`.
        loss_difference: [B], loss(target) - loss(baseline), which `total` would equal were the integral exact.
        residual: [B], |total - loss_difference|, the completeness residual.
        evaluations: int64 [B], gradients used; 0 where baseline and target agree. Pairs that share baseline and label
            share the gradient there, and each counts it.
        error_estimate: float [B], estimated relative L1 error of the map; NaN from rules that make no estimate.
        converged: bool [B], whether the estimate met the rule's tolerance; True from rules that have none.
    """

    attribution: Tensor
    gradient: Tensor
    total: Tensor
    loss_difference: Tensor
    residual: Tensor
    evaluations: Tensor
    error_estimate: Tensor
    converged: Tensor


def cross_entropy(logits: Callable[[Tensor], Tensor]) -> Loss:
    """The loss of the benchmark: cross-entropy of the true class, from `logits(pixels) -> [N, C]`."""

    def loss(pixels: Tensor, labels: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(logits(pixels), labels, reduction="none")

    return loss


def integrated_gradients(
    loss: Loss,
    baseline: Tensor,
    target: Tensor,
    labels: Tensor,
    rule: Quadrature | None = None,
    max_batch: int = 64,
    progress: Callable[[int], object] = lambda gradients: None,
) -> Attribution:
    """Attributes `loss(target) - loss(baseline)` to pixels (Sundararajan, Taly and Yan, 2017, Equation 1).

        attribution = (target - baseline) * integral over t in [0, 1] of
                      d loss(baseline + t (target - baseline)) / d pixels

    This is the sign of the tables of Chen, Namboodiri and Padget (2023); their Equation (4) prints the opposite one.

    Gradients are taken with respect to pixels only: parameters keep their `requires_grad` and get no gradient. Works
    under `torch.inference_mode`, `torch.no_grad` and `torch.autocast`, none of which reaches the computation: it runs
    in float32, or float64 where a view has that type. What `loss` closes over must not have been made under
    `inference_mode`: autograd refuses to save such parameters and buffers, so build the model outside of it.

    Rounding depends on the composition of a batch, as everywhere on a GPU. `Adaptive` compares rounded numbers: two
    cells within rounding of each other may be halved in a different order, which moves a map within its error estimate.

    Args:
        loss: per-image loss of pixels; see `Loss`.
        baseline: float [B, 3, H, W] in [0, 1], where the path starts.
        target: like `baseline`, where it ends.
        labels: int64 [B], handed to `loss`.
        rule: how the integral is taken; `Adaptive()` if None.
        max_batch: how many images go forward and backward at once, the bound on memory.
        progress: called after every batch with the number of gradients that it took.

    Returns:
        Everything on the device of `baseline`, detached.

    Raises:
        UserError: `max_batch` below 1.
        ValueError: shapes that do not fit, integer pixels, or a loss that is not one number per image.
    """
    if max_batch < 1:
        raise UserError(f"max_batch={max_batch}: the number of images per forward pass; give at least 1")
    if baseline.shape != target.shape or baseline.ndim != 4 or labels.shape != baseline.shape[:1]:
        shapes = f"{tuple(baseline.shape)}, {tuple(target.shape)}, {tuple(labels.shape)}"
        raise ValueError(f"baseline, target and labels have shapes {shapes}; need [B, 3, H, W] twice and [B]")
    if not (baseline.is_floating_point() and target.is_floating_point()):
        raise ValueError(f"pixels are {baseline.dtype} and {target.dtype}; need floats in [0, 1]")
    rule = Adaptive() if rule is None else rule
    device = baseline.device
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        dtype = torch.promote_types(torch.promote_types(baseline.dtype, target.dtype), torch.float32)
        # Inference tensors cannot enter a graph: clones made here can.
        start, end, classes = (x.detach().clone() for x in (baseline.to(dtype), target.to(dtype), labels.to(device)))
        moved = (start != end).flatten(1).any(1).nonzero().squeeze(1)
        path = _Path(loss, start[moved], (end - start)[moved], classes[moved], progress)
        result = _still(start)
        if len(moved) == 0:
            return result
        integral = rule.integrate(path.sample, len(moved), max_batch)
        slopes = integral.slopes.reshape(-1, *start.shape[1:])
        result.attribution[moved] = slopes.where(path.change != 0, 0)
        result.gradient[moved] = slopes / path.scale
        result.total[moved] = result.attribution[moved].flatten(1).sum(1)
        result.loss_difference[moved] = path.rise(max_batch)
        result.residual[moved] = (result.total - result.loss_difference)[moved].abs()
        result.evaluations[moved] = integral.evaluations.to(device)
        result.error_estimate[moved] = integral.error_estimate.to(dtype).to(device)
        result.converged[moved] = integral.converged.to(device)
    return result


def _still(pixels: Tensor) -> Attribution:
    """The exact answer where nothing moves: zeros, at no cost."""
    zeros = pixels.new_zeros(len(pixels))
    return Attribution(
        attribution=torch.zeros_like(pixels),
        gradient=torch.zeros_like(pixels),
        total=zeros,
        loss_difference=zeros.clone(),
        residual=zeros.clone(),
        evaluations=torch.zeros_like(zeros, dtype=torch.int64),
        error_estimate=zeros.clone(),
        converged=torch.ones_like(zeros, dtype=torch.bool),
    )


_HAIR = 2.0**-30  # a millionth of a byte's step or less: adds nothing to a sum, and is divided out again exactly

_Place = tuple[int, float]
"""A pair and a point of its path."""


class _Path:
    """The straight lines from `start` [B, 3, H, W] along `change`, and the loss on them.

    What lines of one image have in common, their start, is evaluated once; losses met at ends are kept. Slopes are
    gradients times `scale`, which is the change, and a hair where there is none: so they carry every gradient.
    """

    def __init__(
        self, loss: Loss, start: Tensor, change: Tensor, labels: Tensor, progress: Callable[[int], object]
    ) -> None:
        self.loss, self.start, self.change, self.labels, self.progress = loss, start, change, labels, progress
        self.scale = change.where(change != 0, _HAIR)
        self._origins = _first_alike(start, labels)
        self._at_start: dict[_Place, tuple[Tensor, Tensor]] = {}
        self._at_ends: dict[_Place, Tensor] = {}

    def sample(self, pairs: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Losses and slopes; see `bench.attribution.quadrature.Field`."""
        asked = [self._place(pair, point) for pair, point in zip(pairs.tolist(), points.tolist(), strict=True)]
        known = dict(self._at_start)
        if places := [place for place in dict.fromkeys(asked) if place not in known]:
            pixels = self._pixels(places).requires_grad_()
            values = self._losses(pixels, places)
            (gradients,) = torch.autograd.grad(values.sum(), pixels)
            known.update(zip(places, zip(values.detach(), gradients, strict=True), strict=True))
            self.progress(len(places))
        for place in places:
            if place[1] in (0.0, 1.0):
                self._at_ends[place] = known[place][0]
            if place[1] == 0.0:
                value, gradient = known[place]
                self._at_start[place] = value, gradient.clone()  # a view would keep the whole batch
        slopes = torch.stack([known[place][1] for place in asked]) * self.scale[pairs.to(self.scale.device)]
        return torch.stack([known[place][0] for place in asked]), slopes.flatten(1)

    @torch.no_grad()
    def rise(self, max_batch: int) -> Tensor:
        """Loss at the end minus loss at the start, [B]."""
        ends = [(self._place(pair, 0.0), self._place(pair, 1.0)) for pair in range(len(self.start))]
        missing = [place for place in dict.fromkeys(chain(*ends)) if place not in self._at_ends]
        for first in range(0, len(missing), max_batch):
            places = missing[first : first + max_batch]
            self._at_ends.update(zip(places, self._losses(self._pixels(places), places), strict=True))
        return torch.stack([self._at_ends[last] - self._at_ends[first] for first, last in ends])

    def _place(self, pair: int, point: float) -> _Place:
        return (self._origins[pair], point) if point == 0.0 else (pair, point)

    def _pixels(self, places: list[_Place]) -> Tensor:
        pairs, points = self._pairs(places), self.start.new_tensor([point for _, point in places])
        return torch.addcmul(self.start[pairs], points.view(-1, 1, 1, 1), self.change[pairs])

    def _losses(self, pixels: Tensor, places: list[_Place]) -> Tensor:
        values = self.loss(pixels, self.labels[self._pairs(places)])
        if values.shape != (len(places),):
            raise ValueError(
                f"loss returned shape {tuple(values.shape)} for {len(places)} images; need one number each"
            )
        return values

    def _pairs(self, places: list[_Place]) -> Tensor:
        return torch.tensor([pair for pair, _ in places], device=self.start.device)


def _first_alike(start: Tensor, labels: Tensor) -> list[int]:
    """For each row, the first with the same pixels and label; on the host, since MPS lacks `torch.unique` of rows."""
    first: dict[tuple[bytes, int], int] = {}
    alike = zip(start.cpu().numpy(), labels.tolist(), strict=True)
    return [first.setdefault((pixels.tobytes(), label), row) for row, (pixels, label) in enumerate(alike)]
