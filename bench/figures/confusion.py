"""Which class is taken for which: confusion matrices of views."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.figures.lettering import plain
from bench.figures.style import MOST_NUMBERED, finish, first_of, new_panels, nothing, write_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_VIEWS = 12
MOST_CLASSES = 40
_ACROSS = 2
_NUMBERED_INCHES, _CELL_INCHES = 0.42, 0.2
_LEAST_SIDE = 2.5
_LEAST_NUMBER = 0.005
_NAME_CHARACTERS = 24


def confusion_matrices(counts: Mapping[str, npt.NDArray[np.integer]], class_names: Sequence[str]) -> "Figure":
    """The share of each true class (row) that is predicted as each class (column), a panel per view.

    Of many classes those are drawn that are in most confusions of any view; shares stay those of all predictions.

    Args:
        counts: Images by true and predicted class, [C, C], by view; the first `MOST_VIEWS` are drawn.
        class_names: By class.
    """
    shown = dict(list(counts.items())[:MOST_VIEWS])
    if not shown or not class_names:
        return nothing("no confusion matrix")
    rows = _most_confused(list(shown.values()))
    names = [plain(class_names[row], _NAME_CHARACTERS) for row in rows]
    side = max(_LEAST_SIDE, (_NUMBERED_INCHES if len(rows) <= MOST_NUMBERED else _CELL_INCHES) * len(rows)) + 1
    figure, grid = new_panels(len(shown), _ACROSS, side, side)
    for place, (axes, (view, matrix)) in enumerate(zip(grid, shown.items(), strict=True)):
        total = matrix.sum(1, keepdims=True)
        shares = np.divide(matrix, total, out=np.full(matrix.shape, np.nan), where=total > 0)[np.ix_(rows, rows)]
        image = axes.imshow(shares, cmap="viridis", vmin=0, vmax=1, aspect="auto")
        axes.set_title(plain(view, int(12 * side)), fontsize=10)
        axes.set_yticks(range(len(rows)), names if place % _ACROSS == 0 else [""] * len(rows))
        axes.set_xticks(range(len(rows)), names if place + _ACROSS >= len(grid) else [""] * len(rows), rotation=90)
        axes.tick_params(labelsize=8 if len(rows) <= MOST_NUMBERED else 7)
        write_numbers(axes, image, _LEAST_NUMBER)
    figure.colorbar(image, ax=grid, shrink=0.6, aspect=30, label="share of the true class")
    told = "Rows: true classes; columns: predicted. Blank rows: no image."
    if len(rows) < len(class_names):
        told += f" The {len(rows)} of {len(class_names):,} classes with most confusions."
    return finish(figure, f"{told} {first_of(len(shown), len(counts), 'views')}".rstrip())


def _most_confused(matrices: Sequence[npt.NDArray[np.integer]]) -> list[int]:
    """Classes to draw, in order: all, or of many those of the largest row and column beside the diagonal."""
    classes = len(matrices[0])
    if classes <= MOST_CLASSES:
        return list(range(classes))
    wrong = np.sum([matrix.sum(0) + matrix.sum(1) - 2 * matrix.diagonal() for matrix in matrices], axis=0)
    return sorted(np.argsort(-wrong, kind="stable")[:MOST_CLASSES].tolist())
