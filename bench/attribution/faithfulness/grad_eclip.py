"""Grad-ECLIP: where a CLIP looks for a class, from its last attention (Zhao et al., ICML 2024; arXiv 2502.18816)."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.clip.towers import image_tower, last_attention
from bench.clip.zero_shot import ZeroShotClassifier, unit
from datamodules.errors import UserError


def grad_eclip(classifier: ZeroShotClassifier, pixels: Tensor, labels: Tensor) -> Tensor:
    """Heat of the input's pixels: how much what lies there speaks for a class.

    With S the cosine between the image's embedding and that of its class, o what the last attention hands on at the
    token that becomes the embedding (its heads side by side, before their projection), q that token's query, and k_i
    and v_i the key and the value of patch i:

        H_i = ReLU(sum_c w_c lambda_i v_ic),   w_c = dS / do_c,   lambda_i = cos(q, k_i), from 0 to 1 over the image's i

    (Zhao et al., 2024, section 3; lambda is their loosened attention weight, w their channel weight). Their released
    code computes the last attention with a single head, whatever the model has, and takes the cosines behind the heads'
    projection; here o is that of the model as it is, and the cosines are those of the paper. The attention pooling of a
    CLIP's ResNet has the same parts and is treated alike.

    Args:
        classifier: With a ViT of open_clip's that pools by its class token, or with a CLIP's ResNet.
        pixels: float [B, 3, S, S] in [0, 1].
        labels: int64 [B].

    Returns:
        float32 [B, S, S], at least 0, enlarged bilinearly from the patches.

    Raises:
        UserError: The image tower is none of these.
    """
    attention = last_attention(image_tower(classifier.model))
    if attention is None:
        raise UserError("Grad-ECLIP needs a ViT with a class token or a CLIP ResNet: choose another map or encoder")
    with torch.inference_mode(False), torch.enable_grad(), _watched(attention.module) as seen:
        inputs = classifier.preprocess.normalise(pixels.detach().clone())
        embeddings = unit(classifier.model.encode_image(inputs))  # type: ignore[operator]
        similarity = (embeddings * classifier.text[labels]).sum()
        (gradient,) = torch.autograd.grad(similarity, seen["output"])
    with torch.no_grad():
        at_token = gradient[:, 0] if gradient.ndim == 3 else gradient
        weights, tokens = at_token @ attention.output, attention.tokens(seen["input"])
        keys, values = attention.keys(tokens)[:, 1:], attention.values(tokens)[:, 1:]
        cosines = functional.cosine_similarity(attention.queries(tokens)[:, :1], keys, dim=2)
        low, high = cosines.amin(1, keepdim=True), cosines.amax(1, keepdim=True)
        loosened = (cosines - low) / (high - low).where(high > low, 1)
        heat = ((weights[:, None] * values).sum(2) * loosened).relu()
        side = math.isqrt(heat.shape[1])
        enlarged = functional.interpolate(heat.view(-1, 1, side, side), pixels.shape[-2:], mode="bilinear")
    return enlarged[:, 0].float()


@contextmanager
def _watched(module: nn.Module) -> Iterator[dict[str, Tensor]]:
    """What goes in and comes out while the module runs; what comes out is where the graph begins."""
    seen: dict[str, Tensor] = {}

    def watch(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        several = isinstance(output, tuple)
        leaf = (output[0] if several else output).detach().requires_grad_()
        seen["input"], seen["output"] = inputs[0].detach(), leaf
        return (leaf, *output[1:]) if several else leaf

    handle = module.register_forward_hook(watch)
    try:
        yield seen
    finally:
        handle.remove()
