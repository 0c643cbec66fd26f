"""Integrated Gradients of a per-image loss along the straight line between two views of an image."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.adaptive import Adaptive
from bench.quadrature import Quadrature
from datamodules.errors import UserError

Loss = Callable[[Tensor, Tensor], Tensor]
"""`(pixels float [N, 3, H, W] in [0, 1], labels int64 [N]) -> loss [N]`, no batch statistics."""


@dataclass(frozen=True)
class Attribution:
    """Integrated Gradients of B pairs.

    Attributes:
        attribution: [B, 3, H, W], in units of the loss; positive where going from baseline to target raised it.
        total: [B], the sum of `attribution`.
        loss_difference: [B], loss(target) - loss(baseline), which `total` would equal were the integral exact.
        residual: [B], |total - loss_difference|, the completeness residual.
        evaluations: int64 [B], gradients spent; 0 where baseline and target agree.
        error_estimate: float64 [B], estimated relative L1 error of the map; NaN from rules that make no estimate.
        converged: bool [B], whether the estimate met the rule's tolerance; True from rules that have none.
    """

    attribution: Tensor
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
        path = _Path(loss, start[moved], (end - start)[moved], classes[moved])
        result = _still(start)
        if len(moved) == 0:
            return result
        integral = rule.integrate(path.sample, len(moved), max_batch)
        result.attribution[moved] = integral.slopes.reshape(-1, *start.shape[1:])
        result.total[moved] = integral.slopes.sum(1)
        result.loss_difference[moved] = path.rise(max_batch)
        result.residual[moved] = (result.total - result.loss_difference)[moved].abs()
        result.evaluations[moved] = integral.evaluations.to(device)
        result.error_estimate[moved] = integral.error_estimate.to(result.error_estimate)
        result.converged[moved] = integral.converged.to(device)
    return result


def _still(pixels: Tensor) -> Attribution:
    """The exact answer where nothing moves: zeros, at no cost."""
    zeros = pixels.new_zeros(len(pixels))
    return Attribution(
        attribution=torch.zeros_like(pixels),
        total=zeros,
        loss_difference=zeros.clone(),
        residual=zeros.clone(),
        evaluations=torch.zeros_like(zeros, dtype=torch.int64),
        error_estimate=zeros.clone(),
        converged=torch.ones_like(zeros, dtype=torch.bool),
    )


@dataclass(frozen=True)
class _Path:
    """The straight lines from `start` [B, 3, H, W] along `change`, and the loss on them."""

    loss: Loss
    start: Tensor
    change: Tensor
    labels: Tensor

    def sample(self, pairs: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Losses and slopes; see `bench.quadrature.Field`."""
        pairs = pairs.to(self.start.device)
        change = self.change[pairs]
        pixels = self._at(pairs, points).requires_grad_()
        values = self._losses(pixels, pairs)
        (gradient,) = torch.autograd.grad(values.sum(), pixels)
        return values.detach(), (gradient * change).flatten(1)

    @torch.no_grad()
    def rise(self, max_batch: int) -> Tensor:
        """Loss at the end minus loss at the start, [B]."""
        rises = []
        everyone = torch.arange(len(self.start), device=self.start.device)
        for first_pair in range(0, len(everyone), max_batch):
            pairs = everyone[first_pair : first_pair + max_batch]
            first, last = (self._losses(self._at(pairs, torch.full((len(pairs),), t)), pairs) for t in (0.0, 1.0))
            rises.append(last - first)
        return torch.cat(rises)

    def _at(self, pairs: Tensor, points: Tensor) -> Tensor:
        return self.start[pairs] + points.to(self.start).view(-1, 1, 1, 1) * self.change[pairs]

    def _losses(self, pixels: Tensor, pairs: Tensor) -> Tensor:
        values = self.loss(pixels, self.labels[pairs])
        if values.shape != pairs.shape:
            raise ValueError(f"loss returned shape {tuple(values.shape)} for {len(pairs)} images; need one number each")
        return values
