"""Zero-shot classification: prompts become a linear classifier on CLIP's image embeddings."""

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.clip.compilation import CompiledEncoder
from bench.clip.encoders import Encoder
from bench.clip.images import AnyImages, to_images
from bench.clip.preprocess import Preprocess
from bench.paper import TEMPLATE
from datamodules.errors import UserError
from datamodules.views import Images

_PROMPTS_PER_PASS = 256


def text_classifier(encoder: Encoder, class_names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Unit embedding of each class: the normalised mean over templates of normalised text embeddings.

    The prompt ensemble of Radford et al. (2021), section 3.1.4.

    Args:
        encoder: The CLIP that embeds the prompts.
        class_names: What to put in the place of "{}", C distinct names.
        templates: Prompts with "{}" where the class name goes.

    Returns:
        float32 [C, D] on the model's device, rows of length 1.

    Raises:
        UserError: no or repeated class names, no templates, or a template without a single "{}".
    """
    _check_prompts(class_names, templates)
    prompts = [template.replace("{}", name) for name in class_names for template in templates]
    _warn_if_cut(encoder, prompts)
    device = next(encoder.model.parameters()).device
    with torch.inference_mode(False), torch.no_grad(), torch.autocast(device.type, enabled=False):
        parts = []
        for start in range(0, len(prompts), _PROMPTS_PER_PASS):
            tokens = encoder.tokenizer(prompts[start : start + _PROMPTS_PER_PASS]).to(device)
            parts.append(encoder.model.encode_text(tokens, normalize=True))  # type: ignore[operator]
        means: Tensor = torch.cat(parts).view(len(class_names), len(templates), -1).mean(dim=1)
        return functional.normalize(means, dim=1)


class ZeroShotClassifier(nn.Module):
    """A frozen CLIP and class prompts as an image classifier.

    The text classifier is built once, in float32. The logits are the model's own: its learned scale times the cosine
    of image and class embedding, plus its bias where it has one (SigLIP).

    Args:
        encoder: The CLIP.
        class_names: C distinct class names.
        templates: Prompts with "{}" where the class name goes; that of the paper if none are given.

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

    def __init__(self, encoder: Encoder, class_names: Sequence[str], templates: Sequence[str] = (TEMPLATE,)) -> None:
        super().__init__()
        self.preprocess = Preprocess(
            encoder.image_size, encoder.mean, encoder.std, encoder.resize_mode, encoder.interpolation
        )
        self.model = encoder.model
        self.class_names = tuple(class_names)
        self.register_buffer("text", text_classifier(encoder, class_names, templates), persistent=False)
        self.compiled: CompiledEncoder | None = None

    def forward(self, images: Images) -> Tensor:
        """Logits float32 [B, C] of uint8 images [B, 3, H, W] or of B tensors uint8 [3, H_i, W_i]."""
        return self.logits(self.embed(images))

    def embed(self, images: Images) -> Tensor:
        """Unit embeddings, float32 [B, D], of images as `forward` takes them."""
        inputs = self.preprocess(images)
        return self._embed(inputs, self.model.encode_image if self.compiled is None else self.compiled)

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
        """Resize and crop: float32 [B, 3, image_size, image_size] in [0, 1]."""
        return self.preprocess.pixels(images)

    def pixel_logits(self, pixels: Tensor) -> Tensor:
        """Logits of resized images, differentiable with respect to them; not checked to be finite.

        Args:
            pixels: float [B, 3, image_size, image_size] in [0, 1], not normalised. B may be 0.

        Returns:
            float32 [B, C].
        """
        return self.logits(self.embed_pixels(pixels))

    def embed_pixels(self, pixels: Tensor) -> Tensor:
        """Unit embeddings, float32 [B, D], of resized images as `pixel_logits` takes them; differentiable."""
        return self._embed(self.preprocess.normalise(pixels), self.model.encode_image)

    def _embed(self, inputs: Tensor, encode: Any) -> Tensor:
        if len(inputs) == 0:
            return inputs.new_zeros((0, self.text.shape[1]), dtype=torch.float32)
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


def _check_prompts(class_names: Sequence[str], templates: Sequence[str]) -> None:
    if not class_names:
        raise UserError("there are no class names: give at least one")
    name, count = Counter(class_names).most_common(1)[0]
    if count > 1:
        raise UserError(f"class name {name!r} occurs {count} times: every class needs its own name")
    check_templates(templates)


def check_templates(templates: Sequence[str]) -> None:
    """Refuse prompts that have no single place for the class name.

    Raises:
        UserError: There are no templates, or one lacks "{}" or has it twice.
    """
    if not templates:
        raise UserError(f"there are no templates: give at least one, such as {TEMPLATE!r}")
    for template in templates:
        if template.count("{}") != 1:
            raise UserError(f"template {template!r} must contain '{{}}' once, where the class name goes")


def _warn_if_cut(encoder: Encoder, prompts: Sequence[str]) -> None:
    """CLIP's own tokenizer cuts long prompts silently; two classes may become one that way."""
    encode = getattr(encoder.tokenizer, "encode", None)
    if encode is None:
        return
    cut = [prompt for prompt in prompts if len(encode(prompt)) + 2 > encoder.context_length]
    if cut:
        warnings.warn(
            f"{len(cut)} of {len(prompts)} prompts exceed the encoder's {encoder.context_length} tokens and are cut,"
            f" first {cut[0]!r}",
            stacklevel=3,
        )
