"""What callbacks share that read the outcomes of a test or predict run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch.distributed
from lightning.pytorch import Callback, LightningModule, Trainer

from bench.evaluation import ZeroShotEvaluation
from bench.outcomes import Outcomes
from datamodules.errors import UserError
from datamodules.views import Batch


class OutcomeCallback(Callback):
    """Hands the outcomes of every batch to `collect`, and calls `finish` once the run is complete.

    Testing and predicting are alike to a subclass. Both methods run in every process.
    """

    def collect(self, module: ZeroShotEvaluation, outcomes: dict[str, Outcomes], batch: Batch) -> None:
        """Take in the outcomes of one batch, by view."""
        raise NotImplementedError

    def finish(self, trainer: Trainer, module: ZeroShotEvaluation) -> None:
        """Called after the metrics were computed."""
        raise NotImplementedError

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *_: int
    ) -> None:
        self.collect(evaluation(pl_module), outputs, batch)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *_: int
    ) -> None:
        self.collect(evaluation(pl_module), outputs, batch)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.finish(trainer, evaluation(pl_module))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.finish(trainer, evaluation(pl_module))


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
