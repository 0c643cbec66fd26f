"""What happened to which class, in TensorBoard: all classes at full size, and cards of what changed most."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from torch.utils.tensorboard import SummaryWriter

from bench.figures.classes import ClassPanel, class_maps
from bench.figures.confusion import confusion_matrices
from bench.figures.ranking import MOST_ROWS, Change, ranking_card
from bench.figures.tensorboard import write_figure
from bench.metrics import confusion_matrix
from bench.outcomes import Outcomes
from bench.runs.view_record import ViewRecord
from datamodules.degradations import ORIGINAL

MOST_VIEWS = 6
"""That have cards."""

_MAY_BE_CHANCE = ", which may be chance"
_SHARES = {"recall": 1, "precision": 0}  # by the axis of the confusion matrix that is summed


def write_classes(
    writer: SummaryWriter,
    views: Mapping[str, ViewRecord],
    outcomes: Mapping[str, Outcomes],
    class_names: Sequence[str],
) -> None:
    """Write `report_full_size/per_class` and `confusion`, and per view `report/recall/...`, `report/confusions/...`.

    Args:
        writer: TensorBoard.
        views: What was measured, by view; the `MOST_VIEWS` with the largest drop have cards.
        outcomes: Of labelled images, by view.
        class_names: By label.
    """
    from bench.statistics.classes import SIGNIFICANT, class_p_values  # imports SciPy

    counts = {view: confusion_matrix(rows, len(class_names)).numpy() for view, rows in outcomes.items()}
    shares = {title: [_shares(matrix, axis) for matrix in counts.values()] for title, axis in _SHARES.items()}
    panels = [ClassPanel(f"{title} per class", np.stack(columns, axis=1)) for title, columns in shares.items()]
    classes = class_maps(panels, class_names, list(counts), "share of images", drops=False)
    write_figure(writer, "report_full_size/per_class", classes)
    write_figure(writer, "report_full_size/confusion", confusion_matrices(counts, class_names))
    recall, images = dict(zip(counts, shares["recall"], strict=True)), counts[ORIGINAL].sum(1)
    pairs = {view: (views[ORIGINAL], found) for view, found in views.items() if view != ORIGINAL}
    p_values = class_p_values(pairs, tuple(images.tolist()))
    for view in _worst(views):
        shown = p_values[view] < SIGNIFICANT
        _write(writer, f"report/recall/{view}", recall_changes(view, recall, class_names, shown), "recall")
        told = confusion_changes(view, views[view], images, class_names, len(pairs))
        _write(writer, f"report/confusions/{view}", told, "share of the true class")


def recall_changes(
    view: str,
    recall: Mapping[str, npt.NDArray[np.float64]],
    class_names: Sequence[str],
    shown: npt.NDArray[np.bool_],
) -> tuple[str, list[Change]]:
    """The classes whose recall fell most, and a sentence on the first; none where none fell.

    Args:
        view: Its name.
        recall: By view, float [C], NaN where a class has no image.
        class_names: By class.
        shown: Whether a class has lost or gained beyond chance, bool [C].
    """
    before, after = recall[ORIGINAL], recall[view]
    order = np.argsort(after - before, kind="stable")  # NaN comes last
    fallen = [int(place) for place in order[:MOST_ROWS] if after[place] < before[place]]
    if not fallen:
        return "", []
    first = fallen[0]
    said = f"{view}: recall of {class_names[first]} falls most, from {before[first]:.2f} to {after[first]:.2f}"
    said += "" if shown[first] else _MAY_BE_CHANCE
    return said, [Change(class_names[place], float(before[place]), float(after[place])) for place in fallen]


def confusion_changes(
    view: str, found: ViewRecord, class_images: npt.NDArray[np.int64], class_names: Sequence[str], views: int
) -> tuple[str, list[Change]]:
    """The confusions that grew most, and a sentence on the first; none where none grew.

    Args:
        view: Its name.
        found: What was measured of it.
        class_images: Number of images of each class.
        class_names: By class.
        views: Number of degraded views from whose confusions a reader chooses.
    """
    from bench.statistics.classes import is_beyond_chance  # imports SciPy

    if found.classes is None or not found.classes.confusions:
        return "", []
    first, *_ = pairs = found.classes.confusions
    true, taken = class_names[first.true], class_names[first.predicted]
    count = f"{first.after:,} of {class_images[first.true]:,} {true}"
    said = f"{view}: {count} are taken for {taken} (original: {first.before:,})"
    said += "" if is_beyond_chance(first, len(class_names), views) else _MAY_BE_CHANCE
    return said, [
        Change(
            f"{class_names[one.true]} \N{RIGHTWARDS ARROW} {class_names[one.predicted]}",
            one.before / int(class_images[one.true]),
            one.after / int(class_images[one.true]),
        )
        for one in pairs
    ]


def _write(writer: SummaryWriter, tag: str, told: tuple[str, list[Change]], quantity: str) -> None:
    statement, changes = told
    if changes:
        write_figure(writer, tag, ranking_card(statement, changes, quantity))


def _worst(views: Mapping[str, ViewRecord]) -> list[str]:
    """The views with the largest drop, the largest first."""
    degraded = {view: found for view, found in views.items() if view != ORIGINAL}
    return sorted(degraded, key=lambda view: degraded[view].repaired - degraded[view].broken)[:MOST_VIEWS]


def _shares(matrix: npt.NDArray[np.int64], axis: int) -> npt.NDArray[np.float64]:
    """The right ones among the images of each row (axis 1) or column (axis 0); NaN where there is no image."""
    total = matrix.sum(axis)
    shares = np.full(len(total), np.nan)
    np.divide(matrix.diagonal(), total, out=shares, where=total > 0)
    return shares
