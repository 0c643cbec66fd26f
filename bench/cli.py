"""The `lightning` command: LightningCLI over this project's models, data sets and callbacks."""

import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from datamodules.base import DegradedDataModule
from datamodules.errors import UserError

USAGE_ERROR = 2


class Parser(LightningArgumentParser):
    """Says what is wrong with the command line in one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Exit with status 2 and one line on the standard error stream."""
        if not self.exit_on_error:
            super().error(message, ex)
        sys.stderr.write(f"error: {one_line(message)}\n")
        raise SystemExit(USAGE_ERROR)


class CLI(LightningCLI):
    """LightningCLI in subclass mode that looks at the data before anything is written."""

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand == "test":
            parser.set_defaults(verbose=False)  # the results writer prints the table
        if subcommand == "predict":
            parser.set_defaults(return_predictions=False)  # it writes them, too
        return parser

    def _look_at_data(self) -> None:
        if isinstance(self.datamodule, DegradedDataModule):
            self.datamodule.check()

    before_test = before_predict = before_fit = before_validate = _look_at_data


def one_line(message: object) -> str:
    """A message with its white space collapsed."""
    return " ".join(str(message).split())


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; a user's mistake ends in one line and exit status 2.

    Args:
        args: Arguments in place of those of the process.
    """
    try:
        CLI(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            parser_class=Parser,
            args=None if args is None else list(args),
        )
    except (UserError, MisconfigurationException) as error:
        sys.stderr.write(f"error: {one_line(error)}\n")
        raise SystemExit(USAGE_ERROR) from None
