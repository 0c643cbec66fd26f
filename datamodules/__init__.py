"""Image data sets whose samples carry all their degraded views."""

from datamodules.cifar10 import CIFAR10
from datamodules.image_folder import ImageFolder
from datamodules.stl10 import STL10
from datamodules.synthetic import Synthetic

__all__ = ["CIFAR10", "STL10", "ImageFolder", "Synthetic"]
