"""A run's pictures, curves and provenance in TensorBoard."""

import json
from pathlib import Path
from typing import ClassVar

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.tensorboard import SummaryWriter

from bench.evaluation import WholeRun, ZeroShotEvaluation
from bench.figures.flips import Flip, flip_gallery
from bench.figures.tensorboard import write_figure
from bench.outcomes import Outcomes
from bench.runs.answer_text import answer_markdown
from bench.runs.folder import RunFolder
from bench.runs.json_values import plain
from bench.runs.provenance import software
from callbacks.outcome_callback import OutcomeCallback, evaluation, tensorboard_loggers
from callbacks.tensorboard_classes import write_classes
from callbacks.tensorboard_curves import RunCurves
from datamodules.base import DegradedDataModule
from datamodules.degradations import ORIGINAL
from datamodules.errors import UserError

_WHERE = (
    "*Images* shows the curves under `answer` with their intervals (95%), the pixels under `attribution` where the run "
    "has them, and what changed under `report`; *Scalars* every number; *HParams* compares runs."
)


class TensorBoardReport(OutcomeCallback):
    """Writes to every TensorBoardLogger of the run, from the first process, when a test or predict run is complete.

    Text: `answer`, what each view costs and how sure that is; `config`, `provenance`. Images, each for one statement,
    legible as a thumbnail: `answer/<drop | precision | loss>/<codec>` over quality, `answer/rate`, precision over bits
    per pixel; of the six views with the largest drop, `report/recall/<view>` and `report/confusions/<view>`;
    `report/flips/<view>`, images whose prediction changed. `report_full_size/` has `curves`, `rate`, `per_class` and
    `confusion` of all views. Scalars: `quality/<metric>/<codec>` with the quality as the step,
    `rate/precision/<codec>` with the mean bytes per image as the step. HParams: the run's data, model, weights and
    precision mode with the headline metrics.

    Args:
        gallery: Number of flipped images per view to show: those whose loss rose most, or without labels those whose
            two predictions were surest. 0 writes no `report/flips`.
    """

    refuses_adaptation: ClassVar[str] = "its intervals and comparisons are those of ordinary tests"

    def __init__(self, gallery: int = 6) -> None:
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
        self._write_text(writer, module, Path(logger.log_dir), len(run.outcomes[ORIGINAL]))
        if module.data.labelled:
            RunCurves(module.encoder.name, module.measured, len(run.outcomes[ORIGINAL])).write(writer)
            write_classes(writer, module.measured, run.outcomes, module.data.class_names)
        for view in list(run.outcomes)[1:] if self.gallery else []:
            flips = self._flips(module, run.outcomes, view)
            statement = f"{module.measured[view].flipped:,} of {len(run.outcomes[ORIGINAL]):,} predictions changed"
            gallery = flip_gallery(flips, view, f"{statement},\nthe largest effects first")
            write_figure(writer, f"report/flips/{view}", gallery)
        order = [("precision", [ORIGINAL]), ("drop", list(run.outcomes)), ("precision", list(run.outcomes)[1:])]
        headlines = {  # TensorBoard shows the first five
            f"test/{metric}/{view}": module.measured[view].metrics[metric]
            for metric, views in [*order, ("flip_rate", list(run.outcomes))]
            for view in views
            if metric in module.measured[view].metrics
        }
        data, model = module.data.describe(), module.describe()
        parameters = {
            "encoder": model["encoder"],
            "pretrained": Path(str(model["pretrained"])).name,
            "weights": str(model["weights_sha256"])[:12],
            "precision_mode": model["precision"],
            "templates": " | ".join(model["templates"]),
            "data": data["name"],
            "split": data["split"],
            "images": len(run.outcomes[ORIGINAL]),
        }
        logger.log_hyperparams(parameters, headlines)

    def _flips(self, module: ZeroShotEvaluation, outcomes: dict[str, Outcomes], view: str) -> list[Flip]:
        before, after = outcomes[ORIGINAL], outcomes[view]
        changed = (before.prediction != after.prediction).nonzero()[:, 0]
        effect = before.confidence + after.confidence  # without labels: sure of one class, then of another
        if module.data.labelled:
            effect = after.loss - before.loss
        changed = changed[effect[changed].argsort(descending=True, stable=True)[: self.gallery]]
        samples = module.data.views_of(after.index[changed].tolist(), [view]).samples()
        names = module.data.class_names
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

    def _write_text(self, writer: SummaryWriter, module: ZeroShotEvaluation, folder: Path, images: int) -> None:
        head = f"{module.encoder.name} on {module.data.describe()['name']}/{module.data.describe()['split']}"
        text = answer_markdown(module.measured, images, head, _WHERE, labelled=module.data.labelled)
        writer.add_text("answer", text)
        provenance = {
            "model": module.describe(),
            "data": module.data.describe(),
            "software": software(module.data.degradations).to_json(),
        }
        writer.add_text("provenance", _code("json", json.dumps(plain(provenance), indent=1)))
        config = RunFolder(folder).config
        if config.exists():
            writer.add_text("config", _code("yaml", config.read_text(encoding="utf-8")))


def _code(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"
