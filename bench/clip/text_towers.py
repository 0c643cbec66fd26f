"""Text towers: which of a prompt's tokens its embedding depends on, and the embedding of those alone."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

_POOLED_BY_TOKEN = ("argmax", "eos")


def pooled_positions(model: nn.Module, tokens: Tensor) -> Tensor | None:
    """Where each prompt's embedding is taken, where nothing behind that token can matter.

    That is so in open_clip's own causal transformer, which pools the features of the end token. None for every tower of
    which it is not known: those that look both ways (SigLIP), append a token (CoCa), pool the first or the last
    position (CLIPA), and those of other libraries.

    Args:
        model: open_clip's.
        tokens: int64 [N, context_length].

    Returns:
        int64 [N], positions from 0; or None.
    """
    tower = _causal_tower(model, tokens.shape[1])
    if tower is None:
        return None
    pools_largest = _pool_type(tower) == "argmax"
    return (tokens if pools_largest else (tokens == _end(tower)).int()).argmax(1)


def embed_tokens(model: nn.Module, tokens: Tensor, length: int | None = None) -> Tensor:
    """Unit embeddings of prompts, float [N, D], by open_clip's own code.

    Args:
        model: open_clip's.
        tokens: int64 [N, context_length] on the model's device.
        length: How many of their tokens the tower is given, at least one more than the last of `pooled_positions`; None
            gives it all.
    """
    if length is None or length == tokens.shape[1]:
        whole: Tensor = model.encode_text(tokens, normalize=True)  # type: ignore[operator]
        return whole
    tower: Any = _causal_tower(model, tokens.shape[1])
    shortened = {
        "positional_embedding": tower.positional_embedding[:length],
        "attn_mask": tower.attn_mask[:length, :length],
    }
    if tower is model:  # open_clip's CLIP has no tower of its own for texts
        said = functional_call(tower, shortened, kwargs={"text": tokens[:, :length]})
        embedded: Tensor = said["text_features"] if isinstance(said, dict) else said[1]
        return embedded
    said = functional_call(tower, shortened, (tokens[:, :length],))
    return functional.normalize(said[0] if isinstance(said, tuple) else said, dim=-1)


def _causal_tower(model: nn.Module, context_length: int) -> nn.Module | None:
    """The module that holds the parts of a text tower which is sure to be causal and to pool one token's features."""
    from open_clip.model import CLIP, CustomTextCLIP
    from open_clip.transformer import ResidualAttentionBlock, TextTransformer, Transformer

    tower: Any = model if type(model) is CLIP else getattr(model, "text", None)
    if tower is not model and not (type(model) is CustomTextCLIP and type(tower) is TextTransformer):
        return None
    mask, blocks = tower.attn_mask, tower.transformer
    sure = (
        type(blocks) is Transformer
        and all(type(block) is ResidualAttentionBlock for block in blocks.resblocks)
        and _pool_type(tower) in _POOLED_BY_TOKEN
        and getattr(tower, "cls_emb", None) is None
        and not getattr(tower, "use_pad_mask", False)
        and len(tower.positional_embedding) == context_length
        and isinstance(mask, Tensor)
        and mask.shape == (context_length, context_length)
        and bool(torch.equal(mask.cpu(), torch.full(mask.shape, float("-inf")).triu(1)))
    )
    return tower if sure else None


def _pool_type(tower: Any) -> Any:
    return tower.text_pool_type if hasattr(tower, "text_pool_type") else tower.pool_type


def _end(tower: Any) -> Any:
    return tower.text_eos_id if hasattr(tower, "text_eos_id") else tower.eos_id
