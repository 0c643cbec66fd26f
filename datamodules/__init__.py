"""Image data sets whose samples carry all their degraded views; Lightning is imported with the first of them."""

from typing import TYPE_CHECKING

from datamodules.lazy import lazily

if TYPE_CHECKING:
    from datamodules.cifar10 import CIFAR10, CIFAR100
    from datamodules.image_folder import ImageFolder
    from datamodules.imagenet import ImageNet
    from datamodules.stl10 import STL10
    from datamodules.synthetic import Synthetic
    from datamodules.tar_shards import TarShards
    from datamodules.torchvision_data import Torchvision
    from datamodules.view_folders import ViewFolders

_HOMES = {
    "CIFAR10": "datamodules.cifar10",
    "CIFAR100": "datamodules.cifar10",
    "STL10": "datamodules.stl10",
    "ImageFolder": "datamodules.image_folder",
    "ImageNet": "datamodules.imagenet",
    "Synthetic": "datamodules.synthetic",
    "TarShards": "datamodules.tar_shards",
    "Torchvision": "datamodules.torchvision_data",
    "ViewFolders": "datamodules.view_folders",
}

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "STL10",
    "ImageFolder",
    "ImageNet",
    "Synthetic",
    "TarShards",
    "Torchvision",
    "ViewFolders",
]

__getattr__ = lazily(__name__, _HOMES)
