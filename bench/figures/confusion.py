"""Which class is taken for which: confusion matrices of views."""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.figures.lettering import plain
from bench.figures.style import MOST_NUMBERED, finish, first_of, name_cells, new_panels, nothing, write_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_VIEWS = 12
MOST_CLASSES = 40
_ACROSS = 2
_NUMBERED_INCHES, _CELL_INCHES = 0.42, 0.16
_BAR_INCHES = 5
_LEAST_SIDE = 2.5
_LEAST_NUMBER = 0.005
_NAME_CHARACTERS = 24


def confusion_matrices(counts: Mapping[str, npt.NDArray[np.integer]], class_names: Sequence[str]) -> "Figure":
    """The share of each true class (row) that is predicted as each class (column), a panel per view.

    Of many classes those are drawn that are most often taken for one another in any view, since hardly two of those
    with most confusions in all are confused with each other; shares stay those of all predictions.

    Args:
        counts: Images by true and predicted class, [C, C], by view; the first `MOST_VIEWS` are drawn.
        class_names: By class.
    """
    from matplotlib.colors import PowerNorm

    shown = dict(list(counts.items())[:MOST_VIEWS])
    if not shown or not class_names:
        return nothing("no confusion matrix")
    rows = _most_confused(list(shown.values()))
    names = [plain(class_names[row], _NAME_CHARACTERS) for row in rows]
    side = max(_LEAST_SIDE, (_NUMBERED_INCHES if len(rows) <= MOST_NUMBERED else _CELL_INCHES) * len(rows)) + 1
    numbered = len(rows) <= MOST_NUMBERED
    size = 8 if numbered else 7
    figure, grid = new_panels(len(shown), _ACROSS, side, side)
    for place, (axes, (view, matrix)) in enumerate(zip(grid, shown.items(), strict=True)):
        cells, total = matrix[np.ix_(rows, rows)], matrix.sum(1, keepdims=True)[rows]
        shares = np.divide(cells, total, out=np.full(cells.shape, np.nan), where=total > 0)
        image = axes.imshow(shares, cmap="viridis", norm=PowerNorm(1 if numbered else 0.5, 0, 1), aspect="auto")
        axes.set_title(plain(view, int(12 * side)), fontsize=10)
        axes.set(xticks=[], yticks=[])
        if place % _ACROSS == 0:
            name_cells(axes, names, "left", size)
        if place + _ACROSS >= len(grid):
            name_cells(axes, names, "bottom", size, rotation=90)
        write_numbers(axes, image, _LEAST_NUMBER)
    shrink = min(0.6, _BAR_INCHES / figure.get_figheight())
    figure.colorbar(image, ax=grid, shrink=shrink, anchor=(0, 1), aspect=30, label="share of the true class")
    told = "Rows: true classes; columns: predicted. Blank rows: no image."
    if len(rows) < len(class_names):
        told += f" The {len(rows)} of {len(class_names):,} classes of the most frequent confusions."
    return finish(figure, f"{told} {first_of(len(shown), len(counts), 'views')}".rstrip())


def _most_confused(matrices: Sequence[npt.NDArray[np.integer]]) -> list[int]:
    """Classes to draw, in order: all, or of many those of the largest cells beside the diagonal."""
    classes = len(matrices[0])
    if classes <= MOST_CLASSES:
        return list(range(classes))
    largest = reduce(np.maximum, matrices, np.zeros_like(matrices[0]))
    np.fill_diagonal(largest, 0)
    cells = np.argsort(-largest, axis=None, kind="stable")[: MOST_CLASSES**2]  # more than such classes can have
    chosen = dict.fromkeys(int(place) for cell in cells for place in divmod(int(cell), classes))
    return sorted(list(chosen)[:MOST_CLASSES])
