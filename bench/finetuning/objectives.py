"""What fine-tuning for robustness minimises: each objective is a function of one batch's embeddings."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from datamodules.errors import UserError


def _no_tokens(name: str) -> Tensor:
    raise RuntimeError(f"the tokens of {name} are there for objectives that say `uses_tokens`")


def _no_divergence() -> Tensor:
    raise RuntimeError("the predicted divergence is there for objectives that say `uses_sensitivity`")


@dataclass(frozen=True)
class Pairs:
    """Originals and their random views, embedded when an objective asks for it, at most once.

    Attributes:
        embed_original: Returns the student's embeddings of the originals, float [B, D].
        embed_degraded: Returns the student's embeddings of the random views, float [B, D].
        embed_target: Returns the frozen original encoder's embeddings of the originals, float [B, D], no gradient.
        classify: Class logits float32 [B, C] of embeddings, by the frozen text classifier.
        labels: int64 [B].
        tokens: Of "original", "degraded" or "target", what the last residual block is given when that is embedded:
            float, features of every place, in any layout. There for objectives that say `uses_tokens`.
        predicted_divergence: What the frozen encoder's sensitivity per frequency says that the compression error of
            each random view costs, float [B] in nats; see `bench.attribution.sensitivity.predicted_divergence`. There
            for objectives that say `uses_sensitivity`.
    """

    embed_original: Callable[[], Tensor]
    embed_degraded: Callable[[], Tensor]
    embed_target: Callable[[], Tensor]
    classify: Callable[[Tensor], Tensor]
    labels: Tensor
    tokens: Callable[[str], Tensor] = field(default=_no_tokens)
    predicted_divergence: Callable[[], Tensor] = field(default=_no_divergence)

    @cached_property
    def original(self) -> Tensor:
        """The student's embeddings of the originals."""
        return self.embed_original()

    @cached_property
    def degraded(self) -> Tensor:
        """The student's embeddings of the random views."""
        return self.embed_degraded()

    @cached_property
    def target(self) -> Tensor:
        """The frozen encoder's embeddings of the originals."""
        return self.embed_target()


class Objective(ABC):
    """What a fit minimises: a loss of one batch of images and their random views.

    Attributes:
        label_free: Whether it needs no labels. Such an objective asks for nothing but what the frozen encoder says, so
            where no image is degraded there is nothing to learn: without weight decay, its clean-only control is the
            original itself.
        uses_tokens: Whether it asks for `Pairs.tokens`, for which the frozen encoder has to see every image every time.
        uses_sensitivity: Whether it asks for `Pairs.predicted_divergence`, for which a fit begins with a measurement.
    """

    label_free: ClassVar[bool] = False
    uses_tokens: ClassVar[bool] = False
    uses_sensitivity: ClassVar[bool] = False

    @abstractmethod
    def loss(self, pairs: Pairs) -> Tensor:
        """A scalar, the mean over the batch."""


@dataclass(frozen=True)
class Augment(Objective):
    """Cross-entropy of the random views against the frozen text classifier, in nats: degradation as augmentation."""

    def loss(self, pairs: Pairs) -> Tensor:
        return functional.cross_entropy(pairs.classify(pairs.degraded), pairs.labels)


@dataclass(frozen=True)
class Consistency(Objective):
    """The embedding of a random view shall be that of the original in the frozen encoder; no label, no text.

    `||f(degraded) - f0(original)||^2 + keep * ||f(original) - f0(original)||^2`, means over the batch, in units of its
    mean ||f0(original)||^2 so that one weight suits any encoder. The objective of FARE (Schlarmann et al., 2024,
    arXiv 2402.12336) with compression in place of an attack.

    Attributes:
        keep: Weight of the second term, at least 0.
    """

    keep: float = 1.0
    label_free: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _require(self.keep >= 0, f"Consistency(keep={self.keep}): choose at least 0")

    def loss(self, pairs: Pairs) -> Tensor:
        loss = relative_distance(pairs.degraded, pairs.target)
        return loss + self.keep * relative_distance(pairs.original, pairs.target) if self.keep else loss


@dataclass(frozen=True)
class FrequencyConsistency(Objective):
    """As `Consistency`, with most weight on images whose compression error lies where the encoder minds it.

    The distance of a random view counts in proportion to a power of the Kullback-Leibler divergence that the frozen
    encoder's sensitivity per DCT coefficient predicts of its compression error: half the sum of sensitivity times
    squared error. Weights have the mean 1 over a batch. The sensitivity is measured when a fit begins, on training
    images, with the text classifier but without labels.

    Attributes:
        keep: Weight of the originals, at least 0.
        power: Of the predicted divergence, at least 0; at 0 it is `Consistency`.
    """

    keep: float = 1.0
    power: float = 1.0
    label_free: ClassVar[bool] = True
    uses_sensitivity: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _require(self.keep >= 0, f"FrequencyConsistency(keep={self.keep}): choose at least 0")
        _require(self.power >= 0, f"FrequencyConsistency(power={self.power}): choose at least 0")

    def loss(self, pairs: Pairs) -> Tensor:
        weights = pairs.predicted_divergence() ** self.power
        mean = weights.mean()
        if mean > 0:  # else nothing is degraded
            weights = weights / mean
        loss = relative_distance(pairs.degraded, pairs.target, weights[:, None])
        return loss + self.keep * relative_distance(pairs.original, pairs.target) if self.keep else loss


@dataclass(frozen=True)
class TokenConsistency(Objective):
    """Every place of a random view shall have the features that it has in the frozen original; no label, no text.

    As `Consistency`, with what the last residual block is given (a ViT's tokens, a ResNet's feature map) in place of
    the embedding: a target for each place of the image and not for all of them together. What follows that block learns
    nothing from it, so that it is a term of a `Sum`.

    Attributes:
        keep: Weight of the originals, at least 0.
    """

    keep: float = 1.0
    label_free: ClassVar[bool] = True
    uses_tokens: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _require(self.keep >= 0, f"TokenConsistency(keep={self.keep}): choose at least 0")

    def loss(self, pairs: Pairs) -> Tensor:
        target = pairs.tokens("target")
        loss = relative_distance(pairs.tokens("degraded"), target)
        return loss + self.keep * relative_distance(pairs.tokens("original"), target) if self.keep else loss


@dataclass(frozen=True)
class LogitDistillation(Objective):
    """The class probabilities of a random view shall be the frozen encoder's for the original; text, but no label.

    `T^2 * (KL(p0(original) || p(degraded)) + keep * KL(p0(original) || p(original)))` in nats, with logits divided by
    the temperature T (Hinton et al., 2015, arXiv 1503.02531). Of a change d of the logits, KL is
    `log sum p0 exp(d) - sum p0 d`: written so, its gradient is 0 where d is, to the last digit, of which AdamW would
    make whole steps.

    Attributes:
        keep: Weight of the second term, at least 0.
        temperature: T, above 0.
    """

    keep: float = 1.0
    temperature: float = 1.0
    label_free: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _require(self.keep >= 0, f"LogitDistillation(keep={self.keep}): choose at least 0")
        _require(self.temperature > 0, f"LogitDistillation(temperature={self.temperature}): choose one above 0")

    def loss(self, pairs: Pairs) -> Tensor:
        logits = pairs.classify(pairs.target) / self.temperature
        target = logits.log_softmax(1)
        probabilities = (target - target.logsumexp(1, keepdim=True)).exp()  # as `logsumexp` differentiates itself

        def divergence(features: Tensor) -> Tensor:
            change = pairs.classify(features) / self.temperature - logits
            parts = (target + change).logsumexp(1) - (probabilities * change).sum(1)
            return self.temperature**2 * parts.mean()

        loss = divergence(pairs.degraded)
        return loss + self.keep * divergence(pairs.original) if self.keep else loss


@dataclass(frozen=True)
class Sum(Objective):
    """Several objectives together.

    Attributes:
        terms: At least one.
        weights: As many, each above 0.
    """

    terms: Sequence[Objective]
    weights: Sequence[float]

    def __post_init__(self) -> None:
        _require(bool(self.terms), "Sum(terms=[]): give at least one objective")
        _require(
            len(self.terms) == len(self.weights) and min(self.weights) > 0,
            f"Sum has {len(self.terms)} terms and the weights {list(self.weights)}: give each a weight above 0",
        )

    @property
    def label_free(self) -> bool:  # type: ignore[override]  # its terms decide
        return all(term.label_free for term in self.terms)

    @property
    def uses_tokens(self) -> bool:  # type: ignore[override]
        return any(term.uses_tokens for term in self.terms)

    @property
    def uses_sensitivity(self) -> bool:  # type: ignore[override]
        return any(term.uses_sensitivity for term in self.terms)

    def loss(self, pairs: Pairs) -> Tensor:
        return sum(
            (weight * term.loss(pairs) for term, weight in zip(self.terms, self.weights, strict=True)),
            start=torch.zeros((), device=pairs.labels.device),
        )


def relative_distance(features: Tensor, target: Tensor, weights: Tensor | float = 1.0) -> Tensor:
    """Mean squared distance of features [...] in units of the target's mean squared length: a scalar, 0 if equal.

    Args:
        features: float.
        target: float, of the same shape.
        weights: Of squared differences, of a shape that broadcasts.

    >>> relative_distance(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]))
    tensor(1.2500)
    """
    squares, length = (features.float() - target.float()).square(), target.float().square().sum()
    return (weights * squares).sum() / length


def _require(fits: bool, message: str) -> None:
    if not fits:
        raise UserError(message)
