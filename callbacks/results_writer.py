"""Writes what a run measured: `results.json`, the per-image table, and the table on the screen."""

import time
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lightning.pytorch import LightningModule, Trainer

from bench.evaluation import ZeroShotEvaluation
from bench.outcomes import Outcomes
from bench.results import RESULTS, TABLE, software, write_atomically, write_record
from bench.tables import per_image_csv, screen_table
from callbacks.outcome_callback import OutcomeCallback, gather, run_folder
from datamodules.errors import UserError
from datamodules.views import Batch


@runtime_checkable
class Recorder(Protocol):
    """A callback that adds to the result record."""

    def record(self) -> dict[str, Any]:
        """JSON-able entries by name, complete when the epoch has ended; the first process is asked."""


class ResultsWriter(OutcomeCallback):
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

    def collect(self, module: ZeroShotEvaluation, outcomes: dict[str, Outcomes], batch: Batch) -> None:
        self._parts.append({view: rows.cpu() for view, rows in outcomes.items()})
        self._paths |= dict(zip(batch.indices.tolist(), batch.paths, strict=True))

    def finish(self, trainer: Trainer, module: ZeroShotEvaluation) -> None:
        outcomes = {view: Outcomes.concatenate([part[view] for part in self._parts]) for view in self._parts[0]}
        gathered = gather((outcomes, self._paths, module.data.skipped))
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
            "metrics": module.measured,
            "data": module.data.describe(),
            "model": module.describe(),
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
