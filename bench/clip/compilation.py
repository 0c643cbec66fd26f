"""A frozen encoder compiled for inference: weights become constants, what lies between matrix products is fused."""

import copy
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

IMAGES_PER_PASS = 32  # of a compiled encoder: activations of more do not fit a processor's cache

# Measured with `python -m benchmarks.evaluation` on two cores; only to choose by, and on the safe side.
_SECONDS = 20.0  # to compile ViT-B/32 or RN50
_SAVED = 0.1  # share of the uncompiled time
_FLOPS = 8e10  # per second and core, uncompiled

_CLOSE = 1e-3  # greatest distance of compiled from uncompiled embeddings, relative to their length


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


def pays(flops: float, cores: int) -> bool:
    """Whether compiling saves more than it costs in a run of so many floating-point operations on a CPU.

    Args:
        flops: Of all images and views, over all processes, so that their number does not change what is computed.
        cores: Of this machine, shared by its processes.

    >>> [pays(images * 4 * 8.7e9, cores=2) for images in (100, 10_000)]
    [False, True]
    """
    return _SAVED * flops / (_FLOPS * cores) > _SECONDS


def compiler() -> str | None:
    """The C++ compiler that torch's inductor will call; None where it is missing."""
    return shutil.which(os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++"))


class CompiledEncoder:
    """Embeds images with a compiled copy of a frozen model, which shares its weights until they are folded in.

    Compiled at the first call, for batches of one size; what is left over after cutting a batch goes through the model
    itself. Where compiling fails, or what comes out is not what the model says, everything does, after one line.

    Args:
        model: open_clip's, in evaluation mode; no gradient is ever asked for.
        images: Per pass, at least 1.
    """

    def __init__(self, model: nn.Module, images: int = IMAGES_PER_PASS) -> None:
        self.model, self.images = model, images
        shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
        twin = _ImageEncoder(_with_plain_attention(copy.deepcopy(model, shared)))
        self._compiled = torch.compile(twin, dynamic=False)
        self._checked = False
        self.works = True

    def __call__(self, images: Tensor) -> Tensor:
        """Embeddings [B, D] of normalised images [B, 3, S, S], as CLIP leaves them: not of unit length."""
        with torch.no_grad():
            whole = len(images) - len(images) % self.images
            if whole and not self._checked:
                self._check(images[: self.images])
            if not self.works or not whole:
                return self._plain(images)
            parts = [self._compiled(part) for part in torch.split(images[:whole], self.images)]
            return torch.cat(parts + ([self._plain(images[whole:])] if whole < len(images) else []))

    def _plain(self, images: Tensor) -> Tensor:
        features: Tensor = self.model.encode_image(images)  # type: ignore[operator]
        return features

    def _check(self, images: Tensor) -> None:
        """Compile, and compare with the model itself."""
        self._checked = True
        try:
            with _frozen(), _onednn_products(), _without_notes():
                self._compiled(images)
            found, expected = self._compiled(images).float(), self._plain(images).float()
            distance = float(((found - expected).norm(dim=1) / expected.norm(dim=1)).max())
            self.works = distance < (_CLOSE if not torch.is_autocast_enabled(images.device.type) else 100 * _CLOSE)
            reason = f"its embeddings are off by {distance:.1%}"
        except Exception as error:  # whatever the tool chain drove it to
            self.works, reason = False, " ".join(f"{type(error).__name__}: {error}".split())[:200]
        if not self.works:
            rank_zero_info(f"the encoder runs uncompiled: {reason} (--model.compile false skips the attempt)")


class _ImageEncoder(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.model.encode_image(images)  # type: ignore[operator]
        return features


class PlainAttention(nn.Module):
    """`nn.MultiheadAttention` over the same weights, written so that its products meet packed weights.

    The original hands its input projection a transposed view, of which the compiler makes a batched product.

    Args:
        attention: Batches first, one matrix for queries, keys and values.
    """

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = True, attn_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """As the original's; all [B, L, D]."""
        own = self.attention
        if need_weights or attn_mask is not None or query is not key or key is not value:
            result: tuple[Tensor, Tensor | None] = own(
                query, key, value, need_weights=need_weights, attn_mask=attn_mask
            )
            return result
        batch, length, width = query.shape
        projected = functional.linear(query, own.in_proj_weight, own.in_proj_bias)
        heads = projected.view(batch, length, 3, own.num_heads, width // own.num_heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*heads)
        return own.out_proj(mixed.transpose(1, 2).reshape(batch, length, width)), None


def _with_plain_attention(model: nn.Module) -> nn.Module:
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            fits = isinstance(child, nn.MultiheadAttention) and child.batch_first and child.in_proj_weight is not None
            if fits and child.bias_k is None and not child.add_zero_attn and not isinstance(parent, PlainAttention):
                setattr(parent, name, PlainAttention(child))
    return model


@contextmanager
def _frozen() -> Iterator[None]:
    """Make constants of the weights; as an option of `torch.compile` it reaches inductor only, and none gets packed."""
    import torch._inductor.config

    with torch._inductor.config.patch(freezing=True):
        yield


@contextmanager
def _onednn_products() -> Iterator[None]:
    """Let inductor pack weights for oneDNN: on AMD's processors that is up to a fifth faster than MKL, its choice.

    It does so where products in reduced precision are allowed; whether they are is asked again when a product runs.
    """
    products = getattr(torch.backends.mkldnn, "matmul", None)
    if products is None:  # before torch 2.9
        yield
        return
    before = products.fp32_precision
    products.fp32_precision = "tf32"
    try:
        yield
    finally:
        products.fp32_precision = before


@contextmanager
def _without_notes() -> Iterator[None]:
    """Keep inductor's note that there is no CUDA off the screen."""
    logger = logging.getLogger("torch.utils.cpp_extension")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
