"""What of an original can be put back into its degraded image: 8 x 8 blocks, pixels, or frequencies of Y, Cb and Cr."""

from abc import ABC, abstractmethod
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from bench.attribution.block_dct import block_dct, inverse_block_dct
from bench.attribution.coefficients import BLOCK
from bench.attribution.jpeg_planes import from_ycbcr, gradient_in_ycbcr, to_ycbcr


class Units(ABC):
    """The parts of which images of one size consist, and in which they are repaired.

    A unit has coordinates, in which a difference of two images and a gradient have the same inner product as in pixels:
    so the parts that units have in an attribution sum to that of the pixels.

    Args:
        original: uint8 [B, 3, H, W].
        degraded: uint8 of the same shape.

    Attributes:
        count: U, how many units an image has.
    """

    count: int

    def __init__(self, original: Tensor, degraded: Tensor) -> None:
        self.original, self.degraded = original, degraded

    @abstractmethod
    def restore(self, rows: Tensor, restored: Tensor) -> Tensor:
        """Degraded images in which some units are those of the original.

        Args:
            rows: int64 [N], which image.
            restored: bool [N, U], which of its units.

        Returns:
            uint8 [N, 3, H, W]: the degraded image where no unit is restored, the original where all are.
        """

    @abstractmethod
    def of_difference(self, difference: Tensor) -> Tensor:
        """A difference of images, float [B, 3, H, W], in the coordinates of the units: float [B, U, K]."""

    @abstractmethod
    def of_gradient(self, gradient: Tensor) -> Tensor:
        """A gradient with respect to images, float [B, 3, H, W], in the coordinates of the units: float [B, U, K]."""


class Blocks(Units):
    """The 8 x 8 blocks of pixels of all three colours, in rows; those at the right and lower edge may be smaller."""

    def __init__(self, original: Tensor, degraded: Tensor) -> None:
        super().__init__(original, degraded)
        height, width = original.shape[-2:]
        self._down, self._across = -(-height // BLOCK), -(-width // BLOCK)
        self.count = self._down * self._across

    def restore(self, rows: Tensor, restored: Tensor) -> Tensor:
        height, width = self.original.shape[-2:]
        mask = restored.view(-1, 1, self._down, self._across)
        mask = mask.repeat_interleave(BLOCK, 2).repeat_interleave(BLOCK, 3)[..., :height, :width]
        return torch.where(mask, self.original[rows], self.degraded[rows])

    def of_difference(self, difference: Tensor) -> Tensor:
        height, width = difference.shape[-2:]
        filled = functional.pad(difference, (0, -width % BLOCK, 0, -height % BLOCK))
        return functional.unfold(filled, BLOCK, stride=BLOCK).mT

    def of_gradient(self, gradient: Tensor) -> Tensor:
        return self.of_difference(gradient)


class Pixels(Units):
    """Single pixels of all three colours, in rows."""

    def __init__(self, original: Tensor, degraded: Tensor) -> None:
        super().__init__(original, degraded)
        self.count = original.shape[-2] * original.shape[-1]

    def restore(self, rows: Tensor, restored: Tensor) -> Tensor:
        mask = restored.view(-1, 1, *self.original.shape[-2:])
        return torch.where(mask, self.original[rows], self.degraded[rows])

    def of_difference(self, difference: Tensor) -> Tensor:
        return difference.flatten(2).mT

    def of_gradient(self, gradient: Tensor) -> Tensor:
        return self.of_difference(gradient)


class Frequencies(Units):
    """The 64 frequencies of the 8 x 8 DCT in each of Y, Cb and Cr, all three at full resolution: 192 units.

    A unit is one coefficient in all blocks of the image. Whatever the codec did, so nothing is lost but the rounding to
    bytes: chroma that JPEG stored at half the resolution is put back with frequencies of its full one.
    """

    count = 3 * BLOCK * BLOCK

    @cached_property
    def _lost(self) -> Tensor:
        """What the degraded images lack, float32 [B, 3, down, across, 8, 8]."""
        return self._coefficients(self.original.float() - self.degraded.float())

    def restore(self, rows: Tensor, restored: Tensor) -> Tensor:
        height, width = self.original.shape[-2:]
        kept = self._lost[rows] * restored.view(-1, 3, 1, 1, BLOCK, BLOCK)
        repaired = self.degraded[rows] + from_ycbcr(inverse_block_dct(kept, height, width))
        return repaired.round().clamp(0, 255).to(torch.uint8)

    def of_difference(self, difference: Tensor) -> Tensor:
        return self._by_frequency(self._coefficients(difference))

    def of_gradient(self, gradient: Tensor) -> Tensor:
        return self._by_frequency(block_dct(gradient_in_ycbcr(gradient), "zero"))

    def _coefficients(self, difference: Tensor) -> Tensor:
        return block_dct(to_ycbcr(difference), "edge")

    def _by_frequency(self, coefficients: Tensor) -> Tensor:
        """[B, 3, down, across, 8, 8] -> [B, 192, down * across]."""
        return coefficients.flatten(2, 3).flatten(3).mT.flatten(1, 2)
