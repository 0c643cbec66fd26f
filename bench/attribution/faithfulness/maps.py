"""The maps that are compared: each a function of image pairs that returns how it values the units of these images."""

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from zlib import crc32

import torch
from torch import Tensor
from torch.nn import functional

from bench.attribution.explainer import for_gradients
from bench.attribution.faithfulness.grad_eclip import grad_eclip
from bench.attribution.faithfulness.repair import Units
from bench.attribution.integrated_gradients import cross_entropy, integrated_gradients
from bench.attribution.quadrature import Quadrature
from bench.clip.float32 import full_float32
from bench.clip.linear_resize import gradient_at_own_size
from bench.clip.zero_shot import ZeroShotClassifier

Valued = Callable[[Units], Tensor]
"""Values of units, float [B, U] on any device; the larger, the sooner a unit is to be repaired."""


class Pairs:
    """Images of one size with their degraded views, and the loss of a classifier on them.

    Args:
        classifier: Its copy for gradients is used throughout; see `bench.attribution.explainer.for_gradients`.
        original: uint8 [B, 3, H, W], on the classifier's device.
        degraded: uint8 of the same shape.
        labels: int64 [B], the true classes.
        max_batch: Images per forward pass, and per forward and backward pass.
    """

    def __init__(
        self, classifier: ZeroShotClassifier, original: Tensor, degraded: Tensor, labels: Tensor, max_batch: int = 64
    ) -> None:
        self.classifier = for_gradients(classifier)
        self.original, self.degraded, self.labels, self.max_batch = original, degraded, labels, max_batch

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def error(self) -> Tensor:
        """The change of pixels, degraded - original, float32 [B, 3, H, W] in [-1, 1]."""
        return (self.degraded.float() - self.original.float()) / 255

    @cached_property
    def baseline(self) -> Tensor:
        """The originals as the encoder sees them, float32 [B, 3, S, S] in [0, 1]."""
        return self.classifier.pixels(self.original)

    @cached_property
    def target(self) -> Tensor:
        """The degraded images as the encoder sees them, float32 [B, 3, S, S] in [0, 1]."""
        return self.classifier.pixels(self.degraded)

    def at_own_size(self, gradient: Tensor) -> Tensor:
        """A gradient with respect to the encoder's input, [..., S, S], with respect to images as they are."""
        return gradient_at_own_size(self.classifier.preprocess, gradient, *self.original.shape[-2:])

    @torch.no_grad()
    def losses(self, rows: Tensor, images: Tensor) -> Tensor:
        """Cross-entropy of the true class in nats, float32 [N], of uint8 images [N, 3, H, W], through the real resize.

        Args:
            rows: int64 [N], of which pair an image is.
            images: Any number of them.
        """
        with full_float32():
            parts = [self.classifier(part) for part in torch.split(images, self.max_batch)]
        return functional.cross_entropy(torch.cat(parts), self.labels[rows], reduction="none")

    def losses_repaired(self, units: Units, rows: Tensor, restored: Tensor) -> Tensor:
        """Loss in nats, float32 [N], of images `rows` [N] with the units `restored` [N, U] put back, on any device."""
        places, device = range(0, len(rows), self.max_batch), self.labels.device
        steps = ((some[at : at + self.max_batch].to(device) for some in (rows, restored)) for at in places)
        return torch.cat([self.losses(some, units.restore(some, which)) for some, which in steps])

    def slopes(self, points: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Loss and gradient on the straight line from baseline to target, some pairs at a time.

        Args:
            points: float [P] in [0, 1].

        Yields:
            For the next B' pairs losses [B', P], and gradients with respect to the images, [B', P, 3, H, W].
        """
        loss, at_once = cross_entropy(self.classifier.pixel_logits), max(1, self.max_batch // len(points))
        weights = points.to(self.baseline).view(1, -1, 1, 1, 1)
        for first in range(0, len(self), at_once):
            some = slice(first, first + at_once)
            start, end = self.baseline[some, None], self.target[some, None]
            with torch.enable_grad(), full_float32():
                pixels = torch.lerp(start, end, weights).flatten(0, 1).requires_grad_()
                values = loss(pixels, self.labels[some].repeat_interleave(len(points)))
                (gradients,) = torch.autograd.grad(values.sum(), pixels)
            gradients = self.at_own_size(gradients)
            yield values.detach().view(-1, len(points)), gradients.view(-1, len(points), *gradients.shape[1:])


Method = Callable[[Pairs], Valued]
"""One map: whatever it has to compute, gradients for instance, is computed once for all kinds of units."""


def random_order(pairs: Pairs, draw: int = 0) -> Valued:
    """Values that say nothing, for each image its own.

    Args:
        pairs: Images.
        draw: Number of the draw.
    """
    seeds = [crc32(image.tobytes(), draw) for image in pairs.degraded.cpu().numpy()]

    def valued(units: Units) -> Tensor:
        rows = [torch.rand(units.count, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return torch.stack(rows)

    return valued


def absolute_error(pairs: Pairs) -> Valued:
    """How far compression moved a unit, |degraded - original| summed over its coordinates; knows no model."""
    error = pairs.error
    return lambda units: units.of_difference(error).abs().sum(2)


def gradient_times_error(pairs: Pairs) -> Valued:
    """The first-order change of the loss at the degraded image: its gradient there times the error."""
    gradient = torch.cat([gradients[:, 0] for _, gradients in pairs.slopes(torch.ones(1))])
    return partial(_product, gradient, pairs.error)


def integrated(pairs: Pairs, rule: Quadrature | None = None) -> Valued:
    """Integrated Gradients from original to degraded image, by this project's rule.

    Args:
        pairs: Images.
        rule: `bench.attribution.adaptive.Adaptive()` if None.
    """
    with full_float32():
        found = integrated_gradients(
            cross_entropy(pairs.classifier.pixel_logits), pairs.baseline, pairs.target, pairs.labels, rule,
            pairs.max_batch,
        )  # fmt: skip
    return partial(_product, pairs.at_own_size(found.gradient), pairs.error)


def important_direction(pairs: Pairs, steps: int = 16) -> Valued:
    """Important Direction Gradient Integration (IDGI; Yang, Wang and Bilgic, 2023, Algorithm 1) on IG's path.

    With the points x_0, ..., x_N of the path, g_j the gradient at x_j and d_j = loss(x_{j+1}) - loss(x_j), coordinate i
    gets sum_j g_ji^2 d_j / (g_j . g_j): each step's change of the loss goes to coordinates by their squared gradient,
    whether or not the path moves them. The values sum to loss(x_N) - loss(x_0), but for steps without any gradient.
    Unlike IG's, they depend on the coordinates, which are those of the units.

    Args:
        pairs: Images.
        steps: N, of equal length.
    """
    found = list(pairs.slopes(torch.linspace(0, 1, steps + 1)))
    losses = torch.cat([values for values, _ in found]).cpu().double()
    gradients = torch.cat([several[:, :-1] for _, several in found])

    def valued(units: Units) -> Tensor:
        total = losses.new_zeros(len(pairs), units.count)
        for step, change in enumerate(losses.diff(dim=1).unbind(1)):
            squares = units.of_gradient(gradients[:, step]).cpu().double().square().sum(2)
            norm = squares.sum(1, keepdim=True)
            total += change[:, None] * squares / norm.where(norm > 0, 1)
        return total

    return valued


def clip_heat(pairs: Pairs) -> Valued:
    """Grad-ECLIP of the degraded image and its true class, the heat of a block being that of its pixels."""
    heat = _heat(pairs)
    return lambda units: units.of_difference(heat.expand_as(pairs.error)).sum(2)


def clip_heat_times_error(pairs: Pairs) -> Valued:
    """Grad-ECLIP times |degraded - original|: where the encoder looks and compression moved something."""
    product = _heat(pairs) * pairs.error.abs()
    return lambda units: units.of_difference(product).sum(2)


def single_repairs(pairs: Pairs) -> Valued:
    """By how much the loss falls when a unit alone is put back into the degraded image; a forward pass per unit."""

    def valued(units: Units) -> Tensor:
        every = torch.arange(len(pairs))
        alone = torch.eye(units.count, dtype=torch.bool).repeat(len(pairs), 1)
        before = pairs.losses(every.to(pairs.labels.device), pairs.degraded)
        after = pairs.losses_repaired(units, every.repeat_interleave(units.count), alone)
        return before[:, None] - after.view(len(pairs), units.count)

    return valued


def _product(gradient: Tensor, error: Tensor, units: Units) -> Tensor:
    return (units.of_gradient(gradient) * units.of_difference(error)).sum(2)


def _heat(pairs: Pairs) -> Tensor:
    """Heat of the images as they are, [B, 1, H, W]: each pixel of the input hands its own to those it is made of."""
    with full_float32():
        parts = zip(*(torch.split(rows, pairs.max_batch) for rows in (pairs.target, pairs.labels)), strict=True)
        heat = torch.cat([grad_eclip(pairs.classifier, pixels, labels) for pixels, labels in parts])
    return pairs.at_own_size(heat[:, None])


METHODS: dict[str, Method] = {
    "|error|": absolute_error,
    "gradient x error": gradient_times_error,
    "IG": integrated,
    "IDGI": important_direction,
    "Grad-ECLIP": clip_heat,
    "Grad-ECLIP x |error|": clip_heat_times_error,
    "single repairs": single_repairs,
}
"""By the name that tables have; random orders are drawn besides."""

OF_BLOCKS_ONLY = {"Grad-ECLIP", "Grad-ECLIP x |error|"}
"""Maps of places, which know no frequencies."""
