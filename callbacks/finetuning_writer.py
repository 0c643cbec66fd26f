"""What a fit leaves: the tuned encoder, the curve between it and the original, a record and a model card."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from bench.clip.zero_shot import ZeroShotClassifier
from bench.figures.evaluation import to_pixels
from bench.figures.interpolation import interpolation_figure
from bench.finetuning.export import CHECKPOINT_SUFFIX, model_card, save_weights
from bench.finetuning.interpolation import BEST, best_alpha, check_alphas, interpolate
from bench.finetuning.tuning import EncoderTuning
from bench.finetuning.validation import Measures, validate
from bench.runs.files import write_atomically
from bench.runs.finetuning_record import Export, FineTuningRecord, Training, TrainingViews
from bench.runs.folder import RunFolder
from bench.runs.json_values import plain
from bench.runs.provenance import DataRecord, ModelRecord, software
from bench.runs.record import RunInfo
from bench.runs.table import align
from callbacks.outcome_callback import run_folder
from datamodules.errors import UserError


class FineTuningWriter(Callback):
    """Writes to the run's folder, from the first process, when a fit is complete.

    `<name>.safetensors` (the encoder), `finetuning.json` (method, data, seeds, metrics), `MODEL_CARD.md`; to
    TensorBoard `interpolation/precision/<view>` with 100 alpha as the step, and a figure of precision on degraded
    against clean images along it. The weights are those of the best checkpoint if a ModelCheckpoint monitors something,
    else the last.

    Args:
        name: Of the encoder's file, without extension; reports show it.
        alphas: Shares of the tuned weights at which the way from the original is measured on the held-out images; the
            two ends always are.
        export: Shares to write as `<name>-<alpha>.safetensors` too; `best` is that of the highest mean precision.

    Raises:
        UserError: An argument is out of range, or the folder holds another fit.
    """

    def __init__(
        self,
        name: str = "encoder",
        alphas: Sequence[float] = (0.25, 0.5, 0.75),
        export: Sequence[float | Literal["best"]] = (),
    ) -> None:
        check_alphas("FineTuningWriter.alphas", alphas)
        check_alphas("FineTuningWriter.export", export)
        if not name or Path(name).name != name:
            raise UserError(f"FineTuningWriter.name {name!r} is no file name: leave out folders")
        shares = {float(alpha) for alpha in export if alpha != BEST}
        self.name, self.alphas = name, sorted({0.0, *map(float, alphas), *shares, 1.0})
        self.export, self.with_best = sorted(shares - {1.0}), BEST in export
        self._folder, self._started = RunFolder(Path()), 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Claim the folder; a fit that was interrupted there may go on."""
        if stage != "fit" or _trial(trainer):
            return
        self._folder = RunFolder(run_folder(trainer))
        if trainer.is_global_zero:
            if self._folder.finetuning.exists():
                raise UserError(
                    f"{str(self._folder.path)!r} holds a finished fit: choose another --trainer.logger.version"
                )
            self._folder.unfinished.mkdir(parents=True, exist_ok=True)
        self._started = time.time()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Export and record."""
        if _trial(trainer):
            return
        if not isinstance(pl_module, EncoderTuning):
            raise UserError(f"callbacks.FineTuningWriter cannot follow {type(pl_module).__name__}: leave it out")
        _take_best(trainer, pl_module)
        tuned, original = pl_module.tuned_state(), pl_module.original_state()
        curve = {alpha: self._measure(pl_module, interpolate(original, tuned, alpha)) for alpha in self.alphas}
        if trainer.is_global_zero:
            self._write(trainer, pl_module, original, tuned, curve)

    def _measure(self, module: EncoderTuning, state: Mapping[str, Tensor]) -> Measures:
        data, device = module.data, module.device
        classifier = ZeroShotClassifier(module.with_weights(state), data.class_names, module.templates).to(device)
        return validate(classifier, data.val_dataloader(), device)

    def _write(
        self,
        trainer: Trainer,
        module: EncoderTuning,
        original: Mapping[str, Tensor],
        tuned: Mapping[str, Tensor],
        curve: Mapping[float, Measures],
    ) -> None:
        folder, best = self._folder, best_alpha(curve)
        provenance = ModelRecord.of(module.encoder.provenance())
        shares = sorted({*self.export, *([best] if self.with_best else []), 1.0})
        exports = []
        for alpha in shares:
            file = f"{self.name}{'' if alpha == 1 else f'-{alpha:g}'}{CHECKPOINT_SUFFIX}"
            weights = interpolate(original, tuned, alpha)
            about = {"tuned_from": str(provenance.weights_sha256), "alpha": f"{alpha:g}"}
            digest = save_weights(weights, folder.path / file, module.encoder.activation, **about)
            exports.append(Export(alpha, alpha == best, file, digest))
        record = FineTuningRecord(
            name=self.name,
            method=module.method(),
            original=provenance,
            templates=tuple(module.templates),
            training=_training(trainer, module),
            data=DataRecord.of(module.data.describe()),
            images_per_class=module.data.training_labels(),
            validation_images=len(module.data.validation_positions),
            seed=module.data.seed,
            seed_everything=os.environ.get("PL_GLOBAL_SEED"),
            frozen_sha256=module.frozen_before,
            interpolation=curve,
            exports=tuple(exports),
            software=software(),
            run=RunInfo("fit", processes=trainer.world_size, seconds=round(time.time() - self._started, 3)),
        )
        card = model_card(plain(record.to_json()))
        if isinstance(trainer.logger, TensorBoardLogger):
            self._draw(trainer.logger, curve, card)
        write_atomically(folder.card, card)
        record.write(folder.path)
        folder.unfinished.rmdir()
        print(f"\n{_table(record)}\n\nwritten to {folder.path / exports[-1].file}")

    def _draw(self, logger: TensorBoardLogger, curve: Mapping[float, Measures], card: str) -> None:
        writer = logger.experiment
        for alpha, measures in curve.items():
            for view, values in measures.items():
                writer.add_scalar(f"interpolation/precision/{view}", values["precision"], round(100 * alpha))
        writer.add_image("interpolation/curve", to_pixels(interpolation_figure(curve)), dataformats="HWC")
        writer.add_text("model_card", card)


def _trial(trainer: Trainer) -> bool:
    return bool(trainer.fast_dev_run)  # type: ignore[attr-defined]  # Lightning sets it from another module


def _take_best(trainer: Trainer, module: EncoderTuning) -> None:
    """Load the weights of the best checkpoint, if one was watched for."""
    for checkpoint in trainer.checkpoint_callbacks:
        if isinstance(checkpoint, ModelCheckpoint) and checkpoint.monitor and checkpoint.best_model_path:
            saved = torch.load(checkpoint.best_model_path, map_location=module.device, weights_only=True)
            module.load_state_dict(saved["state_dict"])


def _training(trainer: Trainer, module: EncoderTuning) -> Training:
    draws = module.data.training_views
    assert draws is not None  # checked before fitting
    described: Any = draws.describe()
    codecs = {codec: (lowest, highest) for codec, (lowest, highest) in described["codecs"].items()}
    return Training(
        views=TrainingViews(codecs, described["law"], described["clean"], described["flip"]),
        epochs=trainer.current_epoch,
        steps=trainer.global_step,
        batch_size=module.data.batch_size,
        accumulated_batches=trainer.accumulate_grad_batches,
        precision=str(trainer.precision),
    )


def _table(record: FineTuningRecord) -> str:
    """Precision on the held-out images along the way from the original, a line per view."""
    rows = [["alpha", *(f"{alpha:g}" for alpha in record.interpolation)]]
    for view in record.before:
        rows.append([view, *(f"{measures[view]['precision']:.4f}" for measures in record.interpolation.values())])
    return (
        f"{record.name}: precision on {record.validation_images} held-out images, alpha of the tuned weights\n\n"
        f"{align(rows)}"
    )
