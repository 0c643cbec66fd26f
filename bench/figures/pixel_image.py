"""An image on a figure, at a place in inches: axes of its own would take fifty times as long to make and to draw."""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

_PHOTOGRAPH = 160  # pixels of the longer side from which single pixels need not be seen


def pixel_image(pixels: npt.NDArray[np.uint8], box: tuple[float, float, float, float]) -> Any:
    """An artist that has Pillow resize an image to the resolution at hand; its attributes are the arguments.

    Args:
        pixels: uint8 [3, H, W].
        box: Left, bottom, right and top on the figure, in inches.
    """
    return _artist_class()(pixels, box)


@cache
def _artist_class() -> Any:
    from matplotlib.artist import Artist

    class PixelImage(Artist):
        def __init__(self, pixels: npt.NDArray[np.uint8], box: tuple[float, float, float, float]) -> None:
            super().__init__()
            self.pixels, self.box = pixels, box

        def draw(self, renderer: Any) -> None:
            left, bottom, right, top = (round(side * renderer.dpi) for side in self.box)
            size = max(right - left, 1), max(top - bottom, 1)
            small = max(self.pixels.shape) < _PHOTOGRAPH
            resample = Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS
            image = Image.fromarray(np.ascontiguousarray(self.pixels.transpose(1, 2, 0))).resize(size, resample)
            context = renderer.new_gc()
            renderer.draw_image(context, left, bottom, np.asarray(image.convert("RGBA"))[::-1])
            context.restore()

    return PixelImage
