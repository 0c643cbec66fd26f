"""Explains, pixel by pixel, what compression did to the loss of chosen images of a test run."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from tqdm import tqdm

from bench.attribution.adaptive import Adaptive
from bench.attribution.explainer import Explained, Explainer
from bench.attribution.explanations import Explanation, summary
from bench.attribution.overlay import Overlay
from bench.attribution.quadrature import Quadrature
from bench.attribution.selection import First, Indices, Selection
from bench.evaluation import ZeroShotEvaluation
from bench.figures.attributions import AttributedView, attribution_picture
from bench.figures.style import to_pixels
from bench.outcomes import Outcomes
from bench.runs.folder import RunFolder
from bench.runs.gathering import gather
from callbacks.attribution_report import AttributionReport
from callbacks.outcome_callback import evaluation, run_folder
from datamodules.base import DegradedDataModule
from datamodules.degradations import ORIGINAL
from datamodules.errors import UserError
from datamodules.views import Batch

_FIRST, _ADAPTIVE, _OVERLAY = First(), Adaptive(), Overlay()


@dataclass(frozen=True)
class _Piece:
    """What one image adds to the report: it travels from the process that made it to the first one."""

    explanation: Explanation
    figure: npt.NDArray[np.uint8] | None
    arrays: dict[str, npt.NDArray[Any]] | None


class IntegratedGradients(Callback):
    """Attributes `loss(view) - loss(baseline)` of chosen images to pixels, for every degraded view, when a test ends.

    Images are chosen from the outcomes of the whole run, read again and shared among the processes; the first process
    writes. Gradients are taken in float32 whatever the run's precision, TF32 excluded; predictions and scores are those
    of the run.

    Files, in `attributions` in the run's folder: `<index>.png`, `table.csv` (columns of the paper's Tables 1 to 6,
    with residuals), and on request `maps/<index>.npz` with `views`, `images` uint8 [V, 3, S, S], `targets` and
    `attributions` float32 [T, 3, S, S]. A summary is recorded as `attribution` in `results.json`. To the run's
    TensorBoardLogger, if it has one: images `attribution/<index>`, texts `attribution/table`, `attribution/legend` and
    `attribution/warning` (where a rule hit its cap), scalars `attribution/<quantity>/<view>` (means over images; median
    and 95th percentile of the residual), histograms `attribution_images/<quantity>/<view>`.

    Args:
        images: Which images: `bench.attribution.First`, `Indices`, `PerClass`, `LargestLossIncrease` or `Flipped`.
        baseline: The view where the path starts.
        rule: How the path integral is taken; see `bench.attribution.quadrature` and `bench.attribution.adaptive`.
        overlay: How attributions are drawn.
        figures: Number of images to draw, the first of the chosen; the table and the statistics hold all of them.
        save_maps: Whether to write the `.npz` files, 0.6 MB per image and view at 224 pixels before compression.
        max_batch: Images per forward and backward pass and process, the bound on memory.

    Raises:
        UserError: The baseline, the selection's view or an index is not part of the run, or a number is out of range.
    """

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
        self._record: dict[str, Any] = {}
        self._folder = Path()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "predict":
            rank_zero_info("IntegratedGradients explains the loss of labelled images, which `predict` does not measure")
        if stage != "test":
            return
        self.check_run(trainer, evaluation(pl_module).data)
        self._folder = RunFolder(run_folder(trainer)).attributions
        self._record = {}

    def check_run(self, trainer: Trainer, data: DegradedDataModule) -> None:
        """Refuse views and images that the run does not have; see `bench.command_line.checks.Checks`."""
        chooses_by = self.images.view
        for name in (self.baseline, chooses_by):
            if name is not None and name not in data.views:
                raise UserError(
                    f"IntegratedGradients: {name!r} is not a view of this run: choose one of {', '.join(data.views)}, "
                    "or add it to --data.degradations"
                )
        if chooses_by == self.baseline:
            raise UserError(
                f"IntegratedGradients chooses images by view {chooses_by!r}, which is its baseline: choose another view"
            )
        if set(data.views) <= {ORIGINAL, self.baseline}:
            raise UserError(
                f"IntegratedGradients has nothing to compare with {self.baseline!r}: add a view to --data.degradations"
            )
        if isinstance(self.images, Indices):
            seen = set(data.positions)
            for index in self.images.indices:
                if index not in seen:
                    raise UserError(f"IntegratedGradients: image {index} is not part of this run: choose another index")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose, explain and write, so that the summary is there when the results are written at the test's end."""
        module = evaluation(pl_module)
        chosen, outcomes = trainer.strategy.broadcast(self._choose(module))
        if not chosen:
            rank_zero_info(f"IntegratedGradients: {self.images} chooses none of this run's images, nothing to explain")
            return
        writer = _tensorboard(trainer) if trainer.is_global_zero else None
        report = AttributionReport(self._folder, writer)
        found = self._explain(trainer, module, chosen, outcomes, report)
        if not found:
            return
        explanations = [found[index] for index in chosen]
        choices = {"baseline": self.baseline, "rule": _described(self.rule), "selection": _described(self.images)}
        numbers = summary(explanations)
        self._record = choices | numbers
        warning = _cap_warning(explanations)
        if warning:
            rank_zero_warn(f"IntegratedGradients: {warning}")
        legend = f"{self.overlay.legend()}; compared with {self.baseline}"
        report.finish(explanations, numbers, module.data.class_names, legend, warning)

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
        return {"attribution": self._record} if self._record else {}

    def _explain(
        self,
        trainer: Trainer,
        module: ZeroShotEvaluation,
        chosen: Sequence[int],
        outcomes: dict[str, Outcomes],
        report: AttributionReport,
    ) -> dict[int, Explanation]:
        """Explanations by index on the first process, which writes pictures and maps; nothing on the others."""
        explainer = Explainer(module.classifier, self.baseline, self.rule, self.max_batch, module.encoder.patch_period)
        own = chosen[trainer.global_rank :: trainer.world_size]
        longest = len(chosen[:: trainer.world_size])  # every process takes part in every gathering
        at_once = max(1, self.max_batch // len(module.data.views))
        drawn = set(chosen[: self.figures])
        found: dict[int, Explanation] = {}
        quiet = not trainer.is_global_zero or trainer.progress_bar_callback is None
        with tqdm(total=len(chosen), desc="Integrated Gradients", unit="image", disable=quiet) as progress:
            for start in range(0, longest, at_once):
                indices = own[start : start + at_once]
                explained = explainer.explain(self._batch(module, indices), outcomes) if indices else []
                pieces = [self._piece(module, one, one.explanation.index in drawn) for one in explained]
                for piece in (piece for part in gather(pieces) for piece in part):
                    index = piece.explanation.index
                    found[index] = piece.explanation
                    if piece.figure is not None:
                        report.add_figure(index, piece.figure)
                    if piece.arrays is not None:
                        report.add_maps(index, piece.arrays)
                    progress.update()
        return found

    def _batch(self, module: ZeroShotEvaluation, indices: Sequence[int]) -> Batch:
        views = module.data.views_of(indices)
        return views.collate(list(views.samples())).to(module.device)

    def _piece(self, module: ZeroShotEvaluation, one: Explained, draw: bool) -> _Piece:
        figure, arrays, names = None, None, module.data.class_names
        if draw:
            title = f"image {one.explanation.index}, true class: {names[one.explanation.label]}"
            figure = to_pixels(attribution_picture(title, _columns(one, names), self.overlay, self.baseline))
        if self.save_maps:
            arrays = {
                "views": np.array(list(one.images)),
                "images": np.stack(list(one.images.values())),
                "targets": np.array(list(one.attributions)),
                "attributions": np.stack(list(one.attributions.values())),
            }
        return _Piece(one.explanation, figure, arrays)


def _tensorboard(trainer: Trainer) -> Any:
    """The SummaryWriter of the run's first TensorBoardLogger, or None."""
    return next((logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)), None)


def _columns(one: Explained, class_names: Sequence[str]) -> list[AttributedView]:
    found = one.explanation
    return [
        AttributedView(
            name=view,
            image=image,
            predicted=class_names[found.predictions[view]],
            score=found.scores[view],
            total=found.views[view].total if view in found.views else None,
            attribution=one.attributions.get(view),
        )
        for view, image in one.images.items()
    ]


def _described(choice: Quadrature | Selection) -> dict[str, Any]:
    return {"name": type(choice).__name__, **asdict(choice)}  # type: ignore[call-overload]  # all are dataclasses


def _cap_warning(explanations: Sequence[Explanation]) -> str | None:
    views = [view for image in explanations for view in image.views.values()]
    capped = sum(not view.converged for view in views)
    if not capped:
        return None
    return f"{capped} of {len(views)} maps hit the rule's cap before they met its tolerance: raise its max_points"
