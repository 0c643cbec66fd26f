"""LightningCLI over this project's models, data sets and callbacks."""

import traceback
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jsonargparse
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

import bench
import datamodules
from bench.command_line.checks import Checks, Prepares, check_trainer, say_what_is_slow
from bench.command_line.parser import Parser, deepest_reason, prepared
from bench.command_line.screen import arrange_progress, plain_messages
from bench.command_line.yaml_text import bounded
from bench.runs.checkpoints import check_checkpoint
from bench.runs.folder import UNFINISHED
from datamodules.base import DegradedDataModule
from datamodules.errors import UserError

_OWN_FILES = tuple(f"/{package}/" for package in ("bench", "callbacks", "datamodules"))
_LARGEST_SEED = 2**32 - 1  # NumPy's


class SaveConfig(SaveConfigCallback):
    """Keeps the configuration beside the results, and refuses a folder that has one already."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        begun = (Path(trainer.log_dir or trainer.default_root_dir) / UNFINISHED).is_dir()  # it is this run's
        self.overwrite = trainer.strategy.broadcast(begun)  # nodes may see different disks; Lightning asks all or none
        try:
            super().setup(trainer, pl_module, stage)
        except RuntimeError as error:
            raise UserError(
                f"{str(trainer.log_dir)!r} holds the {self.config_filename} of another run: choose another folder with "
                "--trainer.logger.save_dir or --trainer.default_root_dir"
            ) from error


class CLI(LightningCLI):
    """LightningCLI in subclass mode that looks for mistakes before anything is written."""

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Have the data built before the model, whose weights may have to be downloaded."""
        parser.add_lightning_class_args(self.trainer_class, "trainer")
        parser.add_lightning_class_args(self._datamodule_class, "data", subclass_mode=True)
        parser.add_lightning_class_args(self._model_class, "model", subclass_mode=True)

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        parser.add_instantiator(partial(_opened, subcommand), DegradedDataModule)
        if subcommand == "test":
            parser.set_defaults(verbose=False)  # the results writer prints the table
        if subcommand == "predict":
            parser.set_defaults(return_predictions=False)  # it writes them, too
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Refuse checkpoints that are not to be loaded, and load the others without executing them."""
        super().parse_arguments(parser, args)
        command = str(self.config.subcommand)
        options = self.config[command]
        check_checkpoint(options.get("ckpt_path"), command)
        if "weights_only" in options:  # since Lightning 2.6
            options["weights_only"] = True

    def _parse_ckpt_path(self) -> None:
        """Leave the options as they are; Lightning would put a checkpoint's hyperparameters in their place."""

    def _set_seed(self) -> None:
        seed = self._get(self.config, "seed_everything")
        if isinstance(seed, int) and not isinstance(seed, bool) and not 0 <= seed <= _LARGEST_SEED:
            raise UserError(f"--seed_everything {seed} is out of range: choose 0 to {_LARGEST_SEED}")
        super()._set_seed()

    def instantiate_classes(self) -> None:
        """Build trainer, loggers, callbacks, model and data.

        Raises:
            UserError: One of them refuses its arguments.
        """
        try:
            super().instantiate_classes()
        except Exception as error:
            if isinstance(error, UserError) or _was_raised_by_us(error):
                raise
            raise UserError(f"what the configuration asks for cannot be built: {deepest_reason(error)}") from error
        arrange_progress(self.trainer)
        if self.trainer.fast_dev_run:  # type: ignore[attr-defined]  # Lightning sets it from another module
            self.trainer.callbacks[:] = [  # type: ignore[attr-defined]  # a connector sets it
                callback for callback in self.trainer.callbacks if not isinstance(callback, Checkpoint)  # type: ignore[attr-defined]
            ]  # fmt: skip

    def _check(self) -> None:
        check_trainer(self.trainer, str(self.subcommand))
        say_what_is_slow(self.trainer)
        data = self.datamodule
        if not isinstance(data, DegradedDataModule) or not data.found:
            return
        for part in (self.model, *self.trainer.callbacks):  # type: ignore[attr-defined]  # a connector sets it
            if isinstance(part, Checks):
                part.check_run(self.trainer, data)

    def _prepare(self) -> None:
        self._check()
        # as the trainer is about to do
        self.model.trainer = self.datamodule.trainer = self.trainer
        self.trainer.datamodule = self.datamodule  # type: ignore[attr-defined]  # a connector declares it
        if not self.datamodule.found or not self.trainer.is_global_zero:
            return
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]  # a connector sets it
            if isinstance(callback, Prepares):
                callback.prepare(self.trainer, self.model)

    before_fit = before_validate = _check
    before_test = before_predict = _prepare


def _opened(stage: str, kind: type[DegradedDataModule], /, *args: Any, **options: Any) -> DegradedDataModule:
    """Data whose images are found, unless they are still to be downloaded."""
    data = kind(*args, **options)
    if not data.incomplete():
        data.setup(stage)
    return data


def run(words: Sequence[str]) -> None:
    """Run `lightning fit`, `validate`, `test` or `predict`.

    Args:
        words: The command and its options.

    Raises:
        UserError: A value is one that the user has to mend.
    """
    # Lightning 2.6 asks torch's pytree in a way that torch 2.14 deprecates: nothing a user of this program can mend.
    warnings.filterwarnings("ignore", message=".*LeafSpec")
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter is intended")  # the words of sys.argv
    for package in (bench, datamodules):
        for name in package.__all__:
            getattr(package, name)  # short names of classes are those of imported ones
    load = jsonargparse.get_loader("yaml")
    jsonargparse.set_loader("yaml", bounded(load))
    try:
        with plain_messages():
            _only(words[0])(
                LightningModule,
                LightningDataModule,
                subclass_mode_model=True,
                subclass_mode_data=True,
                auto_configure_optimizers=False,
                parser_class=partial(Parser, words=list(words)),  # type: ignore[arg-type]  # is called like a class
                save_config_callback=SaveConfig,
                args=prepared(words),
            )
    except (RuntimeError, ValueError, TypeError) as error:
        if _was_raised_by_lightning(error):
            raise UserError(str(error)) from error
        raise
    finally:
        jsonargparse.set_loader("yaml", load)


def _only(command: str) -> type[CLI]:
    """The program with one command: parsers of the others would take most of the time before a run."""

    class Program(CLI):
        @staticmethod
        def subcommands() -> dict[str, set[str]]:
            return {command: LightningCLI.subcommands()[command]}

    return Program


def _was_raised_by_us(error: BaseException) -> bool:
    """Whether a function of this project was at work, so that the error may be a defect of it."""
    frames = traceback.extract_tb(error.__traceback__)
    return any("/command_line/" not in frame.filename and _is_own(frame.filename) for frame in frames)


def _is_own(file: str) -> bool:
    root = Path(__file__).parents[2]
    return Path(file).is_relative_to(root) and any(part in f"/{Path(file).relative_to(root)}" for part in _OWN_FILES)


def _was_raised_by_lightning(error: BaseException) -> bool:
    """Whether Lightning itself refused something, as its callbacks refuse metrics that are not there."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and "/lightning/" in Path(frames[-1].filename).as_posix()
