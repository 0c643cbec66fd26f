"""Reference degradations, which are no codecs: what to hold a codec's loss against."""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from PIL import Image

from datamodules.degradations.base import OneNumber
from datamodules.degradations.formats import Degraded
from datamodules.degradations.geometry import shrink


@dataclass(frozen=True)
class DownUp(OneNumber):
    """Detail lost, size kept: made smaller as `Resize` by a factor does, then bicubically brought back to size.

    Args:
        factor: of width and height in between, 0.01 to 0.99.
    """

    factor: float
    head = "downup"
    lowest, highest = 0.01, 0.99

    def __call__(self, image: Image.Image) -> Degraded:
        return Degraded(shrink(image, self.factor).resize(image.size, Image.Resampling.BICUBIC), None)


@dataclass(frozen=True)
class Blur(OneNumber):
    """Gaussian blur by scipy, as in CIFAR-10-C and ImageNet-C: up to four standard deviations, borders repeated.

    Pillow's own filter, three box blurs, is up to 40 of 255 levels off near a border.

    Args:
        sigma: standard deviation in pixels, 0.2 to 20.
    """

    sigma: float
    head = "blur"
    lowest, highest = 0.2, 20

    def __call__(self, image: Image.Image) -> Degraded:
        from scipy.ndimage import gaussian_filter

        pixels = np.asarray(image, dtype=np.float64)
        blurred = gaussian_filter(pixels, (self.sigma, self.sigma, 0), mode="nearest", truncate=4)
        return Degraded(Image.fromarray(blurred.round().astype(np.uint8)), None)


@dataclass(frozen=True)
class Noise(OneNumber):
    """White Gaussian noise, clipped to [0, 1] and rounded to 8 bits.

    The draw is seeded with a hash of the image, so that it is the same in each run and on each machine, and other for
    any other image; it does not depend on the deviation, so that two deviations compare strengths and not draws.

    Args:
        deviation: standard deviation where black is 0 and white is 1, 0.001 to 1.
    """

    deviation: float
    head = "noise"
    lowest, highest = 0.001, 1

    def __call__(self, image: Image.Image) -> Degraded:
        pixels = np.asarray(image)
        seed = np.frombuffer(blake2b(repr(image.size).encode() + pixels.tobytes(), digest_size=32).digest(), "<u4")
        draw = np.random.RandomState(seed).standard_normal(pixels.shape)  # its stream is frozen for good (NEP 19)
        noisy = (pixels / 255 + self.deviation * draw).clip(0, 1)
        return Degraded(Image.fromarray((255 * noisy).round().astype(np.uint8)), None)
