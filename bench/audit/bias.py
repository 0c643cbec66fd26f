"""How much of a view's distortion is still seen from images that have a lossy past: measured by degrading twice."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from datamodules.degradations import ORIGINAL, degrade
from datamodules.errors import UserError


def seen_share(images: Sequence[Image.Image], past: str, view: str) -> float:
    """Mean square error of a view of degraded images, over that of the same view of the images themselves.

    A drop that is proportional to the squared error is seen at this share of its size by someone who takes degraded
    images for originals: 1 is no bias, 0 hides the drop. It can exceed 1.

    Args:
        images: Lossless, or at least without the past in question.
        past: What the supposed originals went through, such as "jpeg-75".
        view: What is measured on them.
    """
    seen = true = 0.0
    for image in images:
        source = degrade(image, past).image
        seen += _squared_error(source, degrade(source, view).image)
        true += _squared_error(image, degrade(image, view).image)
    return seen / true if true else float("nan")


def seen_shares(
    images: Sequence[Image.Image], pasts: Mapping[str, int], views: Sequence[str], untouched: int
) -> dict[str, float]:
    """The share of each view's distortion that is seen from a set of mixed past, by view.

    Args:
        images: As for `seen_share`.
        pasts: Number of images by what they went through.
        views: Names; the original, and views of another size than their source, are left out.
        untouched: Number of images without a past.
    """
    total = sum(pasts.values()) + untouched
    shares = {}
    for view in views:
        if view != ORIGINAL and total:
            try:
                seen = sum(count * seen_share(images, past, view) for past, count in pasts.items())
            except (UserError, ValueError):
                continue
            shares[view] = (untouched + seen) / total
    return shares


def halved(image: Image.Image) -> Image.Image:
    """An image at half its size, which hardly has a past any more: for sets of which no image is without one."""
    return image.resize((max(16, image.width // 2), max(16, image.height // 2)), Image.Resampling.BOX)


def _squared_error(one: Image.Image, other: Image.Image) -> float:
    first, second = (np.asarray(image, np.float64) for image in (one, other))
    return float(((first - second) ** 2).mean())
