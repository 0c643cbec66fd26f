"""How much of a view's drop is still seen from images that have a lossy past: measured by degrading twice.

A second codec does not take everything that its error suggests: part of what it takes, the first one had taken or put
there. What it adds to the error against the untouched image goes with the loss of precision of one encoder, and is too
little for another (`python -m benchmarks.audit_bias`): without the encoder the share is known within a wide interval
only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from datamodules.degradations import ORIGINAL, degrade
from datamodules.errors import UserError

BELOW, ABOVE = 0.25, 0.4
"""How far measured shares of a drop lie below and above the predicted ones, in 19 of 20 of `benchmarks.audit_bias`."""


@dataclass(frozen=True)
class SeenShare:
    """How much of a drop is seen by someone who takes images with a past for originals: 1 is no bias, 0 hides it all.

    Attributes:
        share: Predicted; it can exceed 1, where two steps do each other harm.
        low: The lower end of where it is expected, at least 0.
        high: The upper end.
    """

    share: float
    low: float
    high: float


def added_share(images: Sequence[Image.Image], past: str, view: str) -> float:
    """Squared error that a view adds to that of a past, over what the view costs images without one.

    All errors are against the untouched images.

    Args:
        images: Lossless, or at least without the past in question.
        past: What the supposed originals went through, such as "jpeg-75".
        view: What is measured on them.
    """
    added = direct = 0.0
    for image in images:
        source = degrade(image, past).image
        added += _squared_error(image, degrade(source, view).image) - _squared_error(image, source)
        direct += _squared_error(image, degrade(image, view).image)
    return added / direct if direct else float("nan")


def seen_shares(
    images: Sequence[Image.Image], pasts: Mapping[str, int], views: Sequence[str], untouched: int
) -> dict[str, SeenShare]:
    """What is seen of each view's drop from a set of mixed past, by view.

    Args:
        images: As for `added_share`.
        pasts: Number of images by what they went through.
        views: Names; the original, and views of another size than their source, are left out.
        untouched: Number of images without a past.
    """
    total = sum(pasts.values()) + untouched
    shares = {}
    for view in views:
        if view != ORIGINAL and total:
            try:
                added = sum(count * added_share(images, past, view) for past, count in pasts.items())
            except (UserError, ValueError):
                continue
            share, lossy = (untouched + added) / total, sum(pasts.values()) / total
            shares[view] = SeenShare(share, max(0.0, share - lossy * BELOW), share + lossy * ABOVE)
    return shares


def halved(image: Image.Image) -> Image.Image:
    """An image at half its size, which hardly has a past any more: for sets of which no image is without one."""
    return image.resize((max(16, image.width // 2), max(16, image.height // 2)), Image.Resampling.BOX)


def _squared_error(first: Image.Image, second: Image.Image) -> float:
    return float(((np.asarray(first, np.float64) - np.asarray(second, np.float64)) ** 2).mean())
