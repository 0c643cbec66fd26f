"""An adapter as a file: safetensors with its factors by the names of the tower's layers, and what it is as metadata."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.adapters.conditions import Conditions, features_of
from bench.adapters.layers import STRENGTHS, ConditionedAdapter, Layer, reached_layers
from bench.clip.companion_files import CompanionFile
from bench.clip.encoders import Encoder
from bench.clip.towers import image_tower
from bench.clip.weights import shortened
from bench.runs.provenance import Companion

MOST_RANK = 64
_FILE = CompanionFile("adapter", "adapter")
_TUNED_FROM = "tuned_from"
_MOST_CODECS = 16
_MOST_QUALITY = 10**6


@dataclass(frozen=True)
class NamedAdapter:
    """An adapter from a file.

    Attributes:
        said: What results say about it.
        adapter: Frozen.
    """

    said: Companion
    adapter: ConditionedAdapter


def metadata(rank: int, scale: float, conditions: Conditions, tuned_from: str) -> dict[str, str]:
    """What a file says about itself beside its numbers.

    Args:
        rank: Of the adapter.
        scale: Of the adapter.
        conditions: What it tells apart.
        tuned_from: SHA-256 of the weights that it is added to.
    """
    description = {"rank": rank, "scale": scale, "codecs": conditions.codecs}
    return {_FILE.name: json.dumps(description), _TUNED_FROM: tuned_from}


def read_adapter(path: Path, encoder: Encoder) -> NamedAdapter:
    """Read an adapter that a fit exported, without ever running code from the file.

    Args:
        path: The file.
        encoder: What it is to be added to.

    Raises:
        UserError: The file is missing, damaged, too large, holds anything but an adapter, or is of another encoder.
    """
    content = _FILE.read(path)
    rank, scale, conditions = _description(path, content.metadata)
    if content.metadata.get(_TUNED_FROM) != encoder.provenance()["weights_sha256"]:
        tuned_from = shortened(str(content.metadata.get(_TUNED_FROM)), 16)
        _FILE.refuse(path, f"is of the encoder with the hash {tuned_from} and not of {encoder.name}")
    reached = reached_layers(image_tower(encoder.model), encoder.image_size)
    named = {name.rpartition(".")[0] for name in content.tensors if name != STRENGTHS}
    for name in sorted(named.difference(reached)):
        _FILE.refuse(path, f"adds to {shortened(name)}, which is no layer of the encoder that can be added to")
    layers = {name: layer for name, layer in reached.items() if name in named}
    _FILE.check(path, content.tensors, _places(layers, rank, conditions))
    adapter = ConditionedAdapter.with_state(layers, scale, conditions, content.tensors)
    return NamedAdapter(Companion(_FILE.name, path.name, content.sha256), adapter)


def _description(path: Path, said: Mapping[str, str]) -> tuple[int, float, Conditions]:
    value = _FILE.description(path, said)
    if not isinstance(value, dict) or set(value) != {"rank", "scale", "codecs"}:
        _FILE.refuse_description(path, said)
    rank, scale, codecs = value["rank"], value["scale"], value["codecs"]
    if (
        not (type(rank) is int and 1 <= rank <= MOST_RANK)
        or not (type(scale) is float and isfinite(scale) and scale > 0)
        or not (isinstance(codecs, dict) and len(codecs) <= _MOST_CODECS)
        or not all(codec.count("{}") == 1 and _is_range(bounds) for codec, bounds in codecs.items())
    ):
        _FILE.refuse_description(path, said)
    return rank, scale, Conditions({codec: (lowest, highest) for codec, (lowest, highest) in codecs.items()})


def _is_range(bounds: Any) -> bool:
    whole = isinstance(bounds, list) and len(bounds) == 2 and all(type(bound) is int for bound in bounds)
    return whole and 0 <= bounds[0] <= bounds[1] <= _MOST_QUALITY


def _places(layers: Mapping[str, Layer], rank: int, conditions: Conditions) -> dict[str, Tensor]:
    shapes: dict[str, tuple[int, int]] = {STRENGTHS: (features_of(len(conditions.codecs)), rank)}
    for name, layer in layers.items():
        rows, columns = layer.weight.flatten(1).shape
        own = min(rank, rows, columns)
        shapes |= {f"{name}.down": (own, columns), f"{name}.up": (rows, own)}
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
