"""Image data sets whose samples carry all their degraded views; Lightning is imported with the first of them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datamodules.cifar10 import CIFAR10
    from datamodules.image_folder import ImageFolder
    from datamodules.stl10 import STL10
    from datamodules.synthetic import Synthetic

_HOMES = {
    "CIFAR10": "datamodules.cifar10",
    "STL10": "datamodules.stl10",
    "ImageFolder": "datamodules.image_folder",
    "Synthetic": "datamodules.synthetic",
}

__all__ = ["CIFAR10", "STL10", "ImageFolder", "Synthetic"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
