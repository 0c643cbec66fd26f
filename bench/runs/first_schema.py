"""Records of schema 1, which had a dense confusion matrix per view: read as what records say today."""

from typing import Any

import numpy as np
import numpy.typing as npt

from bench.runs.json_values import Value
from bench.runs.record import SCHEMA
from bench.runs.view_record import MOST_CONFUSIONS, whole_count
from datamodules.degradations import ORIGINAL

_GONE = ("confusion", "precision_per_class", "recall_per_class")


def upgraded(value: Value) -> Value:
    """A record of schema 1 as one of today's.

    Raises:
        FileError: A value that has to be known for it is missing or no number of images.
    """
    images, metrics = value["images"].whole(), value["metrics"]
    classes = len(value["data"]["class_names"].texts())
    labelled = metrics[ORIGINAL].get("precision") is not None
    if not labelled and "confusion" in metrics[ORIGINAL]:
        metrics[ORIGINAL]["precision"].fail("is missing")
    views: dict[str, Any] = {}
    counts, class_images, before = {}, None, None
    for view in sorted(metrics.mapping(), key=lambda name: name != ORIGINAL):
        of = metrics[view]
        counts[view] = {
            "flipped": 0 if view == ORIGINAL else whole_count(of["flip_rate"], images),
            "broken": 0 if view == ORIGINAL or not labelled else whole_count(of["broken"], images),
            "repaired": 0 if view == ORIGINAL or not labelled else whole_count(of["repaired"], images),
        }
        if labelled:
            matrix = _matrix(of["confusion"], images, classes)
            before = matrix if before is None else before
            class_images = before.sum(1).tolist()
            if matrix.sum(1).tolist() != class_images:
                of["confusion"].fail("has other images of a class than the original's")
            if matrix.trace() != whole_count(of["precision"], images):
                of["confusion"].fail(f"has {matrix.trace()} right, the precision another number")
            views[view] = {
                "correct": matrix.diagonal().tolist(),
                "predicted": matrix.sum(0).tolist(),
                "confusions": _confusions(before, matrix),
            }
    scalars = {view: of.further(_GONE) for view, of in metrics.items()}
    known = value.further(("schema", "metrics"))
    found = {"images": class_images, "views": views} if labelled else None
    return value.replaced({**known, "schema": SCHEMA, "metrics": scalars, "counts": counts, "classes": found})


def _matrix(value: Value, images: int, classes: int) -> npt.NDArray[np.int64]:
    rows = value.elements()
    if len(rows) != classes:
        value.fail(f"has {len(rows)} rows instead of {classes}")
    matrix = np.array([row.wholes(0, images, classes) for row in rows], dtype=np.int64)
    if matrix.sum() != images:
        value.fail(f"has {matrix.sum()} images instead of {images}")
    return matrix


def _confusions(before: npt.NDArray[np.int64], after: npt.NDArray[np.int64]) -> list[list[int]]:
    growth = after - before
    np.fill_diagonal(growth, 0)
    largest = np.argsort(-growth, axis=None, kind="stable")[:MOST_CONFUSIONS].tolist()
    places = [divmod(cell, len(growth)) for cell in largest]
    return [[*place, int(before[place]), int(after[place])] for place in places if growth[place] > 0]
