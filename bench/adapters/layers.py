"""The addition to an image tower itself: a low-rank path beside each layer, with strengths of its own per image."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.adapters.conditions import Conditions, features_of
from bench.adapters.low_rank import LowRank

STRENGTHS = "strengths"
"""The table's name in the state of an adapter."""

Layer = nn.Conv2d | nn.Linear
_PROBES = 3  # images; no layout of tokens has so many in another dimension that comes first


class ConditionedAdapter(nn.Module):
    """Low-rank additions whose directions are as strong as an image's condition asks: W + scale / rank * B diag(g) A.

    g = features @ strengths, of `bench.adapters.conditions`: one small table for all layers. Since it has no offset, an
    original, which has no features, is embedded as if there were no adapter. B begins at 0, so that the untrained
    adapter adds nothing; strengths begin at random about 1, so that directions can come to differ. A batch may mix
    conditions: the addition is computed beside the layer, of its input, and not merged into its weight.

    Args:
        layers: What is added to, by its name in the tower: see `reached_layers`.
        rank: At least 1; a smaller matrix gets its own full rank, with the first of the strengths.
        scale: Above 0.
        conditions: What is told apart.

    Attributes:
        conditions: May be exchanged for others of as many codecs.
    """

    def __init__(self, layers: Mapping[str, Layer], rank: int, scale: float, conditions: Conditions) -> None:
        super().__init__()
        self._names, self.conditions = tuple(layers), conditions
        self._updates = nn.ModuleList(LowRank(layer.weight, rank, scale) for layer in layers.values())
        self.strengths = nn.Parameter(torch.empty(features_of(len(conditions.codecs)), rank))
        nn.init.normal_(self.strengths, 1.0, 0.5)

    @property
    def updates(self) -> dict[str, LowRank]:
        """The factors by the layer's name, with dots as no key of a ModuleDict may have them."""
        return dict(zip(self._names, cast(Sequence[LowRank], self._updates), strict=True))

    @contextmanager
    def attached(self, tower: nn.Module, views: Sequence[str | None]) -> Iterator[None]:
        """Within it, the tower embeds a batch of images of these views, B names; None is an unknown one."""
        features = self.conditions.features(views)
        if not features.any():  # originals alone
            yield
            return
        strengths = features.to(self.strengths.device) @ self.strengths
        hooks = [
            tower.get_submodule(name).register_forward_hook(partial(_added, update, strengths))
            for name, update in self.updates.items()
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def named_state(self) -> dict[str, Tensor]:
        """A copy of what was learnt, in host memory, with the names of the tower's layers."""
        factors = {
            f"{name}.{part}": tensor
            for name, update in self.updates.items()
            for part, tensor in update.state_dict().items()
        }
        return {name: tensor.detach().cpu().clone() for name, tensor in {**factors, STRENGTHS: self.strengths}.items()}

    @classmethod
    def with_state(
        cls, layers: Mapping[str, Layer], scale: float, conditions: Conditions, state: Mapping[str, Tensor]
    ) -> Self:
        """A frozen adapter of what `named_state` gave, which is copied."""
        adapter = cls(layers, state[STRENGTHS].shape[1], scale, conditions)
        with torch.no_grad():
            adapter.strengths.copy_(state[STRENGTHS])
            for name, update in adapter.updates.items():
                for part, parameter in update.named_parameters():
                    parameter.copy_(state[f"{name}.{part}"])
        return adapter.eval().requires_grad_(False)


def reached_layers(tower: nn.Module, image_size: int) -> dict[str, Layer]:
    """The layers of an image tower that something can be added to image by image, by name; found by a forward pass.

    Convolutions without groups and linear layers that are called, with images as the first dimension of what goes in
    and comes out. Attention hands its weights to a function in both of CLIP's towers, so that none of its own are here.

    Args:
        tower: On any device.
        image_size: Side of its input in pixels.
    """
    called: dict[str, Layer] = {}

    def see(name: str, layer: Layer, given: tuple[Any, ...], output: Tensor) -> None:
        if len(given[0]) == len(output) == _PROBES:
            called[name] = layer

    known = {name: module for name, module in tower.named_modules() if _is_plain(module)}
    watches = [module.register_forward_hook(partial(see, name)) for name, module in known.items()]
    try:
        with torch.no_grad():
            tower(torch.zeros(_PROBES, 3, image_size, image_size, device=next(tower.parameters()).device))
    finally:
        for watch in watches:
            watch.remove()
    return {name: called[name] for name in known if name in called}


def _is_plain(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d):
        return module.groups == 1 and module.padding_mode == "zeros"
    return isinstance(module, nn.Linear)


def _added(update: LowRank, strengths: Tensor, layer: Layer, given: tuple[Tensor], output: Tensor) -> Tensor:
    """A layer's output with the addition: a forward hook."""
    (inputs,) = given
    down, up = update.down, update.up
    strengths = strengths[:, : len(down)]
    if isinstance(layer, nn.Conv2d):
        kernel = down.view(len(down), *layer.weight.shape[1:])
        inner = functional.conv2d(inputs, kernel, None, layer.stride, layer.padding, layer.dilation)
        inner = inner * strengths.to(inner.dtype)[:, :, None, None]
        return output + update.factor * functional.conv2d(inner, up[:, :, None, None])
    inner = functional.linear(inputs, down)
    inner = inner * strengths.to(inner.dtype).view(len(inner), *[1] * (inner.ndim - 2), -1)
    return output + update.factor * functional.linear(inner, up)
