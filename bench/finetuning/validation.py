"""Every view of the held-out images, measured as a test measures them."""

from collections.abc import Callable, Iterable

import torch
import torch.distributed
from torch import Tensor

from bench.classification import classify_views
from bench.clip.zero_shot import ZeroShotClassifier
from bench.metrics import measure
from bench.outcomes import Outcomes
from bench.runs.gathering import gather_outcomes
from datamodules.views import Batch, Images

REPORTED = ("precision", "loss", "drop", "flip_rate", "calibration_error")

Measures = dict[str, dict[str, float]]
"""Scalars by view and name, those of `REPORTED` that a view has."""


class Validation:
    """The outcomes of one pass over the held-out images.

    Args:
        classes: Number of candidate classes.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.parts: list[dict[str, Outcomes]] = []

    def update(
        self, embed: Callable[[str, Images], Tensor], classify: Callable[[Tensor], Tensor], batch: Batch
    ) -> None:
        """Classify every view of a batch; see `bench.classification.classify_views`."""
        self.parts.append(classify_views(batch, embed, classify, with_fidelity=False).on_host(list(batch.views)))

    def compute(self) -> Measures:
        """Over all processes, on each of them; a collective call.

        Returns:
            Nothing where no image could be read.
        """
        own = {view: Outcomes.concatenate([part[view] for part in self.parts]) for view in self.parts[0]}
        measures: Measures = {}
        whole = gather_outcomes(own)
        if whole is not None and all(map(len, whole.values())):
            measures = {
                view: {name: found.metrics[name] for name in REPORTED if name in found.metrics}
                for view, found in measure(whole, self.classes, labelled=True).items()
            }
        shared = [measures]
        if torch.distributed.is_initialized():
            torch.distributed.broadcast_object_list(shared)
        return shared[0]


def mean_precision(measures: Measures) -> float:
    """Mean over the views, the original among them.

    >>> mean_precision({"original": {"precision": 0.9}, "jpeg-25": {"precision": 0.5}})
    0.7
    """
    return sum(values["precision"] for values in measures.values()) / len(measures)


@torch.no_grad()
def validate(classifier: ZeroShotClassifier, batches: Iterable[Batch], device: torch.device) -> Measures:
    """Measure a classifier on the held-out images; a collective call.

    Args:
        classifier: On the device.
        batches: Of this process.
        device: Where to compute.
    """
    validation = Validation(len(classifier.text))
    for batch in batches:
        validation.update(lambda view, images: classifier.embed(images, view), classifier.logits, batch.to(device))
    return validation.compute()
