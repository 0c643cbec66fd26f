"""What tables do to some images: bytes by encoding them, distortion by asking the encoder; nothing is modelled."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from bench.attribution.block_dct import block_dct
from bench.attribution.explainer import for_gradients, full_float32
from bench.attribution.jpeg_planes import gradient_in_halves, gradient_in_ycbcr, halve, to_ycbcr
from bench.clip.linear_resize import gradient_at_own_size
from bench.clip.zero_shot import ZeroShotClassifier
from datamodules.degradations.quantisation import Quantisation
from datamodules.degradations.tables import encode

Distortion = Literal["prediction", "embedding", "loss"]
"""What is held small: the Kullback-Leibler divergence from the original's class probabilities in nats, 1 minus the
cosine to the original's embedding, or the cross-entropy of the true label in nats, the only one that needs labels."""

Floats = npt.NDArray[np.float32]

_MOST_BLOCKS = 64  # of an image and plane that models look at
_MIDDLE = 128  # what JPEG subtracts from samples before its DCT


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


class Blocks(NamedTuple):
    """Coefficients of some blocks of all images, or gradients with respect to them, luma apart from Cb and Cr.

    Attributes:
        luma: float32 [N, 64].
        chroma: float32 [M, 64].
    """

    luma: Floats
    chroma: Floats


class TuningImages:
    """Images, and what the frozen encoder says of them before they are compressed.

    Args:
        classifier: The encoder with its class prompts.
        images: RGB images of any sizes, at least one.
        labels: Of them; looked at for the distortion "loss" only.
        distortion: What is measured.
        max_batch: Images per pass.

    Attributes:
        weights: Per row of `Blocks` how many blocks it stands for, divided by the number of images.
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
        with torch.inference_mode(False), torch.no_grad(), full_float32():
            device = self.classifier.text.device
            pixels = (self.classifier.pixels(_stack(self.images[part]).to(device)) for part in self._parts)
            self._embeddings = torch.cat([self.classifier.embed_pixels(batch) for batch in pixels])
            self._logits = self.classifier.logits(self._embeddings)
        self._coefficients: dict[str, Blocks] = {}
        self.weights: dict[str, Blocks] = {}

    def __len__(self) -> int:
        return len(self.images)

    def encoded_bytes(self, tables: Quantisation) -> float:
        """Mean size of the files."""
        return float(np.mean([encode(image, tables).encoded_bytes for image in self.images]))

    def measure(self, tables: Quantisation) -> Measured:
        """Encode, decode, and ask the encoder."""
        return self._measure(tables, None)

    def gradients(self, tables: Quantisation) -> tuple[Measured, Blocks]:
        """The same, and the gradient of an image's distortion at the decoded coefficients, per unit of a step."""
        found: list[tuple[Tensor, Tensor]] = []
        measured = self._measure(tables, found)
        luma, chroma = (torch.cat([pair[place] for pair in found]).numpy() for place in (0, 1))
        return measured, Blocks(luma, chroma)

    def coefficients(self, subsampling: str) -> Blocks:
        """Those of the images before they are quantised."""
        if subsampling not in self._coefficients:
            pairs, weights = [], []
            for part in self._parts:
                pixels = _stack(self.images[part]).float()
                planes = to_ycbcr(pixels).round()
                chroma = halve(planes[:, 1:]).round() if subsampling == "4:2:0" else planes[:, 1:]
                blocks = [block_dct(plane, "edge") for plane in (planes[:, :1] - _MIDDLE, chroma)]
                pairs.append([_some(plane) for plane in blocks])
                weights.append([_stands_for(plane, len(self)) for plane in blocks])
            self._coefficients[subsampling], self.weights[subsampling] = (
                Blocks(*(torch.cat([one[place] for one in found]).numpy() for place in (0, 1)))
                for found in (pairs, weights)
            )
        return self._coefficients[subsampling]

    def decoded(self, tables: Quantisation) -> Iterator[tuple[slice, Tensor, int]]:
        """Which images, themselves uint8 [B, 3, H, W] as the tables leave them, and the bytes of their files."""
        for part in self._parts:
            degraded = [encode(image, tables) for image in self.images[part]]
            yield part, _stack([one.image for one in degraded]), sum(one.encoded_bytes or 0 for one in degraded)

    def _measure(self, tables: Quantisation, gradients: list[tuple[Tensor, Tensor]] | None) -> Measured:
        size, total, agreeing = 0, 0.0, 0
        for part, images, encoded_bytes in self.decoded(tables):
            with torch.inference_mode(False), torch.set_grad_enabled(gradients is not None), full_float32():
                pixels = self.classifier.pixels(images.to(self.classifier.text.device))
                embeddings = self.classifier.embed_pixels(pixels.requires_grad_(gradients is not None))
                logits = self.classifier.logits(embeddings)
                distortions = self._distortions(part, embeddings, logits)
                if gradients is not None:
                    (slope,) = torch.autograd.grad(distortions.sum(), pixels)
                    gradients.append(self._in_blocks(slope.cpu(), images.shape, tables.subsampling))
            size += encoded_bytes
            total += float(distortions.detach().double().sum())
            agreeing += int((logits.argmax(1) == self._logits[part].argmax(1)).sum())
        return Measured(size / len(self), total / len(self), agreeing / len(self))

    def _distortions(self, part: slice, embeddings: Tensor, logits: Tensor) -> Tensor:
        if self.distortion == "embedding":
            return 1 - (embeddings * self._embeddings[part]).sum(1)
        if self.distortion == "loss":
            return functional.cross_entropy(logits, self._labels[part].to(logits.device), reduction="none")
        before = self._logits[part].log_softmax(1)
        return (before.exp() * (before - logits.log_softmax(1))).sum(1)

    def _in_blocks(self, slope: Tensor, shape: torch.Size, subsampling: str) -> tuple[Tensor, Tensor]:
        own = gradient_at_own_size(self.classifier.preprocess, slope, *shape[2:])
        planes = gradient_in_ycbcr(own) / 255
        chroma = gradient_in_halves(planes[:, 1:]) if subsampling == "4:2:0" else planes[:, 1:]
        return _some(block_dct(planes[:, :1], "zero")), _some(block_dct(chroma, "zero"))


def _stack(images: Sequence[Image.Image]) -> Tensor:
    return torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2).contiguous()


def _chosen(blocks: Tensor) -> Tensor:
    """Places of at most 64 blocks of a plane, evenly spread."""
    count = blocks.shape[2] * blocks.shape[3]
    return torch.linspace(0, count - 1, min(count, _MOST_BLOCKS)).round().long()


def _some(blocks: Tensor) -> Tensor:
    """Some blocks of each plane, [B * P * n, 64], of [B, P, rows, columns, 8, 8]."""
    return blocks.flatten(2, 3)[:, :, _chosen(blocks)].reshape(-1, 64).float()


def _stands_for(blocks: Tensor, images: int) -> Tensor:
    """A weight per row of `_some`."""
    count = blocks.shape[2] * blocks.shape[3]
    rows = blocks.shape[0] * blocks.shape[1] * len(_chosen(blocks))
    return torch.full((rows,), count / len(_chosen(blocks)) / images)
