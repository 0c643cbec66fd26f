"""Integrated Gradients of images with all their views, from pixels to numbers and maps."""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench.attribution.explanations import Explanation, ViewExplanation
from bench.attribution.frequency import attribute_frequencies
from bench.attribution.integrated_gradients import Attribution, cross_entropy, integrated_gradients
from bench.attribution.quadrature import Quadrature
from bench.attribution.spectra import PARTS, Spectrum
from bench.attribution.statistics import attribution_statistics, codec_period
from bench.clip.float32 import full_float32
from bench.clip.towers import fold_batch_norms, folds_batch_norms, image_tower
from bench.clip.zero_shot import ZeroShotClassifier
from bench.outcomes import Outcomes
from datamodules.degradations import ORIGINAL, parse
from datamodules.degradations.base import Degradation, halves_chroma
from datamodules.errors import UserError
from datamodules.views import Batch


@dataclass(frozen=True)
class Explained:
    """What was found about one image of a batch.

    Attributes:
        explanation: Its numbers.
        images: uint8 [3, S, S] by view, as the encoder sees them.
        attributions: float32 [3, S, S] in nats by degraded view.
    """

    explanation: Explanation
    images: dict[str, npt.NDArray[np.uint8]]
    attributions: dict[str, npt.NDArray[np.float32]]


class Explainer:
    """Explains every degraded view but the baseline, in float32 without TF32 whatever the classifier's precision.

    Args:
        classifier: A copy is made where it helps; see `for_gradients`.
        baseline: The view where the paths start.
        rule: How path integrals are taken.
        max_batch: Images per forward and backward pass.
        patch_period: See `bench.attribution.statistics`.
        native_views: Reads the views of an image, by its index, at native size; asked where a batch has them fitted.
        progress: Called after every batch with the number of gradients that it took.
    """

    def __init__(
        self,
        classifier: ZeroShotClassifier,
        baseline: str,
        rule: Quadrature,
        max_batch: int,
        patch_period: float | None,
        native_views: Callable[[int], Mapping[str, Tensor]],
        progress: Callable[[int], object] = lambda gradients: None,
    ) -> None:
        self.classifier, self.native_views, self.progress = for_gradients(classifier), native_views, progress
        self.baseline, self.rule, self.max_batch, self.patch_period = baseline, rule, max_batch, patch_period

    def explain(self, batch: Batch, outcomes: Mapping[str, Outcomes]) -> list[Explained]:
        """Explain the images of a batch, in its order.

        Args:
            batch: At least one labelled image, on the classifier's device.
            outcomes: Of these images among others, by view, sorted by index: what a run measured.
        """
        pixels = {view: self.classifier.pixels(images) for view, images in batch.views.items()}
        targets = [view for view in pixels if view not in (ORIGINAL, self.baseline)]
        degradations = {view: parse(view) for view in targets}
        with full_float32():
            result = integrated_gradients(
                cross_entropy(self.classifier.pixel_logits),
                baseline=pixels[self.baseline].repeat(len(targets), 1, 1, 1),
                target=torch.cat([pixels[view] for view in targets]),
                labels=batch.labels.repeat(len(targets)),
                rule=self.rule,
                max_batch=self.max_batch,
                progress=self.progress,
            )
        changes = {view: pixels[view] - pixels[self.baseline] for view in targets}
        explained = []
        for place in range(len(batch)):
            rows = {view: number * len(batch) + place for number, view in enumerate(targets)}
            native = self._native(batch, place)
            views = {
                view: self._numbers(
                    result,
                    row,
                    self._block_period(degradations[view].block_period, *batch.sizes[view][place].tolist()),
                    self._spectrum(degradations[view], native, result.gradient[row], changes[view][place]),
                )
                for view, row in rows.items()
            }
            index = int(batch.indices[place])
            found = int(torch.searchsorted(outcomes[ORIGINAL].index, index))
            explanation = Explanation(
                index=index,
                label=int(batch.labels[place]),
                predictions={view: int(measured.prediction[found]) for view, measured in outcomes.items()},
                scores={view: float(measured.probability[found]) for view, measured in outcomes.items()},
                views=views,
            )
            images = {view: to_uint8(of[place]) for view, of in pixels.items()}
            maps = {view: result.attribution[row].cpu().numpy() for view, row in rows.items()}
            explained.append(Explained(explanation, images, maps))
        return explained

    def _block_period(self, block: float | None, height: int, width: int) -> float | None:
        """Of a view's blocks in input pixels; None without blocks, or where they are squashed to oblongs."""
        preprocess = self.classifier.preprocess
        if block is None or (preprocess.geometry.mode == "squash" and height != width):
            return None
        return codec_period((height, width), preprocess.geometry.size, block)

    def _native(self, batch: Batch, place: int) -> Mapping[str, Tensor]:
        """The views of one image at native size, which a batch may hold fitted to the encoder's square."""
        views = {view: images[place] for view, images in batch.views.items()}
        if all(views[view].shape[1:] == tuple(sides[place].tolist()) for view, sides in batch.sizes.items()):
            return views
        return self.native_views(int(batch.indices[place]))

    def _spectrum(
        self, degradation: Degradation, native: Mapping[str, Tensor], gradient: Tensor, change: Tensor
    ) -> Spectrum | None:
        """Of one image's view; None where its size is not that of the baseline, or its pixels were restored."""
        baseline, target = native[self.baseline], native[degradation.name]
        if baseline.shape != target.shape or self.classifier.restoration is not None:
            return None
        halved = halves_chroma(degradation)
        found = attribute_frequencies(
            self.classifier.preprocess, gradient[None], baseline[None], target[None], halved, change[None]
        )
        return Spectrum.of(found, 0, halved)

    def _numbers(
        self, result: Attribution, row: int, block_period: float | None, spectrum: Spectrum | None
    ) -> ViewExplanation:
        parts = dict.fromkeys(PARTS, math.nan) if spectrum is None else spectrum.parts
        statistics = attribution_statistics(result.attribution[row : row + 1], self.patch_period, block_period)
        return ViewExplanation(
            total=float(result.total[row]),
            loss_difference=float(result.loss_difference[row]),
            residual=float(result.residual[row]),
            evaluations=int(result.evaluations[row]),
            error_estimate=float(result.error_estimate[row]),
            converged=bool(result.converged[row]),
            statistics={name: float(value) for name, value in vars(statistics).items()} | dict(parts),
            spectrum=spectrum,
        )


def require_one_function(classifier: ZeroShotClassifier) -> None:
    """Refuse an adapter.

    Raises:
        UserError: With it an original and its view are embedded by two functions.
    """
    if classifier.adapter is not None:
        raise UserError(
            "`adapter` embeds an original and its view by two functions, so that no path of images leads from one loss "
            "to the other: leave it out, or callbacks.IntegratedGradients",
            option="model.adapter",
        )


def for_gradients(classifier: ZeroShotClassifier) -> ZeroShotClassifier:
    """The same function in float32, with the batch norms of a CLIP ResNet folded into its convolutions.

    What is folded is a pass over memory less, forward and backward: `python -m benchmarks.attribution_speed` measures
    how much that saves. A copy where anything has to change.

    Raises:
        UserError: It has an adapter.
    """
    require_one_function(classifier)
    tensors = [*classifier.parameters(), *classifier.buffers()]
    exact = all(tensor.dtype == torch.float32 for tensor in tensors if tensor.is_floating_point())
    if exact and not folds_batch_norms(image_tower(classifier.model)):
        return classifier
    with torch.inference_mode(False), torch.no_grad():
        classifier = copy.deepcopy(classifier).float()
        fold_batch_norms(image_tower(classifier.model))
    return classifier


def to_uint8(pixels: Tensor) -> npt.NDArray[np.uint8]:
    """Pixels [3, S, S] in [0, 1] as the bytes they were made of."""
    image: npt.NDArray[np.uint8] = (pixels * 255).round().to(torch.uint8).cpu().numpy()
    return image
