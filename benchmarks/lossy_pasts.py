"""Pasts that are given to lossless images, by name, for the audit to be judged on."""

import io
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.lossless_images import Bytes

Past = Callable[[Bytes], Bytes]


def save(rgb: Bytes, **options: Any) -> Bytes:
    """An image as it comes back from a file."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, **options)
    return np.asarray(Image.open(buffer).convert("RGB"))


def jpeg(quality: int, subsampling: str = "4:2:0") -> Past:
    """A save."""
    return lambda rgb: save(rgb, format="JPEG", quality=quality, subsampling=subsampling)


def shifted(rgb: Bytes) -> Bytes:
    """Saved at quality 85 and cropped by three rows and five columns."""
    return np.ascontiguousarray(jpeg(85)(rgb)[3:, 5:])


def twice(rgb: Bytes) -> Bytes:
    """Saved at quality 60, then at 90."""
    return jpeg(90)(jpeg(60)(rgb))


def resized(quality: int, factor: float) -> Past:
    """Saved as JPEG, then resized."""

    def past(rgb: Bytes) -> Bytes:
        image = Image.fromarray(jpeg(quality)(rgb))
        size = (max(16, round(image.width * factor)), max(16, round(image.height * factor)))
        return np.asarray(image.resize(size, Image.Resampling.BICUBIC))

    return past


def _codec(name: str, quality: int) -> Past:
    return lambda rgb: save(rgb, format=name, quality=quality)


QUALITIES = (30, 50, 75, 85, 90, 95, 98)

PASTS: dict[str, tuple[Past, int | None]] = {
    **{
        f"jpeg-{quality}{'-444' if sampling == '4:4:4' else ''}": (jpeg(quality, sampling), quality)
        for sampling, quality in product(("4:2:0", "4:4:4"), QUALITIES)
    },
    "jpeg-85, cropped by 3, 5": (shifted, 85),
    "jpeg-60, then jpeg-90": (twice, 90),
    **{f"jpeg-75, resized by {factor}": (resized(75, factor), None) for factor in (0.25, 0.5, 0.7, 0.9, 1.5, 2.0)},
    **{f"jpeg-90, resized by {factor}": (resized(90, factor), None) for factor in (0.5, 0.7, 1.5)},
    "jpeg-95, resized by 0.7": (resized(95, 0.7), None),
    **{f"webp-{quality}": (_codec("WEBP", quality), None) for quality in (50, 90)},
    **{f"avif-{quality}": (_codec("AVIF", quality), None) for quality in (50, 85)},
}  # fmt: skip
"""What is done to an image, and the quality of the JPEG that is there afterwards, if one is."""
