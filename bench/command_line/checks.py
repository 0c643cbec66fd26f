"""What is wrong with a run, said before anything is written."""

import math
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from lightning.pytorch import LightningModule, Trainer

from datamodules.base import DegradedDataModule
from datamodules.errors import UserError

_PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")
_LIMITS = {
    "test": ("limit_test_batches", "fast_dev_run"),
    "predict": ("limit_predict_batches", "fast_dev_run"),
    "validate": ("limit_val_batches", "overfit_batches", "fast_dev_run"),
    "fit": ("overfit_batches",),
}
"""Options of the trainer that change which images a command measures, unseen by its record."""
_DECIDES_WEIGHTS = ("encoder", "pretrained", "activation")


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


def check_trainer(trainer: Trainer, command: str) -> None:
    """Refuse what would measure other images than the record says, rounds the weights, or never ends.

    Raises:
        UserError: The trainer has such a setting.
    """
    for name in _LIMITS.get(command, ()):
        value = getattr(trainer, name)
        if value not in (1.0, 0.0, False) or (value == 0 and name.startswith("limit")) or value is True:
            raise UserError(
                f"--trainer.{name} {value} counts batches, so that the results would not say which images were "
                "measured: use --data.limit, which counts images"
            )
    if trainer.precision not in _PRECISIONS:
        raise UserError(
            f"--trainer.precision {trainer.precision} changes the type of the weights, the logit scale and the text "
            f"classifier: use bf16-mixed or 16-mixed{', or 32-true' if str(trainer.precision) == '64-true' else ''}"
        )
    if command == "fit" and trainer.max_epochs == -1 and trainer.max_steps == -1:
        raise UserError(
            "--trainer.max_epochs -1 gives the learning rate's schedule no end: give a number of epochs, or of steps "
            "with --trainer.max_steps; --trainer.max_time may end it earlier"
        )


def check_data(data: DegradedDataModule) -> None:
    """Refuse a single class.

    Raises:
        UserError: There is nothing to tell apart.
    """
    if len(data.class_names) < 2:
        raise UserError(
            f"the data have one class, {', '.join(map(repr, data.class_names))}, and so nothing to tell apart: give at "
            "least two (folders of images, or --data.class_names)"
        )


def read_checkpoint(path: str) -> dict[str, Any]:
    """A checkpoint of Lightning; nothing in it is executed.

    Raises:
        UserError: There is no such file, or it is no checkpoint.
    """
    if not Path(path).is_file():
        raise UserError(f"--ckpt_path {path!r} is no file: give the path of a checkpoint (.ckpt)")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"--ckpt_path {path!r} is no checkpoint of a fit ({type(error).__name__}: {reason})") from error
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise UserError(f"--ckpt_path {path!r} is no checkpoint of a fit: it holds no state_dict")
    return content


def check_checkpoint(path: str, content: dict[str, Any], command: str, options: dict[str, Any]) -> None:
    """Refuse options of the model that contradict a checkpoint.

    A fit goes on with the checkpoint's optimiser and schedule, which hold its own learning rate: every option counts.
    Elsewhere those do that decide about the weights.

    Args:
        path: For the message.
        content: Of the checkpoint.
        command: "fit" or another one.
        options: The model's, by name, as this command has them.

    Raises:
        UserError: An option is another one than the checkpoint was made with.
    """
    made_with = content.get("hyper_parameters")
    for name, before in (made_with if isinstance(made_with, dict) else {}).items():
        if name not in options or (command != "fit" and name not in _DECIDES_WEIGHTS):
            continue
        now = options[name]
        if not _equal(before, now):
            raise UserError(
                f"--model.{name} is {now!r}, but the checkpoint {path!r} was made with {before!r}: give "
                f"--model.{name} {before}, or leave --ckpt_path out"
            )


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-9)
    if isinstance(one, str | Path) and isinstance(other, str | Path):
        return str(one) == str(other) or Path(one).resolve() == Path(other).resolve()
    return bool(one == other)


def check_weights(path: str, content: dict[str, Any], module: LightningModule) -> None:
    """Refuse a checkpoint of another model.

    Raises:
        UserError: The names or shapes of its tensors are others.
    """
    own = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    saved = {name: tuple(getattr(tensor, "shape", ())) for name, tensor in content["state_dict"].items()}
    for name in sorted(own.keys() | saved.keys()):
        if own.get(name) != saved.get(name):
            raise UserError(
                f"--ckpt_path {path!r} belongs to another model than {type(module).__name__}: {name} is "
                f"{saved.get(name, 'missing')} there and {own.get(name, 'missing')} here"
            )
