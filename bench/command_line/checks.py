"""What is wrong with a run, said before anything is written."""

from typing import Protocol, runtime_checkable

import torch
from lightning.pytorch import LightningModule, Trainer

from datamodules.base import DegradedDataModule
from datamodules.errors import UserError
from datamodules.notices import say

_LIMITS = {
    "test": ("fast_dev_run", "limit_test_batches"),
    "predict": ("fast_dev_run", "limit_predict_batches"),
    "validate": ("fast_dev_run", "overfit_batches", "limit_val_batches"),
    "fit": ("overfit_batches", "limit_train_batches", "limit_val_batches"),
}
"""Options of the trainer that change which images a command measures, unseen by its record."""

_UNLIMITED = {"fast_dev_run": 0, "overfit_batches": 0}


@runtime_checkable
class Checks(Protocol):
    """A model or callback that can tell from trainer and data, before anything is written, that it cannot work."""

    def check_run(self, trainer: Trainer, data: DegradedDataModule) -> None:
        """Raise `UserError` if so; the data are set up."""


@runtime_checkable
class Prepares(Protocol):
    """A callback that has to know of a test or predict run before it starts, once nothing speaks against it."""

    def prepare(self, trainer: Trainer, module: LightningModule) -> None:
        """Called in the first process; the data are set up and `module.trainer` is set."""


def say_what_is_slow(trainer: Trainer) -> None:
    """Warn of bfloat16 on a processor without instructions for it."""
    if (
        trainer.precision == "bf16-mixed"
        and trainer.strategy.root_device.type == "cpu"
        and not torch.ops.mkldnn._is_mkldnn_bf16_supported()
    ):
        say(
            "precision bf16-mixed: this processor has no instructions for bfloat16, which takes many times as long as "
            "32-true then"
        )


def check_trainer(trainer: Trainer, command: str) -> None:
    """Refuse what would measure other images than the record says.

    Raises:
        UserError: The trainer has such a setting.
    """
    if command == "fit" and trainer.fast_dev_run:  # type: ignore[attr-defined]  # Lightning sets it elsewhere
        return  # a trial leaves no record that could be wrong
    for name in _LIMITS.get(command, ()):
        value = getattr(trainer, name)
        unlimited = _UNLIMITED.get(name, 1.0)
        if value != unlimited or (name not in _UNLIMITED and isinstance(value, int)):  # 1.0 is all, 1 is one batch
            raise UserError(
                f"`{name}` {value} counts batches, so that the results would not say which images were measured: use "
                "`limit`, which counts images",
                option=(f"trainer.{name}", "data.limit"),
            )
