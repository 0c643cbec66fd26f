"""From whatever an image file holds to upright RGB, which degradations take."""

from contextlib import suppress

import numpy as np
from PIL import ExifTags, Image, ImageFile

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def to_rgb(image: Image.Image) -> Image.Image:
    """Upright 8-bit RGB at native size; of several frames the first.

    For RGB and grayscale images without an EXIF turn these are the pixels that open_clip's own preprocessing starts
    from. It resizes images of other modes before it converts them, and leaves turned ones as they lie in the file:
    here a degradation comes first, and codecs take upright RGB.

    EXIF orientation is applied. Grayscale, palette, CMYK and alpha images are converted as Pillow does (alpha is
    dropped); 16-bit grayscale is scaled to 8 bits, where Pillow would clip. Nothing but the pixels is kept:
    Pillow would write a source's comment into each JPEG made of it.

    Args:
        image: An opened image; it is used up.

    Raises:
        ValueError: There are no pixels, or their mode has no defined range (32-bit float, integers beyond 16 bits).
    """
    image.load()
    if 0 in image.size:
        raise ValueError("the image has no pixels")
    if image.mode == "RGB" and not image.info and not isinstance(image, ImageFile.ImageFile):
        return image  # pixels in memory: no metadata to read, and none to leave behind
    turn = None
    with suppress(Exception):  # a broken EXIF block raises anything, and says nothing about the pixels
        turn = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    if turn is not None:
        image = image.transpose(turn)
    image.info = {}
    if image.mode == "F":
        raise ValueError("a 32-bit float image has no defined range")
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.size and not 0 <= values.min() <= values.max() <= 65535:
            raise ValueError("an integer image beyond 16 bits has no defined range")
        image = Image.fromarray((values / 257).round().astype(np.uint8))
    return image.convert("RGB")
