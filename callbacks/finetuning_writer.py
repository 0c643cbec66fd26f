"""What a fit leaves: the tuned encoder, the curve between it and the original, a record and a model card."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from bench.figures.interpolation import Step, interpolation_curves
from bench.figures.tensorboard import write_figure
from bench.finetuning.export import configuration, model_card
from bench.finetuning.interpolation import BEST, best_alpha, check_alphas, interpolate
from bench.finetuning.optimisation import nothing_learnt, take_average
from bench.finetuning.tuning import EncoderTuning, Ends
from bench.finetuning.validation import Measures, validate
from bench.runs.files import write_atomically
from bench.runs.finetuning_record import FINETUNING, Export, FineTuningRecord
from bench.runs.folder import FAILED, RunFolder
from bench.runs.provenance import DataRecord, ModelRecord, software
from bench.runs.record import RESULTS, RunInfo, Skipped
from bench.runs.table import align
from callbacks.outcome_callback import require_shared, run_folder, tensorboard_loggers
from datamodules.degradations import ORIGINAL
from datamodules.errors import UserError
from datamodules.text import printable

_LONGEST_NAME = 200  # bytes, of 255 that files can have: a share, an ending and more for a moment are added
_RECORDS = (FINETUNING, RESULTS, FAILED)


class FineTuningWriter(Callback):
    """Writes to the run's folder, from the first process, when a fit is complete.

    `<name>.safetensors` (the encoder; with `<name>.json` where open_clip does not know its configuration),
    `finetuning.json` (method, data, seeds, metrics), `MODEL_CARD.md`; to every TensorBoardLogger
    `interpolation/precision/<view>` with 100 alpha as the step, and a figure of precision on degraded against clean
    images along it. The weights are those of the best checkpoint if a ModelCheckpoint monitors something, else the
    last.

    Args:
        name: Of the encoder's file, without extension; reports show it.
        alphas: Shares of the tuned weights at which the way from the original is measured on the held-out images; the
            two ends always are.
        export: Shares to write as `<name>-<alpha>.safetensors` too; `best` is that of the highest mean precision.

    Raises:
        UserError: An argument is out of range, or the folder holds another fit, or nodes do not share it.
    """

    def __init__(
        self,
        name: str = "encoder",
        alphas: Sequence[float] = (0.25, 0.5, 0.75),
        export: Sequence[float | Literal["best"]] = (),
    ) -> None:
        check_alphas("FineTuningWriter.alphas", alphas)
        check_alphas("FineTuningWriter.export", export)
        _check_name(name)
        shares = {float(alpha) for alpha in export if alpha != BEST}
        self.name, self.alphas = name, sorted({0.0, *map(float, alphas), *shares, 1.0})
        self.export, self.with_best = sorted(shares - {1.0}), BEST in export
        self._folder, self._started = Path(), 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Claim the folder; a fit that was interrupted there may go on."""
        if stage != "fit" or _trial(trainer):
            return
        self._folder = run_folder(trainer)
        folder = RunFolder(self._folder)
        if trainer.is_global_zero:
            if folder.finetuning.exists():
                raise UserError(f"{str(self._folder)!r} holds a finished fit: choose another --trainer.logger.version")
            folder.unfinished.mkdir(parents=True, exist_ok=True)
            if not folder.journal.acquire():
                raise UserError(
                    f"another process fits in {str(self._folder)!r}: wait for it, or choose another "
                    "--trainer.logger.version"
                )
        require_shared(trainer, folder.unfinished)
        self._started = time.time()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the folder back, so that the fit may go on in it."""
        if trainer.is_global_zero and not _trial(trainer):
            RunFolder(self._folder).journal.close(forget=False)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Export and record.

        Raises:
            UserError: Nothing was learnt.
        """
        if _trial(trainer):
            return
        if not isinstance(pl_module, EncoderTuning):
            raise UserError(f"callbacks.FineTuningWriter cannot follow {type(pl_module).__name__}: leave it out")
        if not pl_module.learnt:
            raise nothing_learnt()
        pl_module.to(trainer.strategy.root_device)  # which Lightning has taken it from
        take_average(trainer, pl_module)
        _take_best(trainer, pl_module)
        ends = pl_module.ends()
        curve = {alpha: self._measure(pl_module, interpolate(*ends, alpha)) for alpha in self.alphas}
        skipped = tuple(Skipped(image.index, image.path, image.reason) for image in pl_module.unreadable())
        if trainer.is_global_zero:
            self._write(trainer, pl_module, ends, curve, skipped)
        pl_module.cpu()

    def _measure(self, module: EncoderTuning, state: Mapping[str, Tensor]) -> Measures:
        data, device = module.data, module.device
        batches = (data.on_before_batch_transfer(batch, 0) for batch in data.val_dataloader())
        return validate(module.classifier(state), batches, device)

    def _write(
        self,
        trainer: Trainer,
        module: EncoderTuning,
        ends: Ends,
        curve: Mapping[float, Measures],
        skipped: tuple[Skipped, ...],
    ) -> None:
        folder, best, encoder = RunFolder(self._folder), best_alpha(curve), module.encoder
        shares = sorted({*self.export, *([best] if self.with_best else []), 1.0})
        files = module.export(folder.path, self.name, shares, ends)
        unread = {image.index for image in skipped}
        record = FineTuningRecord(
            name=self.name,
            method=module.method(),
            original=ModelRecord.of(encoder.provenance()),
            templates=module.templates,
            training=module.course(),
            data=DataRecord.of(module.data.describe()),
            images_per_class=module.data.training_labels(unread),
            validation_images=len(set(module.data.validation_positions) - unread),
            seed=module.data.seed,
            seed_everything=os.environ.get("PL_GLOBAL_SEED"),
            frozen_sha256=module.frozen_before,
            interpolation=curve,
            exports=tuple(Export(alpha, alpha == best, *files[alpha]) for alpha in shares),
            software=software(),
            run=RunInfo(
                "fit", trainer.world_size, trainer.strategy.root_device.type, round(time.time() - self._started, 3)
            ),
            skipped=skipped,
            members=module.members,
            validation_every=module.data.validation_every,
        )
        card = model_card(record, module.card, with_configuration=configuration(encoder) is not None)
        for logger in tensorboard_loggers(trainer):
            self._draw(logger, curve, card)
        write_atomically(folder.card, card)
        record.write(folder.path)
        folder.journal.close()
        print(f"\n{_table(record)}\n\nwritten to {printable(str(folder.path / record.exports[-1].file))}")

    def _draw(self, logger: TensorBoardLogger, curve: Mapping[float, Measures], card: str) -> None:
        writer = logger.experiment
        for alpha, measures in curve.items():
            for view, values in measures.items():
                writer.add_scalar(f"interpolation/precision/{view}", values["precision"], round(100 * alpha))
        ways = {
            view: [Step(alpha, of[ORIGINAL]["precision"], of[view]["precision"]) for alpha, of in sorted(curve.items())]
            for view in next(iter(curve.values()))
            if view != ORIGINAL
        }
        figure = interpolation_curves(ways, "precision on the view")
        write_figure(writer, "interpolation/curve", figure)
        writer.add_text("model_card", card)
        writer.flush()  # what its thread could not write is raised here


def _check_name(name: str) -> None:
    if not name or Path(name).name != name or not name.isprintable() or name.startswith("."):
        raise UserError(
            f"FineTuningWriter.name {name!r} is no file name: leave out folders, a leading dot, what does not print"
        )
    if (size := len(name.encode())) > _LONGEST_NAME:
        raise UserError(f"FineTuningWriter.name {name[:20]!r}... has {size} bytes: choose at most {_LONGEST_NAME}")
    if f"{name}.json".lower() in _RECORDS:
        raise UserError(f"FineTuningWriter.name {name!r} is that of a record, {name}.json: choose another")


def _trial(trainer: Trainer) -> bool:
    return bool(trainer.fast_dev_run)  # type: ignore[attr-defined]  # Lightning sets it from another module


def _take_best(trainer: Trainer, module: EncoderTuning) -> None:
    """Load the weights of the best checkpoint, if one was watched for."""
    for checkpoint in trainer.checkpoint_callbacks:
        if isinstance(checkpoint, ModelCheckpoint) and checkpoint.monitor and checkpoint.best_model_path:
            saved = torch.load(checkpoint.best_model_path, map_location=module.device, weights_only=True)
            module.load_state_dict(saved["state_dict"])


def _table(record: FineTuningRecord) -> str:
    """Precision on the held-out images along the way from the original, a line per view."""
    rows = [["alpha", *(f"{alpha:g}" for alpha in record.interpolation)]]
    for view in record.before:
        rows.append([view, *(f"{measures[view]['precision']:.4f}" for measures in record.interpolation.values())])
    return (
        f"{record.name}: precision on {record.validation_images} held-out images, "
        f"alpha of the tuned weights\n\n{align(rows)}"
    )
