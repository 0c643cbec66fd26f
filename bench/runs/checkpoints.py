"""Checkpoints of Lightning: only local files, only for what they are made for, and nothing in them is executed."""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import Trainer

from bench.clip.archives import Contents, read_contents
from bench.clip.weights import one_line, shortened
from datamodules.errors import UserError
from datamodules.files import open_regular

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*(://|::)|registry(:|$)", re.IGNORECASE)
_NEVER = ("test", "predict")
_ALWAYS_THERE = {"state_dict": dict, "pytorch-lightning_version": str}
_THERE_FOR_FIT = {"epoch": int, "global_step": int, "loops": dict, "optimizer_states": list, "lr_schedulers": list}


def check_checkpoint(path: str | Path | None, command: str) -> None:
    """Refuse a checkpoint that cannot be used or must not be, before anything is built.

    Args:
        path: As given to Lightning: a file, or "last".
        command: "fit", "validate", "test" or "predict".

    Raises:
        UserError: It is an address, missing, no checkpoint, or given to a command that records the weights of
            `pretrained` as what it measured.
    """
    if path is None:
        return
    text = str(path)
    if command in _NEVER:
        raise UserError(
            f"`ckpt_path` {shortened(text)}: {command} measures the weights of `pretrained` and records their hash:"
            " give the .safetensors file of the fit as `pretrained`",
            option=("ckpt_path", "model.pretrained"),
        )
    if text in ("best", "hpc"):
        raise UserError(
            f"`ckpt_path` {text} is known only inside a program that fits: give the file, or last", option="ckpt_path"
        )
    if text != "last" or command != "fit":
        _read_description(path, command)


def _read_description(path: str | Path, command: str) -> None:
    """Raise UserError unless a checkpoint can be loaded; its numbers are not read."""
    text = str(path)
    if _ADDRESS.match(text):
        raise UserError(
            f"`ckpt_path` {shortened(text)} is no local file: download it, then give its path", option="ckpt_path"
        )
    with open_regular(Path(path), "ckpt_path") as file:
        try:
            contents: Contents = read_contents(file)
        except pickle.UnpicklingError as error:
            reason = f"{one_line(error, named=False)}; nothing in it was run"
        except Exception as error:
            reason = one_line(error)
        else:
            reason = _missing(contents.entries, command)
    if reason:
        raise UserError(
            f"`ckpt_path` {shortened(text)} is no checkpoint of a fit ({reason}): give one that a fit wrote",
            option="ckpt_path",
        )


def _missing(entries: Any, command: str) -> str:
    """What keeps a description from being one of a checkpoint; empty where nothing does."""
    expected = {**_ALWAYS_THERE, **(_THERE_FOR_FIT if command == "fit" else {})}
    for name, kind in expected.items():
        if not isinstance(entries, Mapping) or not isinstance(entries.get(name), kind):
            return f"it holds no {name}"
    return ""


class WeightsOnly(CheckpointIO):
    """Reads checkpoints without executing anything in them; writing and removing are left to another plugin.

    Args:
        trainer: Tells what is loaded for.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer, self._inner = trainer, trainer.strategy.checkpoint_io

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint as `torch.load(path, weights_only=True)` would, whatever `weights_only` is here.

        Raises:
            UserError: As `check_checkpoint`.
        """
        function = self._trainer.state.fn
        check_checkpoint(path, "fit" if function is None else function.value)
        with open_regular(Path(path), "ckpt_path") as file:
            content: dict[str, Any] = torch.load(file, map_location=map_location or "cpu", weights_only=True)
        return content

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        self._inner.save_checkpoint(checkpoint, path, storage_options)

    def remove_checkpoint(self, path: str | Path) -> None:
        self._inner.remove_checkpoint(path)

    def teardown(self) -> None:
        self._inner.teardown()


def load_weights_only(trainer: Trainer) -> None:
    """From now on, this trainer reads checkpoints by `WeightsOnly`."""
    if not isinstance(trainer.strategy.checkpoint_io, WeightsOnly):
        trainer.strategy.checkpoint_io = WeightsOnly(trainer)
