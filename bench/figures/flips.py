"""Images whose prediction changed: originals above the views that changed it, the strongest effects first."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.figures.lettering import explain_codes, plain
from bench.figures.pixel_image import pixel_image
from bench.figures.style import finish, mark, mark_colour, new_figure, nothing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Pixels = npt.NDArray[np.uint8]

_WIDTH_INCHES, _TILE_INCHES = 3.45, 1.66
_HEAD_INCHES, _TITLE_INCHES = 0.65, 0.42
_PAIR_INCHES, _CROP_INCHES = _TITLE_INCHES + _TILE_INCHES + 0.25, _TILE_INCHES + 0.1
_TITLE_GAP_INCHES, _CAPTION_GAP_INCHES, _CODES_INCHES = 0.08, 0.05, 0.55
_NAME_CHARACTERS, _TITLE_CHARACTERS = 34, 22
_DPI = 150  # half the bytes of a card's 200: photographs weigh more than lines
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
    height = _HEAD_INCHES + sum(_PAIR_INCHES + (_CROP_INCHES if crop else 0) for crop in crops)
    height += _CODES_INCHES if explain_codes(_names(flips)) else 0
    figure = new_figure(_WIDTH_INCHES, height)
    figure.set_layout_engine("none")  # long names would make the images small
    figure.set_dpi(_DPI)
    title = "\n".join(part for part in (f"original | {name}", statement) if part)
    figure.suptitle(title, fontsize=10, fontweight="bold", y=1 - 0.08 / height, va="top")
    top = _HEAD_INCHES
    for flip, crop in zip(flips, crops, strict=True):
        _draw_pair(figure, top + _TITLE_INCHES, flip)
        top += _PAIR_INCHES
        if crop is not None:
            for place, pixels in enumerate(crop):
                _place(figure, place, top, pixels)
            top += _CROP_INCHES
    return finish(figure)


def _names(flips: Sequence[Flip]) -> list[str]:
    return [_short(name) for flip in flips for name in (flip.before, flip.after, flip.label or "")]


def _short(name: str) -> str:
    """A name that fits on two lines, also where its characters have become codes."""
    shown = plain(name, _NAME_CHARACTERS)
    return shown if len(shown) <= _NAME_CHARACTERS else f"{shown[: _NAME_CHARACTERS - 1]}\N{HORIZONTAL ELLIPSIS}"


def _draw_pair(figure: "Figure", top: float, flip: Flip) -> None:
    """Original and view side by side, so many inches below the figure's upper edge, with what is said of them."""
    width, height = figure.get_size_inches()
    images, names = (flip.original, flip.degraded), (flip.before, flip.after)
    for place, (pixels, name, confidence) in enumerate(zip(images, names, flip.confidences, strict=True)):
        left, above, wide, tall = _place(figure, place, top, pixels)
        right = None if flip.label is None else name == flip.label
        sign = "" if right is None else f"{mark(right)} "
        said = textwrap.fill(f"{sign}{_short(name)} {confidence:.2f}", _TITLE_CHARACTERS)
        figure.text(
            (left + wide / 2) / width, 1 - (above - _TITLE_GAP_INCHES) / height, said, ha="center", fontsize=9,
            color="black" if right is None else mark_colour(right), fontweight="bold" if right is False else "normal",
        )  # fmt: skip
        if place == 0:
            truth = "" if flip.label is None else f", true: {_short(flip.label)}"
            below = 1 - (above + tall + _CAPTION_GAP_INCHES) / height
            figure.text(left / width, below, f"#{flip.index}{truth}", fontsize=8, va="top")


def _place(figure: "Figure", place: int, top: float, pixels: Pixels) -> tuple[float, float, float, float]:
    """Put an image into the middle of the tile at the left (0) or right (1): its left, top, width and height in inches.

    Args:
        figure: That has the tile.
        place: Of the tile in its row.
        top: Of the row, in inches below the figure's upper edge.
        pixels: uint8 [3, H, W].
    """
    sides = np.array(pixels.shape[1:])
    tall, wide = (_TILE_INCHES * sides / sides.max()).tolist()
    margin = (_WIDTH_INCHES - 2 * _TILE_INCHES) / 3
    left = margin + place * (margin + _TILE_INCHES) + (_TILE_INCHES - wide) / 2
    above = top + (_TILE_INCHES - tall) / 2
    bottom = figure.get_figheight() - above - tall
    figure.add_artist(pixel_image(pixels, (left, bottom, left + wide, bottom + tall)))
    return left, above, wide, tall


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
