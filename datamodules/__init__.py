"""Image data sets whose samples carry all their degraded views; Lightning is imported with the first of them."""

from typing import TYPE_CHECKING

from datamodules.lazy import lazily

if TYPE_CHECKING:
    from datamodules.cifar10 import CIFAR10
    from datamodules.image_folder import ImageFolder
    from datamodules.stl10 import STL10
    from datamodules.synthetic import Synthetic
    from datamodules.view_folders import ViewFolders

_HOMES = {
    "CIFAR10": "datamodules.cifar10",
    "STL10": "datamodules.stl10",
    "ImageFolder": "datamodules.image_folder",
    "Synthetic": "datamodules.synthetic",
    "ViewFolders": "datamodules.view_folders",
}

__all__ = ["CIFAR10", "STL10", "ImageFolder", "Synthetic", "ViewFolders"]

__getattr__ = lazily(__name__, _HOMES)
