"""Real photographs of any size: cuts of those that scikit-image brings (extra `dev`)."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

_NAMES = ("astronaut", "chelsea", "coffee", "hubble_deep_field", "retina", "rocket", "stereo_motorcycle")
_LEAST_CUT = 0.6  # of the largest cut of the wanted shape
_NOISE = 3  # levels, of a small sensor: enlarged photographs have no detail of their own


def photographs(count: int, width: int, height: int, seed: int = 0) -> Iterator[Image.Image]:
    """Cuts at random places, mirrored at random, brought to one size; where that enlarges them, noise is added.

    Args:
        count: How many.
        width: In pixels.
        height: In pixels.
        seed: Of places and noise.
    """
    from skimage import data

    rng = np.random.default_rng(seed)
    for number in range(count):
        found = getattr(data, _NAMES[number % len(_NAMES)])()
        whole = Image.fromarray(found[0] if isinstance(found, tuple) else found)  # a stereo pair brings its depth
        scale = min(whole.width / width, whole.height / height) * rng.uniform(_LEAST_CUT, 1)
        left, top = rng.uniform(0, whole.width - scale * width), rng.uniform(0, whole.height - scale * height)
        box = (left, top, left + scale * width, top + scale * height)
        image = whole.resize((width, height), Image.Resampling.BICUBIC, box=box)
        if rng.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if scale < 1:
            noise = rng.integers(-_NOISE, _NOISE + 1, (height, width, 3), dtype=np.int16)
            image = Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))
        yield image
