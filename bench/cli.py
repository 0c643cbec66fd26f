"""The `lightning` command: LightningCLI over this project's models, data sets and callbacks."""

import errno
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol, runtime_checkable

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

from bench.runs.checkpoints import check_checkpoint
from bench.runs.folder import UNFINISHED
from datamodules.base import DegradedDataModule
from datamodules.errors import UserError

USAGE_ERROR = 2
_DISK_TROUBLE = {
    errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENAMETOOLONG, errno.ENOSPC, errno.ENOTDIR, errno.EPERM,
    errno.EROFS,
}  # fmt: skip


class Parser(LightningArgumentParser):
    """Says what is wrong with the command line in one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Exit with status 2 and one line on the standard error stream."""
        if not self.exit_on_error:
            super().error(message, ex)
        keys = re.findall(r'Parser key "([^"]+)"', message)
        reason = message if ex is None else re.sub(r'^Parser key "[^"]+": ', "", str(causes(ex)[-1])).rstrip(".")
        option = f"--{'.'.join(keys)}: " if keys else ""
        fail(f"{option}{reason}; `{self.prog.replace(' [options]', '')} --help` lists what there is")


class SaveConfig(SaveConfigCallback):
    """Keeps the configuration beside the results, and refuses a folder that has one already."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.overwrite = (Path(trainer.log_dir or trainer.default_root_dir) / UNFINISHED).is_dir()  # it is this run's
        try:
            super().setup(trainer, pl_module, stage)
        except RuntimeError as error:
            raise UserError(
                f"{str(trainer.log_dir)!r} holds the {self.config_filename} of another run: choose another folder with "
                "--trainer.logger.save_dir or --trainer.default_root_dir"
            ) from error


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


class CLI(LightningCLI):
    """LightningCLI in subclass mode that looks for mistakes before anything is written."""

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
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

    def _check(self) -> None:
        data = self.datamodule
        if not isinstance(data, DegradedDataModule) or data.incomplete():
            return
        data.setup(str(self.subcommand))
        for part in (self.model, *self.trainer.callbacks):  # type: ignore[attr-defined]  # a connector sets it
            if isinstance(part, Checks):
                part.check_run(self.trainer, data)

    def _prepare(self) -> None:
        self._check()
        # as the trainer is about to do
        self.model.trainer = self.datamodule.trainer = self.trainer
        self.trainer.datamodule = self.datamodule  # type: ignore[attr-defined]  # a connector declares it
        if self.datamodule.incomplete() or not self.trainer.is_global_zero:
            return
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]  # a connector sets it
            if isinstance(callback, Prepares):
                callback.prepare(self.trainer, self.model)

    before_fit = before_validate = _check
    before_test = before_predict = _prepare


def _sweep(args: Sequence[str]) -> int:
    from bench.sweep.command import main

    return main(args)


def _report(args: Sequence[str]) -> None:
    from bench.report.command import main

    main(args)


_OWN_COMMANDS: dict[str, Callable[[Sequence[str]], int | None]] = {"sweep": _sweep, "report": _report}


def causes(error: BaseException) -> list[BaseException]:
    """An error, what caused it, what caused that, and so on: jsonargparse wraps an error once per level of nesting."""
    return [error] + (causes(error.__cause__) if error.__cause__ is not None else [])


def fail(message: str) -> NoReturn:
    """Exit with status 2 and one line on the standard error stream."""
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    raise SystemExit(USAGE_ERROR)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; a user's mistake ends in one line and exit status 2.

    Args:
        args: Arguments in place of those of the process.
    """
    words = list(sys.argv[1:] if args is None else args)
    # Lightning 2.6 asks torch's pytree in a way that torch 2.14 deprecates: nothing a user of this program can mend.
    warnings.filterwarnings("ignore", message=".*LeafSpec")
    try:
        if words and words[0] in _OWN_COMMANDS:
            raise SystemExit(_OWN_COMMANDS[words[0]](words[1:]))
        CLI(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            parser_class=Parser,
            save_config_callback=SaveConfig,
            parser_kwargs={
                "description": "Also: `lightning sweep` and `lightning report`, with a --help of their own."
            },
            args=None if args is None else words,
        )
    except Exception as error:
        mistakes = [cause for cause in causes(error) if isinstance(cause, UserError | MisconfigurationException)]
        if mistakes:
            mistake = mistakes[-1]
            fail(mistake.on_command_line() if isinstance(mistake, UserError) else str(mistake))
        if isinstance(error, UnicodeDecodeError):
            fail(f"a configuration is no text in UTF-8 ({error.reason} at byte {error.start}): save it as UTF-8")
        if isinstance(error, OSError) and error.errno in _DISK_TROUBLE:
            where = f"{str(error.filename)!r}: " if error.filename else ""
            fail(f"{where}{error.strerror}; once that is mended, the same command goes on where it stopped")
        raise
