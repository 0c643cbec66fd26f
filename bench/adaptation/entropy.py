"""TENT (Wang et al., 2021, arXiv 2006.10726): one stream of test batches, to which gains and biases are adapted."""

import copy
import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from bench.clip.towers import image_tower
from bench.clip.zero_shot import ZeroShotClassifier, unit
from bench.finetuning.trainable import norm_parameters
from bench.finetuning.tuning import EncoderTuning
from datamodules.errors import UserError

_BATCH_NORM = nn.modules.batchnorm._BatchNorm
_MOMENTUM = 0.9


@dataclass(frozen=True)
class Tent:
    """How a stream is adapted.

    Attributes:
        learning_rate: Of the one step per batch, at least 0; with 0 nothing changes but BatchNorm's statistics.
        optimiser: "adam", or "sgd" with Nesterov's momentum of 0.9.
        reset: "never", so that every batch goes on from the one before; or "batch", so that each begins with the
            original weights and a fresh optimiser.
        statistics: "batch", so that BatchNorm normalises with the mean and variance of the batch at hand; or "source",
            so that it does with the encoder's own.

    Raises:
        UserError: The learning rate is out of range.
    """

    learning_rate: float = 1e-3
    optimiser: Literal["adam", "sgd"] = "adam"
    reset: Literal["never", "batch"] = "never"
    statistics: Literal["batch", "source"] = "batch"

    def __post_init__(self) -> None:
        if not 0 <= self.learning_rate < math.inf:
            raise UserError(
                f"`learning_rate` {self.learning_rate} is out of range: choose at least 0", option="model.learning_rate"
            )


class Stream:
    """Classifies batches one after the other, and after each makes a step towards less entropy.

    Minimised is the mean entropy of the batch's predictions, over gains and biases of the image tower's normalisation
    layers; everything else is shared with the classifier, which itself stays as it is, bit for bit.

    Where the weights go on from batch to batch, what is said of a batch comes from the forward pass whose entropy is
    minimised, that is from before its step, as in the authors' code: it costs one pass, and no image is classified by
    weights that were fitted to it. Where each batch begins with the original weights, that pass has not learnt
    anything, so that another one after the step says it.

    Args:
        classifier: On its device, uncompiled.
        tent: How to adapt.
    """

    def __init__(self, classifier: ZeroShotClassifier, tent: Tent) -> None:
        self._classifier, self._tent = classifier, tent
        self._begin()

    @torch.inference_mode(False)
    @torch.enable_grad()
    def embed(self, inputs: Tensor) -> Tensor:
        """Unit embeddings, float32 [B, D], of preprocessed images, float32 [B, 3, S, S]; then the step is made.

        A batch without images changes nothing.
        """
        if not len(inputs):
            return self._classifier.embed_pixels(inputs)
        if self._tent.reset == "batch":
            self._begin()
        embeddings = self._embeddings(inputs)
        self._optimiser.zero_grad()
        torch.autograd.backward(prediction_entropy(self._classifier.logits(embeddings)).mean())
        self._optimiser.step()
        if self._tent.reset == "batch":
            with torch.no_grad():
                embeddings = self._embeddings(inputs)
        return embeddings.detach()

    @torch.inference_mode(False)
    def _begin(self) -> None:
        tower = image_tower(self._classifier.model)
        self._tower = with_own_norms(tower, self._tent.statistics)
        learning = [self._tower.get_parameter(name).requires_grad_(True) for name in norm_parameters(tower)]
        self._optimiser: torch.optim.Optimizer = torch.optim.Adam(learning, self._tent.learning_rate)
        if self._tent.optimiser == "sgd":
            self._optimiser = torch.optim.SGD(learning, self._tent.learning_rate, _MOMENTUM, nesterov=True)

    def _embeddings(self, inputs: Tensor) -> Tensor:
        return unit(EncoderTuning.encode(self._tower, inputs))


def with_own_norms(tower: nn.Module, statistics: Literal["batch", "source"]) -> nn.Module:
    """A copy of an image tower with gains and biases of its own; all other weights are the tower's, not copied.

    Args:
        tower: In evaluation mode.
        statistics: What BatchNorm normalises with, as in `Tent`; "batch" needs more than one value per channel.
    """
    own = set(norm_parameters(tower))
    shared = [tensor for name, tensor in tower.named_parameters() if name not in own] + list(tower.buffers())
    adapted = copy.deepcopy(tower, {id(tensor): tensor for tensor in shared})
    if statistics == "batch":
        for module in adapted.modules():
            if isinstance(module, _BATCH_NORM):
                module.track_running_stats = False
                module.running_mean = module.running_var = module.num_batches_tracked = None
    return adapted


def has_batch_norms(tower: nn.Module) -> bool:
    """Whether an image tower has statistics of its own to normalise with."""
    return any(isinstance(module, _BATCH_NORM) for module in tower.modules())


def prediction_entropy(logits: Tensor) -> Tensor:
    """Entropy in nats of each prediction, float [B], of class logits, float [B, C]; differentiable.

    >>> prediction_entropy(torch.zeros(1, 2)).exp()
    tensor([2.])
    """
    return -(logits.softmax(1) * logits.log_softmax(1)).sum(1)
