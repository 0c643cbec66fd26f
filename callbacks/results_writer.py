"""Writes what a run measured: `results.json`, the per-image table, and the table on the screen."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch.distributed
from lightning.pytorch import Callback, LightningModule, Trainer

from bench.evaluation import ZeroShotEvaluation
from bench.outcomes import Outcomes
from bench.results import RESULTS, TABLE, software, write_atomically, write_record
from bench.tables import per_image_csv, screen_table
from datamodules.errors import UserError
from datamodules.views import Batch


@runtime_checkable
class Recorder(Protocol):
    """A callback that adds to the result record."""

    def record(self) -> dict[str, Any]:
        """JSON-able entries by name, complete when the epoch has ended; the first process is asked."""


class ResultsWriter(Callback):
    """Collects the outcomes of a test or predict run and writes them from the first process when the run is complete.

    The run's folder is the logger's, or the trainer's `default_root_dir` without a logger. It gets `results.json` (all
    metrics with their provenance, and what the trainer's other callbacks have to `record`) and `images.csv` (one line
    per image and view).

    Raises:
        UserError: The folder already holds the results of another run.
    """

    def __init__(self) -> None:
        self._parts: list[dict[str, Outcomes]] = []
        self._paths: dict[int, str | None] = {}
        self._started = 0.0
        self._folder = Path()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._folder = run_folder(trainer)
        if (self._folder / RESULTS).exists():
            raise UserError(
                f"{str(self._folder / RESULTS)!r} holds the results of another run: choose another folder with "
                "--trainer.logger.save_dir or --trainer.default_root_dir"
            )
        self._parts, self._paths, self._started = [], {}, time.time()

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._collect(outputs, batch)

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._collect(outputs, batch)

    def _collect(self, outcomes: dict[str, Outcomes], batch: Batch) -> None:
        self._parts.append({view: rows.cpu() for view, rows in outcomes.items()})
        self._paths |= dict(zip(batch.indices.tolist(), batch.paths, strict=True))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer, pl_module)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer, pl_module)

    def _write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, ZeroShotEvaluation)
        outcomes = {view: Outcomes.concatenate([part[view] for part in self._parts]) for view in self._parts[0]}
        gathered = gather((outcomes, self._paths, pl_module.data.skipped))
        if not gathered:
            return
        outcomes = {view: Outcomes.concatenate([rank[0][view] for rank in gathered]) for view in outcomes}
        paths = {index: path for rank in gathered for index, path in rank[1].items()}
        skipped = sorted((image for rank in gathered for image in rank[2]), key=lambda image: image.index)
        images = len(paths)
        if not images:
            raise UserError(f"none of the {len(skipped)} images could be read: check the data root")
        record = {
            "images": images,
            "metrics": pl_module.measured,
            "data": pl_module.data.describe(),
            "model": pl_module.describe(),
            "skipped": [vars(image) for image in skipped],
            "software": software(),
            "run": {
                "command": trainer.state.fn,
                "processes": trainer.world_size,
                "seconds": round(time.time() - self._started, 3),
            },
        }
        for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set in Trainer.__init__ by a connector
            if isinstance(callback, Recorder):
                record |= callback.record()
        self._folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self._folder / TABLE, per_image_csv(outcomes, paths))
        write_record(self._folder, record)
        print(f"\n{screen_table(record)}\n\nwritten to {self._folder}")


def run_folder(trainer: Trainer) -> Path:
    """Where a run's files go; every process must ask, since the first one tells the others."""
    return Path(trainer.log_dir or trainer.default_root_dir)


def gather(value: Any) -> Sequence[Any]:
    """The values of all processes, in rank order, on the first one; nothing on the others."""
    if not torch.distributed.is_initialized():
        return [value]
    first = torch.distributed.get_rank() == 0
    values: list[Any] | None = [None] * torch.distributed.get_world_size() if first else None
    torch.distributed.gather_object(value, values)
    return values if values is not None else []
