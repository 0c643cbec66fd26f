"""What tables do to some images: bytes by encoding them, distortion by asking the encoder; nothing is modelled."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from bench.attribution.explainer import for_gradients
from bench.clip.zero_shot import ZeroShotClassifier
from datamodules.degradations.quantisation import Quantisation
from datamodules.degradations.tables import encode, written

Distortion = Literal["prediction", "embedding", "loss"]
"""What is held small: the Kullback-Leibler divergence from the original's class probabilities in nats, 1 minus the
cosine to the original's embedding, or the cross-entropy of the true label in nats, the only one that needs labels."""


@dataclass(frozen=True)
class Measured:
    """Means over images.

    Attributes:
        encoded_bytes: Of the files, headers included.
        distortion: In the unit of the distortion that was asked for.
        agreement: Share of images with the prediction of their original.
    """

    encoded_bytes: float
    distortion: float
    agreement: float


class TuningImages:
    """Images, and what the frozen encoder says of them before they are compressed.

    Args:
        classifier: The encoder with its class prompts; taken in float32.
        images: RGB images of any sizes, at least one.
        labels: Of them; looked at for the distortion "loss" only.
        distortion: What is measured.
        max_batch: Images per pass.
    """

    def __init__(
        self,
        classifier: ZeroShotClassifier,
        images: Sequence[Image.Image],
        labels: Sequence[int],
        distortion: Distortion = "prediction",
        max_batch: int = 64,
    ) -> None:
        self.classifier, self.distortion = for_gradients(classifier), distortion
        order = sorted(range(len(images)), key=lambda place: images[place].size)
        self.images = [images[place] for place in order]
        self._labels = torch.tensor([labels[place] for place in order])
        starts = [0]
        for place in range(1, len(self.images)):
            if self.images[place].size != self.images[starts[-1]].size or place - starts[-1] == max_batch:
                starts.append(place)
        self._parts = [slice(*ends) for ends in zip(starts, [*starts[1:], len(self.images)], strict=True)]
        with torch.inference_mode():
            self._embeddings = torch.cat([self._embed(_stack(self.images[part])) for part in self._parts])
            self._logits = self.classifier.logits(self._embeddings)

    def __len__(self) -> int:
        return len(self.images)

    def encoded_bytes(self, tables: Quantisation) -> float:
        """Mean size of the files."""
        return float(np.mean([len(written(image, tables)) for image in self.images]))

    def measure(self, tables: Quantisation) -> Measured:
        """Encode, decode, and ask the encoder."""
        size, total, agreeing = 0, 0.0, 0
        with torch.inference_mode():
            for part, images, encoded_bytes in self._decoded(tables):
                embeddings = self._embed(images)
                logits = self.classifier.logits(embeddings)
                size += encoded_bytes
                total += float(self._distortions(part, embeddings, logits).double().sum())
                agreeing += int((logits.argmax(1) == self._logits[part].argmax(1)).sum())
        return Measured(size / len(self), total / len(self), agreeing / len(self))

    def _decoded(self, tables: Quantisation) -> Iterator[tuple[slice, Tensor, int]]:
        """Which images, themselves uint8 [B, 3, H, W] as the tables leave them, and the bytes of their files."""
        for part in self._parts:
            degraded = [encode(image, tables) for image in self.images[part]]
            yield part, _stack([one.image for one in degraded]), sum(one.encoded_bytes or 0 for one in degraded)

    def _distortions(self, part: slice, embeddings: Tensor, logits: Tensor) -> Tensor:
        if self.distortion == "embedding":
            return 1 - (embeddings * self._embeddings[part]).sum(1)
        if self.distortion == "loss":
            return functional.cross_entropy(logits, self._labels[part].to(logits.device), reduction="none")
        before = self._logits[part].log_softmax(1)
        return (before.exp() * (before - logits.log_softmax(1))).sum(1)

    def _embed(self, images: Tensor) -> Tensor:
        return self.classifier.embed(images.to(self.classifier.text.device))


def _stack(images: Sequence[Image.Image]) -> Tensor:
    return torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2).contiguous()
