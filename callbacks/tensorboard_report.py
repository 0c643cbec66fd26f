"""A run's pictures, curves and provenance in TensorBoard."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.tensorboard import SummaryWriter

from bench.evaluation import WholeRun, ZeroShotEvaluation
from bench.figures.classes import ClassPanel, class_maps
from bench.figures.confusion import confusion_matrices
from bench.figures.curves import Line, Measured, Panel, quality_curves, rate_curves
from bench.figures.flips import Flip, flip_gallery
from bench.figures.style import codec_looks, to_pixels
from bench.metrics import confusion_matrix
from bench.outcomes import Outcomes
from bench.runs.folder import RunFolder
from bench.runs.json_values import plain
from bench.runs.provenance import software
from bench.runs.view_record import ViewRecord
from callbacks.outcome_callback import OutcomeCallback, evaluation, tensorboard_loggers
from datamodules.base import DegradedDataModule
from datamodules.degradations import ORIGINAL, curves
from datamodules.errors import UserError

HEADLINES = {"precision": "precision", "loss": "loss (nats)"}


class TensorBoardReport(OutcomeCallback):
    """Writes to every TensorBoardLogger of the run, from the first process, when a test or predict run is complete.

    Scalars: `quality/<metric>/<codec>` with the quality as the step, `rate/precision/<codec>` with the mean bytes per
    image as the step. Images: `report/curves`, `rate` (precision against bits per pixel), `per_class`, `confusion`, and
    `flips/<view>`, a gallery of images whose prediction changed. Text: `config`, `provenance`. HParams: the run's
    data and model with the headline metrics.

    Args:
        gallery: Number of flipped images per view to show, those with the lowest index.
    """

    def __init__(self, gallery: int = 16) -> None:
        if gallery < 0:
            raise UserError(f"gallery {gallery} is out of range: choose at least 0")
        self.gallery = gallery

    def check_run(self, trainer: Trainer, data: DegradedDataModule) -> None:
        """Refuse a logger that cannot show pictures; see `bench.command_line.checks.Checks`."""
        if not tensorboard_loggers(trainer):
            found = " and ".join(type(logger).__name__ for logger in trainer.loggers) or "no logger"
            raise UserError(
                f"callbacks.TensorBoardReport cannot write to {found}: set `logger` to "
                "lightning.pytorch.loggers.TensorBoardLogger, or leave the callback out",
                option="trainer.logger",
            )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.check_run(trainer, evaluation(pl_module).data)

    def finish(self, trainer: Trainer, module: ZeroShotEvaluation) -> None:
        run = module.whole_run()
        if run is not None:
            for logger in tensorboard_loggers(trainer):
                self._write(logger, module, run)

    def _write(self, logger: TensorBoardLogger, module: ZeroShotEvaluation, run: WholeRun) -> None:
        writer: SummaryWriter = logger.experiment
        names = module.data.class_names
        if module.data.labelled:
            self._write_curves(writer, module.measured, module.encoder.name, len(run.outcomes[ORIGINAL]))
            self._write_classes(writer, run.outcomes, names)
        for view in list(run.outcomes)[1:]:
            pixels = to_pixels(flip_gallery(self._flips(module, run.outcomes, view), view))
            writer.add_image(f"report/flips/{view}", pixels, dataformats="HWC")
        self._write_text(writer, module, Path(logger.log_dir))
        headlines = {
            f"test/{metric}/{view}": found.metrics[metric]
            for view, found in module.measured.items()
            for metric in ("precision", "flip_rate")
            if metric in found.metrics
        }
        data, model = module.data.describe(), module.describe()
        parameters = {
            "encoder": model["encoder"],
            "pretrained": Path(str(model["pretrained"])).name,
            "templates": " | ".join(model["templates"]),
            "data": data["name"],
            "split": data["split"],
            "images": len(run.outcomes[ORIGINAL]),
        }
        logger.log_hyperparams(parameters, headlines)

    def _flips(self, module: ZeroShotEvaluation, outcomes: dict[str, Outcomes], view: str) -> list[Flip]:
        before, after = outcomes[ORIGINAL], outcomes[view]
        changed = (before.prediction != after.prediction).nonzero()[: self.gallery, 0]
        names = module.data.class_names
        samples = module.data.views_of(after.index[changed].tolist(), [view]).samples()
        return [
            Flip(
                index=sample.index,
                original=sample.views[ORIGINAL].numpy(),
                degraded=sample.views[view].numpy(),
                label=names[sample.label] if sample.label >= 0 else None,
                before=names[int(before.prediction[row])],
                after=names[int(after.prediction[row])],
                confidences=(float(before.confidence[row]), float(after.confidence[row])),
            )
            for row, sample in zip(changed.tolist(), samples, strict=True)
        ]

    def _write_classes(
        self, writer: SummaryWriter, outcomes: Mapping[str, Outcomes], class_names: Sequence[str]
    ) -> None:
        counts = {view: confusion_matrix(rows, len(class_names)).numpy() for view, rows in outcomes.items()}
        panels = [
            ClassPanel(f"{title} per class", np.stack([_shares(matrix, axis) for matrix in counts.values()], axis=1))
            for title, axis in (("recall", 1), ("precision", 0))
        ]
        classes = class_maps(panels, class_names, list(counts), "share of images", drops=False)
        writer.add_image("report/per_class", to_pixels(classes), dataformats="HWC")
        confusion = confusion_matrices(counts, class_names)
        writer.add_image("report/confusion", to_pixels(confusion), dataformats="HWC")

    def _write_curves(self, writer: SummaryWriter, views: Mapping[str, ViewRecord], encoder: str, images: int) -> None:
        from bench.statistics.intervals import wilson  # imports statsmodels and pandas
        from bench.statistics.rate_curves import codec_curves, setting

        metrics = {view: found.metrics for view, found in views.items()}

        def measured(view: str, metric: str = "precision") -> Measured:
            if metric != "precision":
                return Measured(metrics[view][metric])
            interval = wilson(views[view].correct or 0, images)
            return Measured(metrics[view][metric], interval.low, interval.high)

        qualities = curves(metrics, "quality")
        for metric in HEADLINES:
            for codec, points in qualities.items():
                for quality, view in points:
                    writer.add_scalar(f"quality/{metric}/{codec}", metrics[view][metric], int(quality))
                for quality in {points[0][0], points[-1][0]}:
                    writer.add_scalar(f"quality/{metric}/original", metrics[ORIGINAL][metric], int(quality))
        if qualities:
            panels = [
                Panel(
                    codec,
                    [Line(encoder, [(x, measured(view, metric)) for x, view in points], measured(ORIGINAL, metric))],
                    title,
                )
                for metric, title in HEADLINES.items()
                for codec, points in qualities.items()
            ]
            writer.add_image("report/curves", to_pixels(quality_curves(panels)), dataformats="HWC")
        bits = {view: of["bits_per_pixel"] for view, of in metrics.items() if "bits_per_pixel" in of}
        rates = codec_curves(bits)
        for codec, settings in rates.items():
            for view in settings:
                size = round(metrics[view]["encoded_bytes"])
                writer.add_scalar(f"rate/precision/{codec}", metrics[view]["precision"], size)
        if rates:
            looks = codec_looks(list(rates))
            lines = [
                Line(codec, [(bits[view], replace(measured(view), name=setting(view))) for view in settings], look=look)
                for (codec, settings), look in zip(rates.items(), looks.values(), strict=True)
            ]
            panel = Panel(encoder, lines, original=measured(ORIGINAL))
            writer.add_image("report/rate", to_pixels(rate_curves([panel])), dataformats="HWC")

    def _write_text(self, writer: SummaryWriter, module: ZeroShotEvaluation, folder: Path) -> None:
        provenance = {
            "model": module.describe(),
            "data": module.data.describe(),
            "software": software(module.data.degradations).to_json(),
        }
        writer.add_text("provenance", _code("json", json.dumps(plain(provenance), indent=1)))
        config = RunFolder(folder).config
        if config.exists():
            writer.add_text("config", _code("yaml", config.read_text(encoding="utf-8")))


def _shares(matrix: npt.NDArray[np.int64], axis: int) -> npt.NDArray[np.float64]:
    """The right ones among the images of each row (axis 1) or column (axis 0); NaN where there is no image."""
    total = matrix.sum(axis)
    shares = np.full(len(total), np.nan)
    np.divide(matrix.diagonal(), total, out=shares, where=total > 0)
    return shares


def _code(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"
