"""Explains, pixel by pixel, what compression did to the loss of chosen images of a test run."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from bench.attribution.adaptive import Adaptive
from bench.attribution.explainer import Explainer, require_one_function
from bench.attribution.explanations import AttributionRecord, Explanation, spectra
from bench.attribution.overlay import Overlay, SignedOverlay
from bench.attribution.quadrature import Quadrature
from bench.attribution.report import AttributionReport
from bench.attribution.selection import First, Selection, require_comparable
from bench.attribution.sharing import Share
from bench.evaluation import ZeroShotEvaluation
from bench.outcomes import Outcomes
from bench.runs.folder import RunFolder
from callbacks.gradient_progress import GradientProgress
from callbacks.outcome_callback import evaluation, run_folder, tensorboard_loggers
from datamodules.base import DegradedDataModule
from datamodules.degradations import ORIGINAL
from datamodules.errors import UserError

_FIRST, _ADAPTIVE, _OVERLAY = First(), Adaptive(), SignedOverlay()


class IntegratedGradients(Callback):
    """Attributes `loss(view) - loss(baseline)` of chosen images to pixels, for every degraded view, when a test ends.

    Images are chosen from the outcomes of the whole run, read again and shared among the processes; the first process
    writes. Gradients are taken in float32 whatever the run's precision, TF32 excluded; predictions and scores are those
    of the run.

    Files, in `attributions` in the run's folder: `<index>.png`, `table.csv` (columns of the paper's Tables 1 to 6,
    with residuals, and the parts of each sum), and on request `maps/<index>.npz` with `views`, `images` uint8
    [V, 3, S, S], `targets` and `attributions` float32 [T, 3, S, S]. Of views that keep the size of the image, what each
    frequency and block costs (see `bench.attribution.frequency`): `frequencies.csv`, means over images of each DCT
    coefficient of Y, Cb and Cr with intervals; `blocks.csv`, the costliest blocks; in the `.npz` files float64
    `frequencies/<view>` [3, 8, 8] and `blocks/<view>`. A summary is recorded as `attribution` in `results.json`. To the
    run's TensorBoardLogger, if it has one: images `attribution/<index>/<view>`, `attribution_all_views/<index>` and
    `attribution_frequencies/<view>`, texts `attribution/table`, `attribution/legend` and `attribution/warning` (where a
    rule hit its cap), scalars `attribution/<quantity>/<view>` (means over images; median and 95th percentile of the
    residual), histograms `attribution_images/<quantity>/<view>` (of 20 images or more).

    Args:
        images: Which images: `bench.attribution.First`, `Indices`, `PerClass`, `LargestLossIncrease` or `Flipped`.
        baseline: The view where the path starts.
        rule: How the path integral is taken; see `bench.attribution.quadrature` and `bench.attribution.adaptive`.
        overlay: How attributions are drawn: `bench.attribution.SignedOverlay` or `PaperOverlay`.
        figures: Number of images to draw, the first of the chosen; the table and the statistics hold all of them.
        save_maps: Whether to write the `.npz` files, 0.6 MB per image and view at 224 pixels before compression.
        max_batch: Images per forward and backward pass and process, the bound on memory.

    Raises:
        UserError: The baseline, the selection's view or an index is not part of the run, or a number is out of range.

    >>> from bench.attribution import LargestLossIncrease
    >>> callback = IntegratedGradients(LargestLossIncrease(4), save_maps=True)

    Among the `callbacks` of the Trainer, it explains the four images whose loss rose most when the test ends.
    """

    refuses_adaptation: ClassVar[str] = "the path from an original to its view would lead from one encoder to another"

    def __init__(
        self,
        images: Selection = _FIRST,
        baseline: str = ORIGINAL,
        rule: Quadrature = _ADAPTIVE,
        overlay: Overlay = _OVERLAY,
        figures: int = 32,
        save_maps: bool = False,
        max_batch: int = 64,
    ) -> None:
        for name, value, least in [("figures", figures, 0), ("max_batch", max_batch, 1)]:
            if value < least:
                raise UserError(f"IntegratedGradients({name}={value}) is out of range: choose at least {least}")
        self.images, self.baseline, self.rule, self.overlay = images, baseline, rule, overlay
        self.figures, self.save_maps, self.max_batch = figures, save_maps, max_batch
        self._record: AttributionRecord | None = None
        self._folder = RunFolder(Path())

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "predict":
            rank_zero_info("IntegratedGradients explains the loss of labelled images, which `predict` does not measure")
        if stage != "test":
            return
        self.check_run(trainer, evaluation(pl_module).data)
        self._folder = RunFolder(run_folder(trainer))
        self._record = None

    def check_run(self, trainer: Trainer, data: DegradedDataModule) -> None:
        """Refuse views and images that the run does not have; see `bench.command_line.checks.Checks`."""
        require_comparable(self.images, self.baseline, data.views, data.positions)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse, before the first batch, a classifier that nothing can be attributed of."""
        require_one_function(evaluation(pl_module).classifier)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose, explain and write, so that the summary is there when the results are written at the test's end."""
        module = evaluation(pl_module)
        chosen, outcomes = trainer.strategy.broadcast(self._choose(module))
        if not chosen:
            rank_zero_info(f"IntegratedGradients: {self.images} chooses none of this run's images, nothing to explain")
            return
        loggers = tensorboard_loggers(trainer) if trainer.is_global_zero else []
        report = AttributionReport(self._folder, loggers[0].experiment if loggers else None)
        found = self._explain(trainer, module, chosen, outcomes, report)
        if not found:
            return
        explanations = [found[index] for index in chosen]
        self._record = AttributionRecord.of(explanations, self.baseline, self.rule, self.images)
        if resized := sorted(set(explanations[0].views) - set(spectra(explanations))):
            why = "which change images in size" if module.restoration is None else "whose pixels were restored"
            rank_zero_info(f"IntegratedGradients: no frequencies of {', '.join(resized)}, {why}")
        if warning := self._record.warning():
            rank_zero_warn(f"IntegratedGradients: {warning}")
        legend = (
            f"{self.overlay.legend()}; compared with {self.baseline}. Images: {self.images}. Score: softmax "
            "probability of the true class. IG: sum of Integrated Gradients over the pixels, in nats, what pixels "
            "raised plus what they lowered; residual: its distance from the change of the loss, in nats."
        )
        report.finish(explanations, self._record, module.data.class_names, legend)

    def _choose(self, module: ZeroShotEvaluation) -> tuple[list[int], dict[str, Outcomes]]:
        """The chosen images and their outcomes, on the first process; nothing on the others."""
        run = module.whole_run()
        if run is None:
            return [], {}
        chosen = self.images.choose(run.outcomes, self.baseline)
        wanted = torch.isin(run.outcomes[ORIGINAL].index, torch.tensor(chosen, dtype=torch.int64))
        return chosen, {view: rows.select(wanted) for view, rows in run.outcomes.items()}

    def record(self) -> dict[str, Any]:
        """What goes into the result record; see `callbacks.results_writer.Recorder`."""
        return {} if self._record is None else {"attribution": self._record.to_json()}

    def _explain(
        self,
        trainer: Trainer,
        module: ZeroShotEvaluation,
        chosen: Sequence[int],
        outcomes: dict[str, Outcomes],
        report: AttributionReport,
    ) -> dict[int, Explanation]:
        """Explanations by index on the first process, which writes pictures and maps; nothing on the others."""
        progress = GradientProgress(trainer, len(chosen))
        share = Share(
            Explainer(
                module.classifier,
                self.baseline,
                self.rule,
                self.max_batch,
                module.encoder.patch_period,
                lambda index: next(iter(module.data.views_of([index]).samples())).views,
                progress.add_gradients,
            ),
            partial(module.data.views_of, geometry=module.encoder.geometry),
            module.device,
            module.data.class_names,
            self.overlay,
            drawn=frozenset(chosen[: self.figures]),
            cards=bool(tensorboard_loggers(trainer)),
            save_maps=self.save_maps,
            at_once=max(1, self.max_batch // len(module.data.views)),
            rank=trainer.global_rank,
            processes=trainer.world_size,
        )
        found = {}
        for explanation in share.explain(chosen, outcomes, report):
            found[explanation.index] = explanation
            progress.add_image()
        progress.close()
        return found
