"""What callbacks share that read the outcomes of a test or predict run."""

from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from bench.evaluation import ZeroShotEvaluation
from datamodules.degradations import ORIGINAL
from datamodules.errors import UserError


class OutcomeCallback(Callback):
    """Calls `finish` once a run is complete; testing and predicting are alike to a subclass."""

    def finish(self, trainer: Trainer, module: ZeroShotEvaluation) -> None:
        """Called in every process, after the metrics were computed."""
        raise NotImplementedError

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._end(trainer, evaluation(pl_module))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._end(trainer, evaluation(pl_module))

    def _end(self, trainer: Trainer, module: ZeroShotEvaluation) -> None:
        run = module.whole_run()
        if run is not None and not len(run.outcomes[ORIGINAL]):
            raise UserError(f"none of the {len(run.skipped)} images could be read: check the data root")
        self.finish(trainer, module)


def evaluation(module: LightningModule) -> ZeroShotEvaluation:
    """The module, which has to be one that makes outcomes.

    Raises:
        UserError: It is another one.
    """
    if not isinstance(module, ZeroShotEvaluation):
        raise UserError(
            f"the callbacks of evaluation cannot follow {type(module).__name__}: use them with `lightning test`"
        )
    return module


def tensorboard_loggers(trainer: Trainer) -> list[TensorBoardLogger]:
    """All loggers of a run that can show pictures, wherever they stand among the others."""
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def run_folder(trainer: Trainer) -> Path:
    """Where a run's files go; every process must ask, since the first one tells the others."""
    return Path(trainer.strategy.broadcast(own_run_folder(trainer)))


def require_shared(trainer: Trainer, path: Path) -> None:
    """Make sure that every process sees what the first one has made before it came here; all must call.

    Raises:
        UserError: Not every process sees it.
    """
    trainer.strategy.barrier()  # the others may be here before the first one has made it
    if not trainer.strategy.reduce_boolean_decision(path.exists()):
        raise UserError(
            f"not every process sees {str(path)!r}: the output folder must be on a file system that all nodes share"
        )


def own_run_folder(trainer: Trainer) -> Path:
    """Where this process would put a run's files, whatever the first one says: `trainer.log_dir` asks all of them."""
    logger = trainer.logger
    if logger is None:
        return Path(trainer.default_root_dir)
    folder = logger.log_dir if isinstance(logger, TensorBoardLogger | CSVLogger) else logger.save_dir
    return Path(folder or trainer.default_root_dir)
