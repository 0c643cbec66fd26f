"""Why one image's loss changed: Integrated Gradients without a run around them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from bench.attribution.explainer import for_gradients, to_uint8
from bench.attribution.integrated_gradients import cross_entropy, integrated_gradients
from bench.attribution.overlay import Overlay, SignedOverlay
from bench.attribution.quadrature import Quadrature
from bench.clip.encoders import Encoder
from bench.clip.float32 import full_float32
from bench.clip.images import AnyImage, to_images
from bench.clip.zero_shot import ZeroShotClassifier
from datamodules.degradations import degrade, framing, parse
from datamodules.errors import UserError


@dataclass(frozen=True)
class ImageAttribution:
    """Where the loss of a degraded image differs from that of its original.

    Attributes:
        attribution: float32 [3, S, S] in nats, in the encoder's input pixels; positive where the loss was raised.
        original: uint8 [3, S, S], as the encoder sees it.
        degraded: uint8 [3, S, S], as the encoder sees it.
        total: Sum of the attribution, in nats.
        loss_difference: loss(degraded) - loss(original) in nats, which `total` would equal were the integral exact.
        residual: |total - loss_difference|, the completeness residual.
        evaluations: Gradients spent.
        error_estimate: Estimated relative L1 error of the map; NaN from rules that make no estimate.
        converged: Whether the estimate met the rule's tolerance; True from rules that have none.
    """

    attribution: npt.NDArray[np.float32]
    original: npt.NDArray[np.uint8]
    degraded: npt.NDArray[np.uint8]
    total: float
    loss_difference: float
    residual: float
    evaluations: int
    error_estimate: float
    converged: bool

    def draw(self, overlay: Overlay | None = None) -> Image.Image:
        """The attribution over the degraded image; `Overlay.legend` says what the colours mean.

        Args:
            overlay: How attributions are drawn; `SignedOverlay()` if None.
        """
        drawn = (overlay or SignedOverlay()).draw(self.degraded, self.attribution)
        return Image.fromarray(np.ascontiguousarray(drawn.transpose(1, 2, 0)))


def explain(
    model: Encoder | ZeroShotClassifier,
    original: AnyImage,
    degraded: AnyImage | str,
    label: int | str,
    class_names: Sequence[str] = (),
    rule: Quadrature | None = None,
    max_batch: int = 64,
) -> ImageAttribution:
    """Attribute `loss(degraded) - loss(original)` of the true class to the pixels of one image.

    Args:
        model: A classifier, or an encoder, which becomes one with the paper's template.
        original: A PIL image, an array uint8 [H, W, 3] or a tensor uint8 [3, H, W].
        degraded: The same image degraded, of any size, or the name of a view that is made of `original`.
        label: The true class, by name or by position.
        class_names: All classes in their order, for an encoder; a classifier has them.
        rule: How the path integral is taken; `bench.attribution.Adaptive()` if None.
        max_batch: Images per forward and backward pass, the bound on memory.

    Raises:
        UserError: The label is none of the classes, there are no classes, the view is unknown or crops, or an image is
            of another kind.

    >>> from bench import load_encoder
    >>> encoder = load_encoder("configs/models/demo-vit.json", "configs/models/demo-vit.safetensors")
    >>> gradient = Image.linear_gradient("L").resize((48, 40)).convert("RGB")
    >>> found = explain(encoder, gradient, "jpeg-10", "twill", class_names=["twill", "houndstooth"])
    >>> found.attribution.shape, found.residual < 1e-3, found.draw().size
    ((3, 64, 64), True, (64, 64))
    """
    classifier = model if isinstance(model, ZeroShotClassifier) else ZeroShotClassifier(model, class_names)
    position = _position(label, classifier.class_names)
    classifier = for_gradients(classifier)
    device = classifier.text.device
    if isinstance(degraded, str) and (frame := framing(parse(degraded))):
        raise UserError(
            f"view {degraded!r} shows another part of the image than the image itself, so that no pixel has a path: "
            f"explain `bench.degrade(image, {'+'.join(frame)!r}).image` and a view without these"
        )
    target = degrade(_pil(original), degraded).image if isinstance(degraded, str) else degraded
    start, end = (classifier.pixels(to_images(image, device)) for image in (original, target))
    with full_float32():
        found = integrated_gradients(
            cross_entropy(classifier.pixel_logits), start, end, torch.tensor([position], device=device), rule, max_batch
        )
    return ImageAttribution(
        attribution=found.attribution[0].cpu().numpy(),
        original=to_uint8(start[0]),
        degraded=to_uint8(end[0]),
        total=found.total.item(),
        loss_difference=found.loss_difference.item(),
        residual=found.residual.item(),
        evaluations=int(found.evaluations.item()),
        error_estimate=found.error_estimate.item(),
        converged=bool(found.converged.item()),
    )


def _position(label: int | str, class_names: Sequence[str]) -> int:
    if isinstance(label, str):
        if label not in class_names:
            raise UserError(f"label {label!r} is none of the classes: choose one of {', '.join(class_names)}")
        return class_names.index(label)
    if not 0 <= label < len(class_names):
        raise UserError(f"label {label} is none of {len(class_names)} classes: choose 0 to {len(class_names) - 1}")
    return label


def _pil(image: AnyImage) -> Image.Image:
    if isinstance(image, Image.Image):
        return image
    (pixels,) = to_images(image)
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
