"""A run's pictures, curves and provenance in TensorBoard."""

import json
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from bench.evaluation import ZeroShotEvaluation
from bench.figures.evaluation import (
    Flip,
    class_figure,
    confusion_figure,
    encoded_bits,
    flip_gallery,
    quality_figure,
    rate_figure,
    side_by_side,
    to_pixels,
)
from bench.metrics import confusion_matrix
from bench.outcomes import Outcomes
from bench.runs.json_values import plain
from bench.runs.provenance import software
from bench.runs.record import ViewRecord
from callbacks.outcome_callback import OutcomeCallback, evaluation
from datamodules.base import DegradedDataModule
from datamodules.degradations import ORIGINAL, curves
from datamodules.errors import UserError

HEADLINES = {"precision": "precision", "loss": "loss (nats)"}


class TensorBoardReport(OutcomeCallback):
    """Writes to the run's TensorBoardLogger, from the first process, when a test or predict run is complete.

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
        """Refuse a logger that cannot show pictures; see `bench.cli.Checks`."""
        if not isinstance(trainer.logger, TensorBoardLogger):
            raise UserError(
                f"callbacks.TensorBoardReport cannot write to {type(trainer.logger).__name__}: set --trainer.logger to "
                "lightning.pytorch.loggers.TensorBoardLogger, or leave the callback out"
            )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.check_run(trainer, evaluation(pl_module).data)

    def finish(self, trainer: Trainer, module: ZeroShotEvaluation) -> None:
        run = module.whole_run()
        if run is None:
            return
        assert isinstance(trainer.logger, TensorBoardLogger)
        writer: SummaryWriter = trainer.logger.experiment
        names = module.data.class_names
        metrics = {view: _tensors(found, run.outcomes[view], len(names)) for view, found in module.measured.items()}
        if module.data.labelled:
            self._write_curves(writer, metrics)
            writer.add_image("report/per_class", to_pixels(class_figure(metrics, names)), dataformats="HWC")
            writer.add_image("report/confusion", to_pixels(confusion_figure(metrics, names)), dataformats="HWC")
        for view in list(metrics)[1:]:
            pixels = to_pixels(flip_gallery(self._flips(module, run.outcomes, view), view))
            writer.add_image(f"report/flips/{view}", pixels, dataformats="HWC")
        self._write_text(writer, module, Path(trainer.logger.log_dir))
        headlines = {
            f"test/{metric}/{view}": float(values[metric])
            for view, values in metrics.items()
            for metric in ("precision", "flip_rate")
            if metric in values
        }
        data, model = module.data.describe(), module.describe()
        parameters = {
            "encoder": model["encoder"],
            "pretrained": Path(str(model["pretrained"])).name,
            "templates": " | ".join(model["templates"]),
            "data": data["name"],
            "split": data["split"],
            "images": data["images_selected"],
        }
        trainer.logger.log_hyperparams(parameters, headlines)

    def _flips(self, module: ZeroShotEvaluation, outcomes: dict[str, Outcomes], view: str) -> list[Flip]:
        before, after = outcomes[ORIGINAL], outcomes[view]
        changed = (before.prediction != after.prediction).nonzero()[: self.gallery, 0]
        names = module.data.class_names
        samples = module.data.views_of(after.index[changed].tolist(), [view]).samples()
        return [
            Flip(
                index=sample.index,
                pair=side_by_side(sample.views[ORIGINAL], sample.views[view]),
                label=names[sample.label] if sample.label >= 0 else None,
                before=names[int(before.prediction[row])],
                after=names[int(after.prediction[row])],
                confidences=(float(before.confidence[row]), float(after.confidence[row])),
            )
            for row, sample in zip(changed.tolist(), samples, strict=True)
        ]

    def _write_curves(self, writer: SummaryWriter, metrics: dict[str, dict[str, Tensor]]) -> None:
        from bench.statistics.rate_curves import codec_curves  # imports statsmodels and pandas

        qualities = curves(metrics, "quality")
        for metric in HEADLINES:
            for codec, points in qualities.items():
                for quality, view in points:
                    writer.add_scalar(f"quality/{metric}/{codec}", float(metrics[view][metric]), int(quality))
                for quality in {points[0][0], points[-1][0]}:
                    writer.add_scalar(f"quality/{metric}/original", float(metrics[ORIGINAL][metric]), int(quality))
        if qualities:
            writer.add_image("report/curves", to_pixels(quality_figure(metrics, HEADLINES)), dataformats="HWC")
        rates = codec_curves(encoded_bits(metrics))
        for codec, views in rates.items():
            for view in views:
                size = round(float(metrics[view]["encoded_bytes"]))
                writer.add_scalar(f"rate/precision/{codec}", float(metrics[view]["precision"]), size)
        if rates:
            writer.add_image("report/rate", to_pixels(rate_figure(metrics)), dataformats="HWC")

    def _write_text(self, writer: SummaryWriter, module: ZeroShotEvaluation, folder: Path) -> None:
        provenance = {
            "model": module.describe(),
            "data": module.data.describe(),
            "software": software(module.data.degradations).to_json(),
        }
        writer.add_text("provenance", _code("json", json.dumps(plain(provenance), indent=1)))
        config = folder / "config.yaml"
        if config.exists():
            writer.add_text("config", _code("yaml", config.read_text(encoding="utf-8")))


def _tensors(found: ViewRecord, rows: Outcomes, classes: int) -> dict[str, Tensor]:
    values = {name: torch.tensor(value, dtype=torch.float64) for name, value in found.metrics.items()}
    if found.classes is not None:
        matrix = confusion_matrix(rows, classes)
        right = matrix.diagonal().double()
        values |= {
            "confusion": matrix,
            "precision_per_class": right / matrix.sum(0).clamp(1),
            "recall_per_class": right / matrix.sum(1).clamp(1),
        }
    return values


def _code(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"
