"""The network that restores pixels."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor, nn

from bench.clip.float32 import full_float32
from datamodules.errors import UserError
from datamodules.views import Images

_PEAK = 255
_VALUES_AT_ONCE = 2**25  # of one layer, which bounds the memory of a batch of photographs


@dataclass(frozen=True)
class Shape:
    """How large the network is.

    Attributes:
        layers: Number of convolutions, from 2 to 32.
        channels: Between them, from 1 to 256.
    """

    layers: int = 6
    channels: int = 32

    def __post_init__(self) -> None:
        for name, value, least, most in [("layers", self.layers, 2, 32), ("channels", self.channels, 1, 256)]:
            if not least <= value <= most:
                raise UserError(
                    f"`{name}` {value} is out of range: choose from {least} to {most}", option=f"model.{name}"
                )


class Restoration(nn.Module):
    """A residual convolutional network on the pixels of images of any size.

    Convolutions of 3 x 3 with ReLU between them, whose output is added to the image: DnCNN (Zhang et al., 2017, arXiv
    1608.03981), without its batch normalisation, which would make an image's result depend on others while it learns.
    The last layer begins at 0, so that the untrained network gives back what it is given, bit for bit.

    Args:
        shape: Numbers of layers and of channels.

    >>> image = torch.arange(60, dtype=torch.uint8).view(1, 3, 4, 5)
    >>> torch.equal(Restoration(Shape()).restore(image), image)
    True
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        sides = [3, *[shape.channels] * (shape.layers - 1), 3]
        *hidden, last = (nn.Conv2d(here, there, 3, padding=1) for here, there in pairwise(sides))
        for layer in hidden:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        self.residual = nn.Sequential(*(part for layer in hidden for part in (layer, nn.ReLU())), last)

    def forward(self, pixels: Tensor) -> Tensor:
        """Restored pixels, differentiable and not clipped; float32 [B, 3, H, W] in units of [0, 1], in and out."""
        residual: Tensor = self.residual(pixels)
        return pixels + residual.float()

    @torch.no_grad()
    def restore(self, images: Images) -> Images:
        """Restored images, rounded to bytes as a file would hold them.

        Args:
            images: uint8 [B, 3, H, W], or B tensors uint8 [3, H_i, W_i].

        Returns:
            The same type, sizes and device. The arithmetic is float32 whatever the run's precision.
        """
        if not isinstance(images, Tensor):
            return [self._bytes(image[None])[0] for image in images]
        *_, height, width = images.shape
        at_once = max(1, _VALUES_AT_ONCE // (self.shape.channels * height * width))
        return torch.cat([self._bytes(piece) for piece in torch.split(images, at_once)]) if len(images) else images

    def _bytes(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False), full_float32():
            restored: Tensor = self(images / _PEAK) * _PEAK
            return restored.round_().clamp_(0, _PEAK).to(torch.uint8)

    @classmethod
    def with_weights(cls, shape: Shape, state: Mapping[str, Tensor]) -> Self:
        """A frozen network that has these weights, which are copied."""
        network = cls(shape)
        network.load_state_dict(dict(state))
        return network.eval().requires_grad_(False)


def stacks(images: Images) -> list[Tensor]:
    """Images as batches of one size, float32 [N, 3, H, W] in [0, 1], in their order."""
    return [images / _PEAK] if isinstance(images, Tensor) else [image[None] / _PEAK for image in images]
