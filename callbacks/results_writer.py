"""Writes what a run measured, bit by bit while it runs, and takes up what an interrupted run has written."""

import os
import time
import warnings
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_info

from bench.audit.dataset import sample_summary
from bench.command_line.checks import check_trainer
from bench.evaluation import WholeRun, ZeroShotEvaluation
from bench.metrics import support
from bench.outcomes import Outcomes
from bench.runs.files import write_atomically
from bench.runs.folder import RunFolder, find_unfinished
from bench.runs.parquet import require_parquet, write_parquet
from bench.runs.provenance import DataRecord, ModelRecord, software
from bench.runs.record import RunInfo, RunRecord, Skipped
from bench.runs.table import per_image_csv, screen_table
from callbacks.outcome_callback import (
    OutcomeCallback,
    evaluation,
    own_run_folder,
    require_shared,
    run_folder,
    tensorboard_loggers,
)
from datamodules.base import DegradedDataModule
from datamodules.degradations import ORIGINAL
from datamodules.errors import UserError
from datamodules.image_formats import LOSSY
from datamodules.notices import say
from datamodules.text import printable
from datamodules.views import Batch

_AUDIT_SHARE = 0.005  # of a run's time


@runtime_checkable
class Recorder(Protocol):
    """A callback that adds to the result record."""

    def record(self) -> dict[str, Any]:
        """Attributes of `RunRecord` by name, complete when the run has ended; the first process is asked."""


class ResultsWriter(OutcomeCallback):
    """Writes the outcomes of a test or predict run, from the first process, when the run is complete.

    The run's folder is the logger's, or the trainer's `default_root_dir` without a logger. It gets `results.json` (all
    metrics with their provenance, and what the trainer's other callbacks have to `record`) and `images.csv` (one line
    per image and view). Until then every process flushes its outcomes to `unfinished`, and the next run that measures
    the same (model, data, software; not the number of processes, nor the batch size) takes them up, unless the model
    says that it begins anew. From Python that takes `logger=False`, or a logger with a `version`: Lightning has others
    count on, to a new folder, before it asks any callback.

    Args:
        flush_seconds: Time between two flushes in seconds, and so the work that a kill may cost; 0 flushes every batch.
        table: "csv", which everything reads, or "parquet", a tenth of its size (`images.parquet` in place of
            `images.csv`; needs the extra `scale`).

    Raises:
        UserError: The folder holds another run, or nodes do not share it, or the trainer limits batches, which the
            record would not say.

    >>> from lightning.pytorch import Trainer
    >>> writer = ResultsWriter(flush_seconds=60)
    >>> trainer = Trainer(accelerator="cpu", logger=False, default_root_dir="runs/python", callbacks=[writer])

    After `trainer.test(module, data)`, `bench.load_run("runs/python")` reads what was written.
    """

    def __init__(self, flush_seconds: float = 10.0, table: Literal["csv", "parquet"] = "csv") -> None:
        if not flush_seconds >= 0:
            raise UserError(f"ResultsWriter(flush_seconds={flush_seconds}) is out of range: choose at least 0")
        if table == "parquet":
            require_parquet()
        self.flush_seconds, self.table = flush_seconds, table
        self._claimed = False
        self._folder = RunFolder(Path())
        self._resumed: dict[str, Outcomes] | None = None
        self._whole: WholeRun | None = None
        self._flushed = 0
        self._parent: int | None = None  # of a process that the first one has started
        self._started = self._last_flush = 0.0

    def prepare(self, trainer: Trainer, module: LightningModule) -> None:
        """Claim a folder for a run that is about to start: that of an interrupted run of the same, or a new one.

        For the first process; the data are set up and `module.trainer` is set. See `bench.command_line.checks`.
        """
        logger, subject = trainer.logger, _subject(evaluation(module))
        if isinstance(logger, TensorBoardLogger | CSVLogger) and logger._version is None:
            unfinished = find_unfinished(Path(logger.root_dir), subject)
            if unfinished is not None:
                logger._version = unfinished.path.name  # it would count on otherwise
        RunFolder(own_run_folder(trainer)).claim(subject)
        warnings.filterwarnings("ignore", message="Experiment logs directory")  # CSVLogger deletes none of these files
        self._claimed = True

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage not in ("test", "predict"):
            return
        check_trainer(trainer, stage)
        module = evaluation(pl_module)
        if trainer.is_global_zero and not self._claimed:  # without the command line nobody prepares
            self.prepare(trainer, module)
        self._claimed = False  # the next run needs a folder of its own
        self._folder, self._whole = RunFolder(run_folder(trainer)), None
        self._resumed = self._folder.journal.read() if trainer.is_global_zero and module.resumable else None
        done = self._resumed[ORIGINAL].index if self._resumed else torch.empty(0, dtype=torch.int64)
        module.data.done = frozenset(trainer.strategy.broadcast(done).tolist())
        require_shared(trainer, self._folder.journal.subject_file)
        self._flushed, self._started, self._last_flush = 0, time.time(), time.monotonic()
        environment = getattr(trainer.strategy, "cluster_environment", None)
        launched = isinstance(environment, LightningEnvironment) and trainer.local_rank > 0
        self._parent = os.getppid() if launched else None

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take up what was measured before, now that the precisions are on their device."""
        if self._resumed:
            module = evaluation(pl_module)
            module.take_up(self._resumed)
            self._flushed = len(module.parts)
            rank_zero_info(
                f"taking up the unfinished run in {self._folder.path}: {len(module.data.done)} of "
                f"{len(module.data.positions)} images are done"
            )

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Flush when it is time; end with the first process, which torch would notice after the last batch only."""
        if self._parent is not None and os.getppid() != self._parent:
            raise RuntimeError("the first process of this run has died: what was measured is kept, run it again")
        if time.monotonic() - self._last_flush >= self.flush_seconds:
            self._flush(evaluation(pl_module))

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Flush what is left before anything that takes long."""
        self._flush(evaluation(pl_module))

    on_predict_start = on_test_start
    on_predict_batch_end = on_test_batch_end
    on_predict_epoch_end = on_test_epoch_end

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Keep what was measured; why this process ends is said elsewhere."""
        if isinstance(pl_module, ZeroShotEvaluation):
            with suppress(OSError, UserError):
                self._flush(pl_module)

    def _flush(self, module: ZeroShotEvaluation) -> None:
        fresh = [part for part in module.parts[self._flushed :] if len(part[ORIGINAL])] if module.resumable else []
        if fresh:
            self._folder.journal.append(
                {view: Outcomes.concatenate([part[view] for part in fresh]) for view in fresh[0]}
            )
            module.merge_parts()
        self._flushed, self._last_flush = len(module.parts), time.monotonic()

    def finish(self, trainer: Trainer, module: ZeroShotEvaluation) -> None:
        self._whole = module.whole_run()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the results, now that nothing else can fail: a run without results can be taken up."""
        run = self._whole
        if run is None:
            return
        self._whole = None
        for logger in tensorboard_loggers(trainer):
            logger.experiment.flush()  # what its thread could not write is raised here
        module = evaluation(pl_module)
        record = self._record(trainer, module, run)
        names = module.data.class_names if stage == "predict" else ()
        if self.table == "parquet":
            write_parquet(self._folder.parquet_table, run.outcomes, module.data.path, names, module.image_columns())
        else:
            lines = per_image_csv(run.outcomes, module.data.path, names, module.image_columns())
            write_atomically(self._folder.table, lines)
        record.write(self._folder.path)
        self._folder.journal.close()
        print(f"\n{screen_table(record)}\n\nwritten to {printable(str(self._folder.path))}")

    def _record(self, trainer: Trainer, module: ZeroShotEvaluation, run: WholeRun) -> RunRecord:
        further: dict[str, Any] = {}
        command = trainer.state.fn
        assert command is not None  # it runs
        seconds = time.time() - self._started
        for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set in Trainer.__init__ by a connector
            if isinstance(callback, Recorder):
                further |= callback.record()
        labelled, original = module.data.labelled, run.outcomes[ORIGINAL]
        return RunRecord(
            images=len(original),
            views=module.measured,
            class_images=support(original, len(module.data.class_names)) if labelled else None,
            model=ModelRecord.of(module.describe()),
            data=DataRecord.of(_described(module.data, {image.index for image in run.skipped}, seconds)),
            software=software(module.data.degradations),
            skipped=tuple(Skipped(image.index, image.path, image.reason) for image in run.skipped),
            run=RunInfo(
                command=command.value,
                processes=trainer.world_size,
                device=trainer.strategy.root_device.type,  # the module has left it by now
                compiled=module.compiles,
                seconds=round(seconds, 3),
                images_taken_up=len(module.data.done),
            ),
            **further,
        )


def _described(data: DegradedDataModule, skipped: Collection[int], seconds: float) -> dict[str, Any]:
    """What the data say about themselves, with what the pixels of a sample tell about their past.

    Args:
        data: That a run went through.
        skipped: Images that could not be read: a decoder may die of those.
        seconds: That the run took, of which the audit takes a small share.
    """
    described = data.describe()
    positions = [index for index in data.positions if index not in skipped]
    audit = sample_summary(data.chosen, positions, _AUDIT_SHARE * seconds)
    told = LOSSY & audit["containers"].keys()
    if not described["lossy_source_formats"] and audit["conclusion"] == "lossy":
        say(
            f"{audit['lossy']} of {audit['images']} source images that were looked at show a lossy past: their "
            "'original' is not lossless, so drops are biased, mostly down; `lightning audit` looks at all of them"
        )
    formats = sorted(told.union(described["lossy_source_formats"]))
    return described | {"lossy_source_formats": formats, "audit": audit}


def _subject(module: ZeroShotEvaluation) -> dict[str, Any]:
    """What decides about the outcomes of a run: machines of one cluster may differ in their kernel."""
    versions = software(module.data.degradations).to_json()
    return {
        "model": module.describe(),
        "data": module.data.describe(),
        "software": {name: version for name, version in versions.items() if name != "platform"},
        "device": module.trainer.strategy.root_device.type,
        "compiled": module.compiles,
    }
