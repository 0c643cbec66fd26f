"""What may be said of single classes, chosen among many: tests from counts, joint for all of them."""

from collections.abc import Mapping

import numpy as np

from bench.runs.view_record import Confusion, ViewRecord
from bench.statistics.bootstrap import Floats
from bench.statistics.significance import holm, mcnemar_bound, mcnemar_exact

SIGNIFICANT = 0.05


def class_p_values(
    pairs: Mapping[str, tuple[ViewRecord, ViewRecord]], class_images: tuple[int, ...]
) -> dict[str, Floats]:
    """P-values [C] by view of whether a class lost or gained recall, joint for all classes and views.

    They come from the numbers of right images of each class, which bound those of McNemar's exact test, and are
    adjusted by Holm's method. Classes without images have 1.

    Args:
        pairs: What was measured of the original and of the view, by degraded view.
        class_images: Number of images of each class.
    """
    found = {
        view: mcnemar_bound(before.classes.correct, after.classes.correct, class_images)
        for view, (before, after) in pairs.items()
        if before.classes is not None and after.classes is not None
    }
    adjusted = holm(np.concatenate([*found.values()])) if found else np.empty(0)
    return dict(zip(found, np.split(adjusted, max(len(found), 1)), strict=False))


def is_beyond_chance(pair: Confusion, classes: int, views: int) -> bool:
    """Whether a confusion has grown, tested jointly for all pairs of so many classes in so many degraded views.

    McNemar's exact test of whether an image of the one class is taken for the other, with as many changed images as the
    counts allow, adjusted by Bonferroni's method.
    """
    return bool(classes * (classes - 1) * views * mcnemar_exact(pair.after, pair.before) < SIGNIFICANT)
