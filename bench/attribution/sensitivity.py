"""How much a classifier minds small changes of each DCT coefficient, measured without labels."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bench.attribution.block_dct import block_dct
from bench.attribution.explainer import for_gradients
from bench.attribution.jpeg_planes import gradient_in_halves, gradient_in_ycbcr, to_ycbcr
from bench.clip.float32 import full_float32
from bench.clip.linear_resize import gradient_at_own_size
from bench.clip.zero_shot import ZeroShotClassifier
from datamodules.errors import UserError
from datamodules.views import Images


@dataclass(frozen=True)
class Sensitivity:
    """The mean square gradient per channel and coefficient.

    Attributes:
        mean: float64 [3, 8, 8], of Y, Cb, Cr and the coefficients [v, u] of `bench.attribution.block_dct.block_dct`, in
            squared nats per squared unit of a coefficient of pixels from 0 to 255: the unit of a quantisation table.
        standard_error: Of the mean, over images; NaN of a single one.
        images: How many there were.
    """

    mean: Tensor
    standard_error: Tensor
    images: int


def sensitivity(
    classifier: ZeroShotClassifier,
    batches: Iterable[Images],
    seed: int = 0,
    subsampled: bool = False,
    max_batch: int = 64,
) -> Sensitivity:
    """The diagonal of the Fisher information of the prediction about DCT coefficients, in images of their own size.

    For each image a label is drawn from the predicted probabilities, and the gradient of its cross-entropy is taken
    back through the resize to the image's Y, Cb and Cr. Its square is the mean over the image's blocks, then over
    images. Half of it, times the number of blocks and the variance of a small independent error of that coefficient, is
    the Kullback-Leibler divergence to expect between the predictions before and after (Amari and Nagaoka, 2000, section
    2.2), whichever class is the true one.

    Args:
        classifier: Taken in float32 without TF32.
        batches: uint8 images as `ZeroShotClassifier` takes them, on its device.
        seed: Of the labels drawn.
        subsampled: Whether the coefficients of Cb and Cr are those of planes of half the size, as in JPEG 4:2:0.
        max_batch: Images per forward and backward pass.

    Raises:
        UserError: There are no images, or `max_batch` is below 1.
    """
    if max_batch < 1:
        raise UserError(f"max_batch={max_batch}: the number of images per forward pass; give at least 1")
    classifier, generator = for_gradients(classifier), np.random.default_rng(seed)
    count, total, squares = 0, torch.zeros(3, 8, 8, dtype=torch.float64), torch.zeros(3, 8, 8, dtype=torch.float64)
    for images in batches:
        for first in range(0, len(images), max_batch):
            part = images[first : first + max_batch]
            for found in _squares(part, _gradients(classifier, part, generator), classifier, subsampled):
                count, total, squares = count + len(found), total + found.sum(0), squares + found.square().sum(0)
    if not count:
        raise UserError("there are no images to measure a sensitivity on: give at least one")
    mean = total / count
    variance = (
        (squares - count * mean.square()).clamp(min=0) / (count - 1) if count > 1 else torch.full_like(mean, torch.nan)
    )
    return Sensitivity(mean, (variance / count).sqrt(), count)


def predicted_divergence(mean: Tensor, originals: Images, views: Images) -> Tensor:
    """What a sensitivity says that the differences of images would cost: float32 [B], in nats, on the images' device.

    Half the sum over coefficients and blocks of sensitivity times squared difference: the Kullback-Leibler divergence
    of `sensitivity`, to second order, with errors of different coefficients taken for unrelated.

    Args:
        mean: Of a sensitivity whose chroma was not subsampled, [3, 8, 8].
        originals: uint8 [B, 3, H, W], or B tensors uint8 [3, H_i, W_i].
        views: Of the same sizes.

    Raises:
        UserError: A view has another size than its original.
    """
    pairs = (
        [(originals, views)]
        if isinstance(originals, Tensor) and isinstance(views, Tensor)
        else _singly(originals, views)
    )
    found = []
    for before, after in pairs:
        if before.shape != after.shape:
            raise UserError(
                f"a view has {after.shape[3]} x {after.shape[2]} pixels and its original {before.shape[3]} x "
                f"{before.shape[2]}, so that they have no difference: leave out views that change in size"
            )
        change = to_ycbcr(after.float() - before.float())
        squares = block_dct(change, "edge").square().sum((2, 3))
        found.append((squares * mean.to(squares)).sum((1, 2, 3)) / 2)
    return torch.cat(found)


def _singly(originals: Images, views: Images) -> list[tuple[Tensor, Tensor]]:
    return [(before[None], after[None]) for before, after in zip(originals, views, strict=True)]


def _gradients(classifier: ZeroShotClassifier, images: Images, generator: np.random.Generator) -> Tensor:
    """With respect to the encoder's input in [0, 1], of the cross-entropy of drawn labels: float64 [B, 3, S, S]."""
    device = classifier.text.device
    with torch.inference_mode(False), torch.enable_grad(), full_float32(), torch.autocast(device.type, enabled=False):
        pixels = classifier.pixels(images).requires_grad_()
        logits = classifier.pixel_logits(pixels)
        below = logits.detach().cpu().double().softmax(1).cumsum(1) < torch.from_numpy(
            generator.random((len(logits), 1))
        )
        drawn = below[:, :-1].sum(1)
        loss = functional.cross_entropy(logits, drawn.to(device), reduction="sum")
        (gradient,) = torch.autograd.grad(loss, pixels)
    return gradient.cpu().double()


def _squares(images: Images, gradients: Tensor, classifier: ZeroShotClassifier, subsampled: bool) -> Iterator[Tensor]:
    """Per image the mean over blocks of the squared gradient: float64 [n, 3, 8, 8], images of one size at a time."""
    groups = (
        [(images.shape[2:], gradients)]
        if isinstance(images, Tensor)
        else [(image.shape[1:], gradient[None]) for image, gradient in zip(images, gradients, strict=True)]
    )
    for (height, width), gradient in groups:
        planes = gradient_in_ycbcr(gradient_at_own_size(classifier.preprocess, gradient, height, width)) / 255
        luma, chroma = planes[:, :1], planes[:, 1:]
        parts = [luma, gradient_in_halves(chroma) if subsampled else chroma]
        yield torch.cat([block_dct(part, "zero").square().mean((2, 3)) for part in parts], 1)
