"""Images as Python holds them, as batches of bytes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from datamodules.decoding import to_rgb
from datamodules.errors import UserError
from datamodules.views import Images

AnyImage = Image.Image | npt.NDArray[np.uint8] | Tensor
"""A PIL image in any mode, an array uint8 [H, W, 3], or a tensor uint8 [3, H, W]."""

AnyImages = AnyImage | Sequence[AnyImage]
"""One image or several; a tensor uint8 [B, 3, H, W] is several."""


def to_images(images: AnyImages, device: torch.device | str = "cpu") -> Images:
    """Batch images of any kind and size.

    PIL images are turned upright and converted to RGB as `datamodules.decoding.to_rgb` does.

    Raises:
        UserError: One is of another kind, type or shape.

    >>> [image.shape for image in to_images([Image.new("L", (4, 2)), np.zeros((5, 3, 3), np.uint8)])]
    [torch.Size([3, 2, 4]), torch.Size([3, 5, 3])]
    """
    if isinstance(images, Tensor) and images.ndim == 4:
        return _checked(images, 1).to(device)
    several = images if isinstance(images, list | tuple) else [images]
    return [_to_tensor(image).to(device) for image in several]


def _to_tensor(image: Any) -> Tensor:
    if isinstance(image, Image.Image):
        image = np.asarray(to_rgb(image.copy()))
    if isinstance(image, np.ndarray):
        if image.ndim != 3:
            raise UserError(f"an image is an array of shape {list(image.shape)}: give uint8 [height, width, 3]")
        image = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    if not isinstance(image, Tensor) or image.ndim != 3:
        raise UserError(
            f"an image is a {type(image).__name__}: give a PIL image, an array uint8 [height, width, 3] or a tensor "
            "uint8 [3, height, width]"
        )
    return _checked(image, 0)


def _checked(image: Tensor, channels: int) -> Tensor:
    if image.dtype != torch.uint8 or image.shape[channels] != 3 or 0 in image.shape[channels:]:
        raise UserError(
            f"an image is {str(image.dtype).removeprefix('torch.')} with {image.shape[channels]} channels: give uint8 "
            "with three channels and at least one pixel"
        )
    return image
