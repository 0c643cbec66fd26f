"""Every view of the held-out images, measured as a test measures them."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from bench.clip.zero_shot import ZeroShotClassifier
from bench.metrics import ViewMetrics
from bench.outcomes import Outcomes
from datamodules.degradations import ORIGINAL
from datamodules.views import Batch, Images

MEASURED = ("precision", "loss", "drop", "flip_rate", "calibration_error")

Measures = dict[str, dict[str, float]]
"""Scalars by view and name, those of `MEASURED` that a view has."""


class Validation(nn.Module):
    """The metrics of one pass over the held-out images.

    Args:
        views: Names, the original first.
        num_classes: Number of candidate classes.
    """

    def __init__(self, views: Sequence[str], num_classes: int) -> None:
        super().__init__()
        metrics = {view: ViewMetrics(num_classes, labelled=True, paired=view != ORIGINAL) for view in views}
        self.parts = nn.ModuleList(metrics.values())  # names with a dot could not be keys of a ModuleDict
        self._by_view: Mapping[str, ViewMetrics] = metrics

    def update(self, classify: Callable[[Images], Tensor], batch: Batch) -> None:
        """Classify every view of a batch; `classify` gives class logits [B, C] of images."""
        outcomes = {
            view: Outcomes.from_logits(
                classify(batch.views[view]), batch.labels, batch.indices, batch.encoded_bytes[view]
            )
            for view in self._by_view
        }
        for view, metrics in self._by_view.items():
            metrics.update(outcomes[view], outcomes[ORIGINAL])

    def compute(self) -> Measures:
        """Over all processes."""
        values = {view: metrics.compute() for view, metrics in self._by_view.items()}
        return {view: {name: float(of[name]) for name in MEASURED if name in of} for view, of in values.items()}


def mean_precision(measures: Measures) -> float:
    """Mean over the views, the original among them.

    >>> mean_precision({"original": {"precision": 0.9}, "jpeg-25": {"precision": 0.5}})
    0.7
    """
    return sum(values["precision"] for values in measures.values()) / len(measures)


@torch.no_grad()
def measure(
    classifier: ZeroShotClassifier, batches: Iterable[Batch], views: Sequence[str], device: torch.device
) -> Measures:
    """Measure a classifier on the held-out images; a collective call.

    Args:
        classifier: On the device.
        batches: Of this process.
        views: Names, the original first.
        device: Where to compute.
    """
    validation = Validation(views, len(classifier.text)).to(device)
    for batch in batches:
        validation.update(classifier, batch.to(device))
    return validation.compute()
