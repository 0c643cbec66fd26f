"""Images whose prediction changed: a gallery of originals beside their degraded views."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench.figures.lettering import plain
from bench.figures.style import finish, new_panels, nothing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ACROSS = 4
_TILE_INCHES = 1.35
_NAME_CHARACTERS = 26
_TITLE_CHARACTERS = 40


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
    original: npt.NDArray[np.uint8]
    degraded: npt.NDArray[np.uint8]
    label: str | None
    before: str
    after: str
    confidences: tuple[float, float]


def flip_gallery(flips: Sequence[Flip], view: str) -> "Figure":
    """Pairs of original and degraded image, with what the prediction changed from and to."""
    name = plain(view)
    if not flips:
        return nothing(f"{name}: no prediction changed")
    figure, grid = new_panels(len(flips), _ACROSS, 2 * _TILE_INCHES, _TILE_INCHES + 0.75)
    figure.suptitle(f"original | {name}: predictions that changed")
    for axes, flip in zip(grid, flips, strict=True):
        axes.axis("off")
        axes.imshow(side_by_side(flip.original, flip.degraded))
        axes.set_title(_title(flip), fontsize=7)
    return finish(figure)


def _title(flip: Flip) -> str:
    truth = "" if flip.label is None else f" true: {plain(flip.label, _NAME_CHARACTERS)}"
    classes = zip((flip.before, flip.after), flip.confidences, strict=True)
    before, after = (f"{plain(name, _NAME_CHARACTERS)} {confidence:.2f}" for name, confidence in classes)
    separator = " " if len(before + after) <= _TITLE_CHARACTERS else "\n"
    return f"#{flip.index}{truth}\n{before} \N{RIGHTWARDS ARROW}{separator}{after}"


def side_by_side(
    left: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8], size: int = 192, gap: int = 8
) -> npt.NDArray[np.uint8]:
    """Two images uint8 [3, H, W] of any size as tiles of one: uint8 [size, 2 * size + gap, 3]."""
    canvas = Image.new("RGB", (2 * size + gap, size), "white")
    for x, pixels in [(0, left), (size + gap, right)]:
        tile = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
        scale = size / max(tile.size)
        method = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
        tile = tile.resize((max(1, round(tile.width * scale)), max(1, round(tile.height * scale))), method)
        canvas.paste(tile, (x + (size - tile.width) // 2, (size - tile.height) // 2))
    return np.asarray(canvas)
