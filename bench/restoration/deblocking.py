"""The classical front end: JPEG's blocks smoothed away by JPEG itself."""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from datamodules.errors import UserError
from datamodules.views import Images

_BLOCK = 8


@dataclass(frozen=True)
class Deblocking:
    """Re-application of JPEG: the mean of the image compressed again in each of the 64 places of its block grid.

    Nosratinia (2001), "Enhancement of JPEG-compressed images by re-application of JPEG", Journal of VLSI Signal
    Processing 27, 69-79. The method has to be told the tables that the image was compressed with; what was not
    compressed, or less, loses by it. Each compression is `Image.save(format="JPEG")` of Pillow with its 4:2:0, as
    that of the views is. It works on the host and takes 64 times what one JPEG does.

    Attributes:
        quality: JPEG's, from 1 to 100.
    """

    quality: int

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise UserError(
                f"`restoration` deblock-{self.quality} is out of range: choose a quality from 1 to 100",
                option="model.restoration",
            )

    def restore(self, images: Images) -> Images:
        """Deblocked images, rounded to bytes.

        Args:
            images: uint8 [B, 3, H, W], or B tensors uint8 [3, H_i, W_i].

        Returns:
            The same type, sizes and device.
        """
        if not isinstance(images, Tensor):
            return [self._deblocked(image) for image in images]
        return torch.stack([self._deblocked(image) for image in images]) if len(images) else images

    def _deblocked(self, image: Tensor) -> Tensor:
        pixels = image.permute(1, 2, 0).cpu().numpy()
        height, width, _ = pixels.shape
        total = np.zeros(pixels.shape, np.uint32)
        for down in range(_BLOCK):
            for right in range(_BLOCK):
                moved = np.pad(pixels, ((down, 0), (right, 0), (0, 0)), mode="edge")
                total += self._compressed(moved)[down : down + height, right : right + width]
        mean = (total + _BLOCK**2 // 2) // _BLOCK**2
        return torch.from_numpy(mean.astype(np.uint8)).permute(2, 0, 1).contiguous().to(image.device)

    def _compressed(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        with BytesIO() as file:
            Image.fromarray(pixels).save(file, format="JPEG", quality=self.quality)
            with Image.open(file) as image:
                return np.asarray(image)
