"""Zero-shot classification: prompts become a linear classifier on CLIP's image embeddings."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.clip.compilation import CompiledEncoder
from bench.clip.encoders import Encoder
from bench.clip.images import AnyImages, to_images
from bench.clip.preprocess import Preprocess
from bench.clip.text_classifier import text_classifier
from bench.clip.towers import image_tower
from bench.paper import TEMPLATE
from datamodules.views import Images


class Restorer(Protocol):
    """Whatever restores images before an encoder sees them."""

    def restore(self, images: Images) -> Images:
        """Images of the same type, sizes and device."""


class Adapter(Protocol):
    """Whatever changes what an image tower computes, depending on which view it is shown."""

    def attached(self, tower: nn.Module, views: Sequence[str | None]) -> AbstractContextManager[None]:
        """Within it, the tower embeds a batch of images of these views, B names; None is an unknown one."""


class ZeroShotClassifier(nn.Module):
    """A frozen CLIP and class prompts as an image classifier.

    The text classifier is built once, in float32. The logits are the model's own: its learned scale times the cosine
    of image and class embedding, plus its bias where it has one (SigLIP).

    Args:
        encoder: The CLIP.
        class_names: C distinct class names.
        templates: Prompts with "{}" where the class name goes; that of the paper if none are given.
        text: The text classifier of these names and templates where it is there already: `text_classifier`'s result, on
            any device.
        restoration: A module whose `restore` turns images into images of the same kind before all else, as
            `bench.restoration` has them; None leaves them as they are.
        adapter: What changes the image tower for a view, as `bench.adapters` have it; None leaves it as it is.

    Raises:
        UserError: as in `text_classifier` and `Preprocess`.

    >>> from PIL import Image
    >>> from bench import load_encoder
    >>> encoder = load_encoder("configs/models/demo-rn.json", "configs/models/demo-rn.safetensors")
    >>> classifier = ZeroShotClassifier(encoder, ["plain weave", "houndstooth"])
    >>> classifier.probabilities(Image.new("RGB", (40, 30))).shape
    torch.Size([1, 2])
    """

    text: Tensor

    def __init__(
        self,
        encoder: Encoder,
        class_names: Sequence[str],
        templates: Sequence[str] = (TEMPLATE,),
        text: Tensor | None = None,
        restoration: Restorer | None = None,
        adapter: Adapter | None = None,
    ) -> None:
        super().__init__()
        self.preprocess = Preprocess(
            encoder.image_size, encoder.mean, encoder.std, encoder.resize_mode, encoder.interpolation
        )
        self.model = encoder.model
        self.class_names = tuple(class_names)
        text = text_classifier(encoder, class_names, templates) if text is None else text
        self.register_buffer("text", text, persistent=False)
        self.compiled: CompiledEncoder | None = None
        self.restoration, self.adapter = restoration, adapter

    def forward(self, images: Images) -> Tensor:
        """Logits float32 [B, C] of uint8 images [B, 3, H, W] or of B tensors uint8 [3, H_i, W_i]."""
        return self.logits(self.embed(images))

    def embed(self, images: Images, view: str | None = None) -> Tensor:
        """Unit embeddings, float32 [B, D], of images as `forward` takes them; an adapter is told their view's name."""
        return self.embed_restored(self.restored(images), view)

    def restored(self, images: Images) -> Images:
        """What the encoder is shown of images: the images themselves, where nothing restores them."""
        return images if self.restoration is None else self.restoration.restore(images)

    def embed_restored(self, images: Images, view: str | None = None) -> Tensor:
        """As `embed`, of images that are restored already."""
        inputs = self.preprocess(images)
        return self._embed(inputs, self.model.encode_image if self.compiled is None else self.compiled, view)

    def logits(self, embeddings: Tensor) -> Tensor:
        """Class logits, float32 [B, C], of unit embeddings [B, D]."""
        return class_logits(self.model, embeddings, self.text)

    @torch.no_grad()
    def probabilities(self, images: AnyImages) -> Tensor:
        """Class probabilities of images as Python holds them.

        Args:
            images: One or a list of PIL images in any mode, arrays uint8 [H, W, 3], tensors uint8 [3, H, W]; or a
                batch uint8 [B, 3, H, W].

        Returns:
            float32 [B, C] on the classifier's device, B being 1 for a single image; rows sum to 1.

        Raises:
            UserError: An image is of another kind.
        """
        return self.forward(to_images(images, self.text.device)).softmax(1)

    def compile_encoder(self) -> None:
        """From now on, `forward` uses a compiled encoder and has no gradient; see `bench.clip.compilation`."""
        self.compiled = CompiledEncoder(self.model)

    def pixels(self, images: Images) -> Tensor:
        """Restore, resize and crop: float32 [B, 3, image_size, image_size] in [0, 1]."""
        return self.preprocess.pixels(self.restored(images))

    def pixel_logits(self, pixels: Tensor, view: str | None = None) -> Tensor:
        """Logits of resized images, differentiable with respect to them; not checked to be finite.

        Args:
            pixels: float [B, 3, image_size, image_size] in [0, 1], not normalised. B may be 0.
            view: As for `embed`.

        Returns:
            float32 [B, C].
        """
        return self.logits(self.embed_pixels(pixels, view))

    def embed_pixels(self, pixels: Tensor, view: str | None = None) -> Tensor:
        """Unit embeddings, float32 [B, D], of resized images as `pixel_logits` takes them; differentiable."""
        return self._embed(self.preprocess.normalise(pixels), self.model.encode_image, view)

    def _embed(self, inputs: Tensor, encode: Any, view: str | None) -> Tensor:
        if len(inputs) == 0:
            return inputs.new_zeros((0, self.text.shape[1]), dtype=torch.float32)
        if self.adapter is None:
            return unit(encode(inputs))
        with self.adapter.attached(image_tower(self.model), [view] * len(inputs)):
            return unit(encode(inputs))


def unit(features: Tensor) -> Tensor:
    """Embeddings of length 1 in float32, whatever the precision at work; float [B, D] in and out."""
    with torch.autocast(features.device.type, enabled=False):
        return functional.normalize(features.float(), dim=-1)


def class_logits(model: nn.Module, embeddings: Tensor, text: Tensor) -> Tensor:
    """The model's scale times the cosine of image and class embedding, plus its bias if it has one, in float32.

    Args:
        model: open_clip's.
        embeddings: Unit embeddings of images, float32 [B, D].
        text: Unit embeddings of the classes, float [C, D].

    Returns:
        float32 [B, C].
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        logits: Tensor = model.logit_scale.exp().float() * embeddings @ text.float().T  # type: ignore[operator]
        bias = getattr(model, "logit_bias", None)
        return logits if bias is None else logits + bias.float()
