"""A front end as a file: safetensors with the shape of the network, and what it was trained with, as metadata."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bench.clip.companion_files import CompanionFile
from bench.restoration.network import Restoration, Shape
from datamodules.errors import UserError

_FILE = CompanionFile("restoration", "network")


def metadata(shape: Shape, trained_with: Mapping[str, Any]) -> dict[str, str]:
    """What a file says about itself beside its weights.

    Args:
        shape: Of the network.
        trained_with: JSON-able, for readers alone.
    """
    return {_FILE.name: json.dumps(vars(shape)), "trained_with": json.dumps(trained_with)}


def read_restoration(path: Path) -> tuple[Restoration, str]:
    """Read a front end that a fit exported, without ever running code from the file.

    Returns:
        The network, frozen, and the SHA-256 of the file.

    Raises:
        UserError: The file is missing, damaged, too large, or holds anything but such a network.
    """
    content = _FILE.read(path)
    shape = _shape(path, content.metadata)
    with torch.device("meta"):
        wanted = Restoration(shape).state_dict()
    _FILE.check(path, content.tensors, wanted)
    return Restoration.with_weights(shape, content.tensors), content.sha256


def _shape(path: Path, said: Mapping[str, str]) -> Shape:
    numbers = _FILE.description(path, said)
    if (
        not isinstance(numbers, dict)
        or set(numbers) != set(vars(Shape()))
        or any(type(number) is not int for number in numbers.values())
    ):
        _FILE.refuse_description(path, said)
    try:
        return Shape(**numbers)
    except UserError as error:
        _FILE.refuse(path, f"declares a network whose {str(error).partition(':')[0].replace('`', '')}")
