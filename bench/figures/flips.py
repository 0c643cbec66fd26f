"""Images whose prediction changed: originals above the views that changed it, the strongest effects first."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.figures.lettering import plain
from bench.figures.style import finish, mark, mark_colour, new_figure, nothing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Pixels = npt.NDArray[np.uint8]

_WIDTH_INCHES, _TILE_INCHES = 3.45, 1.66
_HEAD_INCHES, _TITLE_INCHES = 0.65, 0.42
_PAIR_INCHES, _CROP_INCHES = _TITLE_INCHES + _TILE_INCHES + 0.25, _TILE_INCHES + 0.1
_NAME_CHARACTERS, _TITLE_CHARACTERS = 34, 22
_PHOTOGRAPH = 160  # pixels of the longer side from which compression is not seen in the whole
_CROP_SHARE = 4  # of the shorter side


@dataclass(frozen=True)
class Flip:
    """One image whose predicted class changed.

    Attributes:
        index: Position in the source.
        original: uint8 [3, H, W].
        degraded: uint8 [3, H', W'].
        label: True class, None where there is none.
        before: Predicted class of the original.
        after: Predicted class of the degraded view.
        confidences: Probabilities of these two predictions.
    """

    index: int
    original: Pixels
    degraded: Pixels
    label: str | None
    before: str
    after: str
    confidences: tuple[float, float]


def flip_gallery(flips: Sequence[Flip], view: str, statement: str = "") -> "Figure":
    """Pairs of original and degraded image with their predictions; of photographs, what changed most, enlarged, below.

    Legible 230 pixels wide. Right and wrong predictions have a mark and a colour.

    Args:
        flips: In the order they are shown.
        view: Its name.
        statement: How many there are, and how these were chosen.
    """
    name = plain(view)
    if not flips:
        return nothing(f"{name}: no prediction changed")
    crops = [_crops(flip) for flip in flips]
    rows = [height for crop in crops for height in (_PAIR_INCHES, *([_CROP_INCHES] if crop else []))]
    height = _HEAD_INCHES + sum(rows)
    figure = new_figure(_WIDTH_INCHES, height)
    figure.set_layout_engine("none")  # long names would make the images small
    figure.set_dpi(200)
    title = "\n".join(part for part in (f"original | {name}", statement) if part)
    figure.suptitle(title, fontsize=10, fontweight="bold", y=1 - 0.08 / height, va="top")
    top = _HEAD_INCHES
    for flip, crop in zip(flips, crops, strict=True):
        _draw_pair(_two_axes(figure, top + _TITLE_INCHES), flip)
        top += _PAIR_INCHES
        if crop is not None:
            for axes, pixels in zip(_two_axes(figure, top), crop, strict=True):
                _show(axes, pixels)
            top += _CROP_INCHES
    return finish(figure)


def _two_axes(figure: "Figure", top: float) -> list[Any]:
    """Side by side, so many inches below the figure's upper edge."""
    width, height = figure.get_size_inches()
    left = [(width - 2 * _TILE_INCHES) / 3 * (1 + place) + _TILE_INCHES * place for place in range(2)]
    bottom, tall = 1 - (top + _TILE_INCHES) / height, _TILE_INCHES / height
    return [figure.add_axes((start / width, bottom, _TILE_INCHES / width, tall)) for start in left]


def _draw_pair(pair: Sequence[Any], flip: Flip) -> None:
    images, names = (flip.original, flip.degraded), (flip.before, flip.after)
    for axes, pixels, name, confidence in zip(pair, images, names, flip.confidences, strict=True):
        _show(axes, pixels)
        right = None if flip.label is None else name == flip.label
        sign = "" if right is None else f"{mark(right)} "
        colour = "black" if right is None else mark_colour(right)
        said = textwrap.fill(f"{sign}{plain(name, _NAME_CHARACTERS)} {confidence:.2f}", _TITLE_CHARACTERS)
        axes.set_title(said, fontsize=9, color=colour, fontweight="bold" if right is False else "normal")
    truth = "" if flip.label is None else f", true: {plain(flip.label, _NAME_CHARACTERS)}"
    pair[0].text(0, -0.03, f"#{flip.index}{truth}", fontsize=8, va="top", transform=pair[0].transAxes)


def _show(axes: Any, pixels: Pixels) -> None:
    axes.axis("off")
    axes.imshow(pixels.transpose(1, 2, 0), interpolation="nearest" if max(pixels.shape[1:]) < _PHOTOGRAPH else "auto")


def _crops(flip: Flip) -> tuple[Pixels, Pixels] | None:
    """Where both images of a photograph differ most, of both; None of a thumbnail or where they differ in size."""
    if max(flip.original.shape[1:]) < _PHOTOGRAPH or flip.original.shape != flip.degraded.shape:
        return None
    top, left, side = largest_change(flip.original, flip.degraded)
    window = np.s_[:, top : top + side, left : left + side]
    return flip.original[window], flip.degraded[window]


def largest_change(left: Pixels, right: Pixels) -> tuple[int, int, int]:
    """The square of a quarter of the shorter side in which the squared difference of two images is largest.

    Args:
        left: uint8 [3, H, W].
        right: uint8 [3, H, W].

    Returns:
        Its top, left and side in pixels.
    """
    error = np.square(left.astype(np.float64) - right).sum(axis=0)
    side = max(1, min(error.shape) // _CROP_SHARE)
    sums = np.pad(error.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    windows = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    top, start = np.unravel_index(int(windows.argmax()), windows.shape)
    return int(top), int(start), side
