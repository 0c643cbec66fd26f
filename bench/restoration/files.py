"""A front end as a file: safetensors with the shape of the network, and what it was trained with, as metadata."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from bench.clip.weights import one_line, shortened
from bench.restoration.network import Restoration, Shape
from datamodules.errors import UserError
from datamodules.files import open_regular

SHAPE_KEY = "restoration"  # in the metadata, as JSON
_MOST_BYTES = 2**28  # the largest network that `Shape` allows takes a quarter of it
_MOST_CHARACTERS = 1000
_LENGTH_BYTES = 8  # of the head's length, at the beginning of a safetensors file


def metadata(shape: Shape, trained_with: Mapping[str, Any]) -> dict[str, str]:
    """What a file says about itself beside its weights.

    Args:
        shape: Of the network.
        trained_with: JSON-able, for readers alone.
    """
    return {SHAPE_KEY: json.dumps(vars(shape)), "trained_with": json.dumps(trained_with)}


def read_restoration(path: Path) -> tuple[Restoration, str]:
    """Read a front end that a fit exported, without ever running code from the file.

    Returns:
        The network, frozen, and the SHA-256 of the file.

    Raises:
        UserError: The file is missing, damaged, too large, or holds anything but such a network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    with open_regular(path, "restoration file") as file:
        if (size := os.fstat(file.fileno()).st_size) > _MOST_BYTES:
            _refuse(path, f"has {size:,} bytes, more than any restoration needs")
        content = file.read()
    try:
        tensors = load(content)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        _refuse(path, f"is no safetensors file ({one_line(error)})")
    shape = _shape(path, _metadata(content).get(SHAPE_KEY))
    with torch.device("meta"):
        wanted = Restoration(shape).state_dict()
    _check(path, tensors, wanted)
    return Restoration.with_weights(shape, tensors), hashlib.sha256(content).hexdigest()


def _metadata(content: bytes) -> dict[str, str]:
    """What a safetensors file that has been read says beside its tensors, in the JSON at its head."""
    length = int.from_bytes(content[:_LENGTH_BYTES], "little")
    said: dict[str, str] = json.loads(content[_LENGTH_BYTES : _LENGTH_BYTES + length]).get("__metadata__") or {}
    return said


def _shape(path: Path, declared: str | None) -> Shape:
    if declared is None:
        _refuse(path, "does not say what its network looks like, so it is none")
    try:
        numbers = json.loads(declared) if len(declared) <= _MOST_CHARACTERS else None
    except (ValueError, RecursionError):
        numbers = None
    names = set(vars(Shape()))
    if (
        not isinstance(numbers, dict)
        or set(numbers) != names
        or any(type(number) is not int for number in numbers.values())
    ):
        _refuse(path, f"declares the network '{shortened(declared)}', which is none")
    try:
        return Shape(**numbers)
    except UserError as error:
        _refuse(path, f"declares a network whose {str(error).partition(':')[0].replace('`', '')}")


def _check(path: Path, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    for name, place in wanted.items():
        tensor = tensors.get(name)
        if tensor is None:
            _refuse(path, f"lacks {name} {list(place.shape)}")
        if tensor.shape != place.shape or tensor.dtype != torch.float32:
            kind = str(tensor.dtype).removeprefix("torch.")
            _refuse(path, f"has {name} as {kind} {list(tensor.shape)} and not float32 {list(place.shape)}")
        if not bool(tensor.isfinite().all()):
            _refuse(path, f"holds values that are not finite, first in {name}")
    for name in tensors:
        if name not in wanted:
            _refuse(path, f"has {shortened(name)}, which its network lacks")


def _refuse(path: Path, what: str) -> NoReturn:
    raise UserError(
        f"restoration file {path} {what}: give the .safetensors file that a fit of bench.RestorationTuning exported",
        option="model.restoration",
    )
