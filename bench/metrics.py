"""torchmetrics over outcomes: per view, and per view paired with the original."""

from collections.abc import Iterator
from itertools import chain
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import (
    BinaryCalibrationError,
    MulticlassConfusionMatrix,
    MulticlassPrecision,
    MulticlassRecall,
)

from bench.outcomes import Outcomes
from datamodules.views import NOT_ENCODED

RATES = ("encoded_bytes", "bits_per_pixel", "psnr", "ssim")
CALIBRATION_BINS = 15
TOP_K = 5


class ViewMetrics(nn.Module):
    """Everything that is reported about one view.

    Precision is micro-averaged, which for single-label classification is top-1 accuracy; `precision_macro` is the mean
    over classes. The calibration error is the expected one (Guo et al., 2017) over 15 equal bins of the confidence.

    Paired with the same images' original view, as shares of all images: `drop` = precision(original) - precision(view),
    `flip_rate` (prediction changed), `broken` (right before, wrong now), `repaired` (wrong before, right now), and
    `loss_increase` in nats. So drop = broken - repaired.

    `encoded_bytes`, `bits_per_pixel`, `psnr` (in decibels) and `ssim` are means over the images that have one, each
    image counting the same whatever its size; without any the metric is left out. The infinite PSNR of an image that a
    view left as it was does not enter the mean of the others; its SSIM, which is 1, does.

    Args:
        num_classes: C, number of candidate classes.
        labelled: Whether the images have labels; without them only flips and confidence are measured.
        paired: Whether this view is compared with the original.
    """

    def __init__(self, num_classes: int, *, labelled: bool, paired: bool) -> None:
        super().__init__()
        means = ["confidence"]
        classified: dict[str, Metric] = {}
        if labelled:
            options: dict[str, Any] = {"num_classes": num_classes, "validate_args": False}
            classified = {
                "precision": MulticlassPrecision(average="micro", **options),
                "precision_macro": MulticlassPrecision(average="macro", **options),
                "precision_per_class": MulticlassPrecision(average="none", **options),
                "recall_per_class": MulticlassRecall(average="none", **options),
                "confusion": MulticlassConfusionMatrix(**options),
            }
            means += ["loss", "probability"] + ([f"top{TOP_K}"] if num_classes > TOP_K else [])
        if paired:
            means += ["flip_rate"] + (["broken", "repaired", "drop", "loss_increase"] if labelled else [])
        self.classified = nn.ModuleDict(classified)
        self.means = nn.ModuleDict({name: MeanMetric(nan_strategy="disable") for name in means})
        self.rates = nn.ModuleDict({name: MeanMetric(nan_strategy="disable") for name in RATES})
        for _, metric in chain(self._items(self.means), self._items(self.rates)):
            metric.set_dtype(torch.float64)  # so that the order of the images does not show
        self.calibration = BinaryCalibrationError(n_bins=CALIBRATION_BINS, norm="l1") if labelled else None

    def merge(self) -> None:
        """Hold what the calibration error gathers, a tensor per batch, in one."""
        if self.calibration is not None and self.calibration.update_called:
            self.calibration.confidences = [torch.cat(self.calibration.confidences)]
            self.calibration.accuracies = [torch.cat(self.calibration.accuracies)]

    def update(self, outcomes: Outcomes, original: Outcomes) -> None:
        """Add the outcomes of a batch and those of the same images' original view."""
        before, now = original.correct, outcomes.correct
        if self.calibration is not None:  # also with no image: what it gathers has its type from what it was given
            self.calibration.update(outcomes.confidence, now.long())
        if not len(outcomes):
            return
        columns = {
            "confidence": outcomes.confidence,
            "loss": outcomes.loss,
            "probability": outcomes.probability,
            f"top{TOP_K}": outcomes.rank < TOP_K,
            "flip_rate": outcomes.prediction != original.prediction,
            "broken": before & ~now,
            "repaired": ~before & now,
            "drop": before.float() - now.float(),
            "loss_increase": outcomes.loss - original.loss,
        }
        for name, metric in self._items(self.means):
            metric.update(columns[name])
        for _, metric in self._items(self.classified):
            metric.update(outcomes.prediction, outcomes.label)
        encoded = outcomes.encoded_bytes != NOT_ENCODED
        for name, metric in self._items(self.rates):
            values: Tensor = getattr(outcomes, name)
            metric.update(values[encoded if name == "encoded_bytes" else values.isfinite()])

    def compute(self) -> dict[str, Tensor]:
        """Scalars, per-class vectors [C] and the confusion matrix [C, C] (rows are true classes), by name."""
        every = chain(self._items(self.classified), self._items(self.means))
        values = {name: metric.compute() for name, metric in every}
        if self.calibration is not None:
            values["calibration_error"] = self.calibration.compute()
        rates = {name: metric.compute() for name, metric in self._items(self.rates)}
        return values | {name: value for name, value in rates.items() if not value.isnan()}

    @staticmethod
    def _items(metrics: nn.ModuleDict) -> Iterator[tuple[str, Metric]]:
        return cast(Iterator[tuple[str, Metric]], iter(metrics.items()))
