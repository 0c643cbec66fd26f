"""What a run says about each view, computed once, at its end, from its outcomes alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.outcomes import MEASURED, REPEATABLE, Outcomes, Quantity, is_known
from bench.runs.view_record import MOST_CONFUSIONS, ClassCounts, Confusion, ViewRecord
from datamodules.degradations import ORIGINAL

if TYPE_CHECKING:  # what only reads results back, such as the report, starts without torch
    from torch import Tensor

CALIBRATION_BINS = 15
TOP_K = 5


class Metric(NamedTuple):
    """A number about all images of a view.

    Attributes:
        name: In the record, and in TensorBoard as `test/<name>/<view>`.
        title: What tables for readers call it.
        unit: Of the value; empty for shares.
        decimals: In tables for readers; None where the table on the screen leaves it out.
        definition: A sentence.
        factor: Of what tables for readers show to the value.
        noisy: Whether the same run gives another value each time, so that it is no part of any comparison of runs.
    """

    name: str
    title: str
    unit: str
    decimals: int | None
    definition: str
    factor: float = 1.0
    noisy: bool = False


def _over_images(quantity: Quantity) -> Metric:
    name, _, title, unit, decimals, definition, noisy = quantity
    kind = "Noisy median" if noisy else "Mean"
    definition = f"{kind} over the images that have one: {definition[0].lower()}{definition[1:]}"
    return Metric(name, title, unit, decimals, definition, noisy=noisy)


METRICS = (
    Metric(
        "precision", "precision", "", 4, "Micro-averaged precision, which for one label per image is top-1 accuracy."
    ),
    Metric(
        "drop",
        "drop (points)",
        "",
        2,
        "Precision of the original minus that of the view, on the same images; tables show it in percentage points.",
        factor=100.0,
    ),
    Metric("flip_rate", "flips", "", 4, "Share of the images whose prediction is another one than in the original."),
    Metric("broken", "broken", "", None, "Share of the images that are right in the original and wrong in the view."),
    Metric(
        "repaired", "repaired", "", None, "Share of the images that are wrong in the original and right in the view."
    ),
    Metric("precision_macro", "precision (macro)", "", 4, "Mean over classes of the precision of each."),
    Metric(
        f"top{TOP_K}", f"top {TOP_K}", "", None, f"Share of the images whose label is among the {TOP_K} best classes."
    ),
    Metric(
        "calibration_error",
        "calibration error",
        "",
        4,
        f"Expected calibration error (Guo et al., 2017) of the confidence, {CALIBRATION_BINS} equal bins.",
    ),
    Metric("loss_increase", "loss increase", "nats", None, "Mean loss of the view minus that of the original."),
    *(_over_images(quantity) for quantity in MEASURED),
)
"""All there are, in the order of tables."""

NOISE = (
    "Milliseconds are noisy: medians of the processor time of one machine's run under whatever load it had. No "
    "comparison of runs, choice or finding uses them."
)
"""What stands by metrics that are noisy."""


def measure(outcomes: Mapping[str, Outcomes], classes: int, *, labelled: bool) -> dict[str, ViewRecord]:
    """Everything that is reported about each view.

    Sums are made in float64 over the images in the order of their index, so that neither the order in which they came
    nor the number of processes shows.

    Args:
        outcomes: In host memory by view, the original among them; each with the same images, at least one, sorted by
            index.
        classes: C, number of candidate classes.
        labelled: Whether the images have labels; without them only what needs none is measured.
    """
    original = outcomes[ORIGINAL]
    before = _confusions(original, classes) if labelled else {}
    views = {}
    for view, rows in outcomes.items():
        metrics, changes = _view(rows, original, classes, labelled, view != ORIGINAL)
        views[view] = ViewRecord(metrics, **changes, classes=class_counts(rows, before, classes) if labelled else None)
    return views


def _view(
    rows: Outcomes, original: Outcomes, classes: int, labelled: bool, paired: bool
) -> tuple[dict[str, float], dict[str, int]]:
    """Metrics by name, and the numbers of images whose prediction or correctness changed."""
    images = len(rows)
    counts = {"flipped": 0, "broken": 0, "repaired": 0}
    found: dict[str, float] = {}
    if paired:
        counts["flipped"] = int((rows.prediction != original.prediction).sum())
        found["flip_rate"] = counts["flipped"] / images
    if labelled:
        right, before = rows.correct, original.correct
        found["precision"] = int(right.sum()) / images
        found["precision_macro"] = precision_macro(rows, classes)
        found["calibration_error"] = calibration_error(rows)
        if classes > TOP_K:
            found[f"top{TOP_K}"] = int((rows.rank < TOP_K).sum()) / images
        if paired:
            counts["broken"], counts["repaired"] = int((before & ~right).sum()), int((~before & right).sum())
            found |= {name: counts[name] / images for name in ("broken", "repaired")}
            found["drop"] = (counts["broken"] - counts["repaired"]) / images
            found["loss_increase"] = _float64_mean(rows.loss.double() - original.loss.double())
    for quantity in MEASURED:
        column = getattr(rows, quantity.name)
        if (known := column[is_known(column)]).numel():
            found[quantity.name] = _median(known) if quantity.noisy else _float64_mean(known)
    return {metric.name: found[metric.name] for metric in METRICS if metric.name in found}, counts


def scalars(views: Mapping[str, ViewRecord]) -> dict[str, float]:
    """All of them by `<metric>/<view>`."""
    return {f"{name}/{view}": value for view, found in views.items() for name, value in found.metrics.items()}


def precision_macro(rows: Outcomes, classes: int) -> float:
    """Mean over classes of the share of right ones among the images predicted as each; 0 where there is none.

    Classes that no image has and that none is predicted as do not count. The counts are torchmetrics'.
    """
    from torchmetrics.functional.classification import multiclass_stat_scores

    scores = multiclass_stat_scores(
        rows.prediction.long(), rows.label.long(), num_classes=classes, average="none", validate_args=False
    ).numpy()
    right, wrong, missed = scores[:, 0], scores[:, 1], scores[:, 3]
    seen = right + wrong + missed > 0
    precisions = right[seen] / np.maximum(right[seen] + wrong[seen], 1)
    return float(precisions.mean())


def calibration_error(rows: Outcomes) -> float:
    """Expected calibration error (Guo et al., 2017) over `CALIBRATION_BINS` equal bins of the confidence, in [0, 1].

    By torchmetrics, whose bins leave out their upper end, so that it puts a confidence of 1.0 into one bin more; here
    that is in the last bin, as in the paper.
    """
    from torchmetrics.functional.classification import binary_calibration_error

    below_one = float(np.nextafter(1.0, 0.0))
    confidence = rows.confidence.double().clamp(max=below_one)
    return float(
        binary_calibration_error(
            confidence, rows.correct.long(), n_bins=CALIBRATION_BINS, norm="l1", validate_args=False
        )
    )


def class_counts(rows: Outcomes, before: Mapping[int, int], classes: int) -> ClassCounts:
    """Images by class, and the confusions that grew most over those of the original, `before`."""
    label, prediction = rows.label.numpy(), rows.prediction.numpy()
    after = _confusions(rows, classes)
    growth = {pair: count - before.get(pair, 0) for pair, count in after.items()}
    largest = sorted((pair for pair, grown in growth.items() if grown > 0), key=lambda pair: (-growth[pair], pair))
    return ClassCounts(
        correct=_counts(label[prediction == label], classes),
        predicted=_counts(prediction, classes),
        confusions=tuple(
            Confusion(*divmod(pair, classes), before.get(pair, 0), after[pair]) for pair in largest[:MOST_CONFUSIONS]
        ),
    )


def support(rows: Outcomes, classes: int) -> tuple[int, ...]:
    """Number of images of each class, C of them."""
    return _counts(rows.label.numpy(), classes)


def confusion_matrix(rows: Outcomes, classes: int) -> Tensor:
    """Images by true class (row) and predicted class (column): int64 [C, C], by torchmetrics."""
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    return multiclass_confusion_matrix(
        rows.prediction.long(), rows.label.long(), num_classes=classes, validate_args=False
    )


def _confusions(rows: Outcomes, classes: int) -> dict[int, int]:
    """Number of wrongly classified images by label * C + prediction."""
    label, prediction = rows.label.numpy().astype(np.int64), rows.prediction.numpy()
    pairs, counts = np.unique((label * classes + prediction)[label != prediction], return_counts=True)
    return dict(zip(pairs.tolist(), counts.tolist(), strict=True))


def _counts(values: npt.NDArray[np.int32], classes: int) -> tuple[int, ...]:
    return tuple(np.bincount(values, minlength=classes).tolist())


def _float64_mean(column: Tensor) -> float:
    return float(column.numpy().astype(np.float64).mean())  # NumPy's order of adding does not depend on threads


def _median(column: Tensor) -> float:
    return float(np.median(column.numpy().astype(np.float64)))


def page() -> str:
    """What is measured, in Markdown: the content of docs/metrics.md, which `python -m bench.metrics` prints."""
    metrics = [f"| `{one.name}` | {one.unit} | {one.definition} |" for one in METRICS]
    quantities = [f"| `{one.name}` | {one.unit} | {one.definition} |" for one in REPEATABLE]
    lines = [
        "# What is measured",
        "",
        "Printed by `python -m bench.metrics` from the declarations in `bench/outcomes.py` and `bench/metrics.py`.",
        "",
        "## Of each view",
        "",
        "In `results.json` under `metrics/<view>`, in TensorBoard as `test/<metric>/<view>`. Shares are of all images. "
        + NOISE,
        "",
        "| metric | unit | meaning |",
        "|---|---|---|",
        *metrics,
        "",
        "## Of each image in each view",
        "",
        "The columns of `images.csv`, beside `path` and `view`; what is not known is empty.",
        "",
        "| column | unit | meaning |",
        "|---|---|---|",
        *quantities,
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
