"""From Pillow's images to planes of bytes, and back."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

Pixels = npt.NDArray[np.uint8]

_SMALL = 2**14
"""Pixels up to which taking an image apart into planes costs less in NumPy than in Pillow."""


def planes(image: Image.Image) -> Pixels:
    """uint8 [3, H, W] of an RGB image, read-only.

    The faster of two ways, which Pillow's calls and NumPy's strides decide.

    >>> planes(Image.new("RGB", (2, 1), (1, 2, 3))).tolist()
    [[[1, 1]], [[2, 2]], [[3, 3]]]
    """
    if image.width * image.height <= _SMALL:
        return np.frombuffer(image.tobytes(), np.uint8).reshape(image.height, image.width, 3).transpose(2, 0, 1)
    bands = b"".join([image.tobytes("raw", band) for band in "RGB"])
    return np.frombuffer(bands, np.uint8).reshape(3, image.height, image.width)


def picture(pixels: Pixels) -> Image.Image:
    """The RGB image of uint8 [3, H, W]."""
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def to_tensor(pixels: Pixels) -> Tensor:
    """uint8 [3, H, W], contiguous, a copy."""
    return torch.from_numpy(pixels.copy())


def stack(images: Sequence[Pixels]) -> Tensor | list[Tensor]:
    """uint8 [B, 3, H, W] of images of one size, a tensor for each of several sizes."""
    if not images:
        return torch.empty(0, 3, 1, 1, dtype=torch.uint8)
    if len({image.shape for image in images}) > 1:
        return [to_tensor(image) for image in images]
    together = np.empty((len(images), *images[0].shape), np.uint8)  # NumPy asks for huge pages, torch does not
    return torch.from_numpy(np.stack(images, out=together))


def stacked(images: list[Tensor]) -> Tensor | list[Tensor]:
    """Tensors uint8 [3, H, W] in one, where they are of one size."""
    return torch.stack(images) if len({image.shape for image in images}) == 1 else images
