"""What is known of each family of towers: a family that is to be supported is one class here.

An image tower of no family works everywhere but where its family has to be known, and there it is refused in words.
"""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.flop_counter import FlopCounterMode


class Projection(NamedTuple):
    """The linear map that an image tower ends in.

    Attributes:
        weight: [D, W] where there is an offset, otherwise [W, D].
        offset: [D], or None.
    """

    weight: Tensor
    offset: Tensor | None


class Blocks(NamedTuple):
    """Which parameters belong to which residual block: beginnings of their names.

    Attributes:
        residual: One per residual block, in the order in which images pass them.
        head: Of what follows the last one.
    """

    residual: tuple[str, ...]
    head: tuple[str, ...]


class LastAttention(NamedTuple):
    """The attention that makes the embedding: its first token becomes it.

    Attributes:
        module: What computes it; its output, or the first part of its output, is [B, 1 + P, W] or that of the first
            token alone, [B, W], after the projection `output`.
        tokens: From the module's input to the tokens that attend to each other, [B, 1 + P, V].
        queries: From tokens to queries of all heads side by side, [B, 1 + P, V] in and out.
        keys: Likewise.
        values: Likewise.
        output: Weights [W, V] of the last linear map, from the heads side by side.
    """

    module: nn.Module
    tokens: Callable[[Tensor], Tensor]
    queries: Callable[[Tensor], Tensor]
    keys: Callable[[Tensor], Tensor]
    values: Callable[[Tensor], Tensor]
    output: Tensor


class Family:
    """Image towers of no family that is known here."""

    activation_is_a_choice = False
    """Whether open_clip's `quick_gelu` says which activation is built."""
    foldable = False
    """Whether each batch norm is registered right behind the convolution whose output alone it sees."""

    def patch_period(self, tower: Any) -> int | None:
        """Input pixels from one cell of the last feature map to the next; None where nobody knows."""
        return None

    def projection(self, tower: Any) -> Projection | None:
        """The last linear map, None where there is none."""
        return None

    def blocks(self, tower: Any) -> Blocks | None:
        """The residual blocks, None where their order is not known."""
        return None

    def last_attention(self, tower: Any) -> LastAttention | None:
        """The attention that makes the embedding, None where there is none, or where it is not known."""
        return None


class ClipResNet(Family):
    """open_clip's ModifiedResNet, with ReLU throughout."""

    foldable = True

    def patch_period(self, tower: Any) -> int:
        return 32  # 4 in the stem, then 2 in three of the four layers

    def projection(self, tower: Any) -> Projection:
        return Projection(tower.attnpool.c_proj.weight, tower.attnpool.c_proj.bias)

    def blocks(self, tower: Any) -> Blocks:
        layers = [(f"layer{number}", len(getattr(tower, f"layer{number}"))) for number in range(1, 5)]
        return Blocks(tuple(f"{name}.{block}." for name, count in layers for block in range(count)), ("attnpool.",))

    def last_attention(self, tower: Any) -> LastAttention:
        pool = tower.attnpool

        def tokens(features: Tensor) -> Tensor:
            cells = features.flatten(2).mT
            every: Tensor = torch.cat([cells.mean(1, keepdim=True), cells], 1) + pool.positional_embedding
            return every

        return LastAttention(pool, tokens, pool.q_proj, pool.k_proj, pool.v_proj, pool.c_proj.weight)


class VisionTransformer(Family):
    """open_clip's own ViT."""

    activation_is_a_choice = True

    def patch_period(self, tower: Any) -> int:
        return int(tower.patch_size[0])

    def projection(self, tower: Any) -> Projection | None:
        return Projection(tower.proj, None) if isinstance(tower.proj, nn.Parameter) else None

    def blocks(self, tower: Any) -> Blocks:
        count = len(tower.transformer.resblocks)
        residual = tuple(f"transformer.resblocks.{block}." for block in range(count))
        return Blocks(residual, ("attn_pool", "ln_post.", "proj"))

    def last_attention(self, tower: Any) -> LastAttention | None:
        attention = getattr(tower.transformer.resblocks[-1], "attn", None)
        if not isinstance(attention, nn.MultiheadAttention) or tower.attn_pool is not None or tower.pool_type != "tok":
            return None
        weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
        queries, keys, values = (
            partial(functional.linear, weight=weight, bias=bias) for weight, bias in zip(weights, biases, strict=True)
        )
        return LastAttention(attention, lambda tokens: tokens, queries, keys, values, attention.out_proj.weight)


class Timm(Family):
    """A tower of timm in open_clip's wrapper; it brings its own activation."""


def _family(tower: nn.Module) -> Family:
    from open_clip import modified_resnet, timm_model, transformer

    known: dict[type[nn.Module], Family] = {
        modified_resnet.ModifiedResNet: ClipResNet(),
        transformer.VisionTransformer: VisionTransformer(),
        timm_model.TimmModel: Timm(),
    }
    return next((family for kind, family in known.items() if isinstance(tower, kind)), Family())


def _configured_family(vision: Mapping[str, Any]) -> Family:
    if vision.get("timm_model_name"):
        return Timm()
    return ClipResNet() if isinstance(vision.get("layers"), list) else VisionTransformer()


def image_tower(model: nn.Module) -> nn.Module:
    """The image tower of open_clip's model."""
    tower = model.visual
    assert isinstance(tower, nn.Module)
    return tower


def patch_period(tower: nn.Module) -> int | None:
    """Input pixels from one cell of the last feature map to the next: a ViT's patch size, a CLIP ResNet's stride.

    None for image towers that are not open_clip's own.
    """
    return _family(tower).patch_period(tower)


def last_projection(tower: nn.Module) -> Projection | None:
    """The linear map that an image tower ends in, None where it is not known."""
    return _family(tower).projection(tower)


def residual_blocks(tower: nn.Module) -> Blocks | None:
    """An image tower's residual blocks, None where their order is not known."""
    return _family(tower).blocks(tower)


def last_attention(tower: nn.Module) -> LastAttention | None:
    """The attention that makes an image tower's embedding, None where there is none, or where it is not known."""
    return _family(tower).last_attention(tower)


def folds_batch_norms(tower: nn.Module) -> bool:
    """Whether `fold_batch_norms` changes anything: not any more where they are folded."""
    return _family(tower).foldable and any(isinstance(module, nn.BatchNorm2d) for module in tower.modules())


def fold_batch_norms(tower: nn.Module) -> None:
    """Fold the batch norms of an image tower in evaluation mode into its convolutions, in place.

    What it computes stays the same up to rounding. Families that are not foldable stay as they are.
    """
    if not folds_batch_norms(tower):
        return
    for parent in list(tower.modules()):
        for (name, child), (following, norm) in pairwise(list(parent.named_children())):
            if isinstance(child, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                fused = fuse_conv_bn_eval(child, norm).requires_grad_(False)
                setattr(parent, name, fused.to(memory_format=torch.channels_last))
                setattr(parent, following, nn.Identity())


def lay_out(tower: nn.Module) -> None:
    """Put the channels of a convolutional image tower's kernels innermost: activations follow, every pass is faster.

    `python -m benchmarks.evaluation` measures by how much. A ViT's patch embedding gains nothing.
    """
    if sum(isinstance(module, nn.Conv2d) for module in tower.modules()) > 1:
        tower.to(memory_format=torch.channels_last)


def offers_activation(config: Mapping[str, Any]) -> bool:
    """Whether `quick_gelu` changes anything in a model: towers of other libraries bring their own activation.

    Args:
        config: open_clip's, with its parts `vision_cfg` and `text_cfg`.
    """
    return _configured_family(config["vision_cfg"]).activation_is_a_choice or not config["text_cfg"].get(
        "hf_model_name"
    )


def without_downloads(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration of which nothing is fetched when it is built: the weights come from one file."""
    vision, text = dict(config["vision_cfg"]), dict(config["text_cfg"])
    if vision.get("timm_model_name"):
        vision["timm_model_pretrained"] = False
    if text.get("hf_model_name"):
        text["hf_model_pretrained"] = False
    return {**config, "vision_cfg": vision, "text_cfg": text}


def built_activations(model: nn.Module) -> set[str]:
    """Which of "quickgelu" and "gelu" the towers that open_clip itself defines contain."""
    from open_clip.hf_model import HFTextEncoder
    from open_clip.timm_model import TimmModel
    from open_clip.transformer import QuickGELU

    if isinstance(model, TimmModel | HFTextEncoder):
        return set()
    own = {"quickgelu"} if isinstance(model, QuickGELU) else {"gelu"} if isinstance(model, nn.GELU) else set()
    return own.union(*(built_activations(child) for child in model.children()))


def image_flops(model: nn.Module, image_size: int) -> int:
    """Floating-point operations of the image tower for one image, a multiplication and an addition being two.

    Args:
        model: open_clip's, on any device, the meta device included.
        image_size: Side of its input in pixels.
    """
    image = torch.zeros(1, 3, image_size, image_size, device=next(model.parameters()).device)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # the counter does not know it
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model.encode_image(image)  # type: ignore[operator]
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return int(counter.get_total_flops())
