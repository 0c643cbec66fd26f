"""A run's pictures, curves and provenance in TensorBoard."""

import json
from pathlib import Path

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from bench.evaluation import ZeroShotEvaluation
from bench.figures.classes import ClassPanel, class_maps
from bench.figures.confusion import confusion_matrices
from bench.figures.curves import Line, Measured, Panel, quality_curves, rate_curves
from bench.figures.flips import Flip, flip_gallery
from bench.figures.style import to_pixels
from bench.outcomes import Outcomes
from bench.runs.record import software, to_json
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
        metrics, names = module.measured, module.data.class_names
        if module.data.labelled:
            self._write_curves(writer, metrics, module.encoder.name, len(run.outcomes[ORIGINAL]))
            panels = [
                ClassPanel(
                    f"{metric} per class",
                    np.stack([values[f"{metric}_per_class"].cpu().numpy() for values in metrics.values()], axis=1),
                )
                for metric in ("recall", "precision")
            ]
            classes = class_maps(panels, names, list(metrics), "share of images", drops=False)
            writer.add_image("report/per_class", to_pixels(classes), dataformats="HWC")
            confusion = confusion_matrices({view: of["confusion"].cpu().numpy() for view, of in metrics.items()}, names)
            writer.add_image("report/confusion", to_pixels(confusion), dataformats="HWC")
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
                original=sample.views[ORIGINAL].numpy(),
                degraded=sample.views[view].numpy(),
                label=names[sample.label] if sample.label >= 0 else None,
                before=names[int(before.prediction[row])],
                after=names[int(after.prediction[row])],
                confidences=(float(before.confidence[row]), float(after.confidence[row])),
            )
            for row, sample in zip(changed.tolist(), samples, strict=True)
        ]

    def _write_curves(
        self, writer: SummaryWriter, metrics: dict[str, dict[str, Tensor]], encoder: str, images: int
    ) -> None:
        from bench.statistics.intervals import wilson  # imports statsmodels and pandas
        from bench.statistics.rate_curves import codec_curves

        def measured(view: str, metric: str = "precision") -> Measured:
            value = float(metrics[view][metric])
            if metric != "precision":
                return Measured(value)
            interval = wilson(round(value * images), images)
            return Measured(value, interval.low, interval.high)

        qualities = curves(metrics, "quality")
        for metric in HEADLINES:
            for codec, points in qualities.items():
                for quality, view in points:
                    writer.add_scalar(f"quality/{metric}/{codec}", float(metrics[view][metric]), int(quality))
                for quality in {points[0][0], points[-1][0]}:
                    writer.add_scalar(f"quality/{metric}/original", float(metrics[ORIGINAL][metric]), int(quality))
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
        bits = {view: float(of["bits_per_pixel"]) for view, of in metrics.items() if "bits_per_pixel" in of}
        rates = codec_curves(bits)
        for codec, views in rates.items():
            for view in views:
                size = round(float(metrics[view]["encoded_bytes"]))
                writer.add_scalar(f"rate/precision/{codec}", float(metrics[view]["precision"]), size)
        if rates:
            lines = [Line(codec, [(bits[view], measured(view)) for view in views]) for codec, views in rates.items()]
            panel = Panel(encoder, lines, original=measured(ORIGINAL))
            writer.add_image("report/rate", to_pixels(rate_curves([panel])), dataformats="HWC")

    def _write_text(self, writer: SummaryWriter, module: ZeroShotEvaluation, folder: Path) -> None:
        provenance = {
            "model": module.describe(),
            "data": module.data.describe(),
            "software": software(module.data.degradations),
        }
        writer.add_text("provenance", _code("json", json.dumps(to_json(provenance), indent=1)))
        config = folder / "config.yaml"
        if config.exists():
            writer.add_text("config", _code("yaml", config.read_text(encoding="utf-8")))


def _code(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"
