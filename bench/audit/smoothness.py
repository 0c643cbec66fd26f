"""Whether the finest detail is missing, as after an image was enlarged: then a JPEG grid of before is gone."""

import numpy as np
import numpy.typing as npt

_TOP = 0.42  # cycles per pixel
_MIDDLE = (0.08, 0.25)
_ROUNDING = 1 / 12  # variance of rounded luma
_LEAST_TOP = 0.011  # of the middle's power
_DETAIL = 20.0  # of the rounding's power


def top_band(pixels: npt.NDArray[np.float32], groups: int = 1) -> npt.NDArray[np.bool_]:
    """Whether luma has detail at middle frequencies and next to nothing at the highest, bool [N].

    The spectrum of an image that was enlarged by half or more ends below half a cycle per pixel (compare Gallagher
    2005, *Detection of linear and cubic interpolation in JPEG compressed images*). It does, too, where an image
    was blurred or its lens was soft. Smaller factors, and images that were made smaller, do not show.

    Args:
        pixels: Luma, whole numbers, float32 [N * groups, H, W].
        groups: Consecutive tiles that are parts of one image.
    """
    found = np.ones((2, len(pixels) // groups), bool)
    for axis in (1, 2):
        length = pixels.shape[axis]
        window = np.hanning(length + 2)[1:-1].astype(np.float32)
        shape = (1, length, 1) if axis == 1 else (1, 1, length)
        lines = (pixels - pixels.mean(axis, keepdims=True)) * (window / np.sqrt((window**2).sum())).reshape(shape)
        power = np.abs(np.fft.rfft(lines, axis=axis)) ** 2
        means = power.mean(2 if axis == 1 else 1).reshape(-1, groups, power.shape[axis]).mean(1)
        frequency = np.fft.rfftfreq(length)
        top = means[:, frequency >= _TOP].mean(1) / _ROUNDING
        middle = means[:, (frequency >= _MIDDLE[0]) & (frequency <= _MIDDLE[1])].mean(1) / _ROUNDING
        found[axis - 1] = (top - 1 < _LEAST_TOP * middle) & (middle > _DETAIL)
    return np.asarray(found.all(0))
