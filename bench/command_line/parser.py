"""LightningCLI's parser with errors of one line that say what was probably meant."""

import os
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from bench.command_line.config_options import reaching_callbacks
from bench.command_line.configs import CONFIG_OPTIONS, find_config, is_written_out, read_config
from bench.command_line.ending import causes, fail
from bench.command_line.help import option_names
from bench.command_line.yaml_text import check
from datamodules.errors import UserError

_UNION = re.compile(r"Subtypes: \[(.*)\]\nErrors:.*Given value: (.*)", re.DOTALL)
_TOP_LEVEL = (
    "config", "seed_everything", "ckpt_path", "print_config", "model", "data", "trainer", "verbose", "weights_only",
    "return_predictions", "version",
)  # fmt: skip
_SIMPLE = ("bool", "integer", "number", "text", "null")


class Parser(LightningArgumentParser):
    """Says what is wrong with the command line in one line.

    Args:
        words: The whole command line, whose classes tell which options there are.
    """

    def __init__(self, *args: Any, words: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.words = words

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Exit with status 2 and one line on the standard error stream."""
        if not self.exit_on_error:
            super().error(message, ex)
        chain = [] if ex is None else causes(ex)
        if mistakes := [cause for cause in chain if isinstance(cause, UserError)]:
            raise mistakes[-1]
        keys = re.findall(r'Parser key "([^"]+)"', message)
        reason = deepest_reason(ex) if ex else message
        if "arguments are required: " in reason:
            reason = "nothing says what to run: give --config NAME|FILE, or --model and --data"
        option = f"--{'.'.join(keys)}: " if keys else ""
        command = self.prog.replace(" [options]", "")
        fail(f"{option}{reason}{self._meant(reason, keys)}; `{command} --help` lists what there is")

    def _meant(self, reason: str, keys: Sequence[str]) -> str:
        """The option that is closest to one that there is not."""
        unknown = re.search(r"unrecognized arguments: (-[^\s=]+)", reason) or re.search(
            r"(?:Option|[Kk]ey) '([\w.]+)' is not (?:accepted|expected)", reason
        )
        if unknown is None or not self.words:
            return ""
        prefix = "" if unknown[1].startswith("-") else f"--{'.'.join(keys).removesuffix('.init_args')}."
        close = get_close_matches(prefix + unknown[1], option_names(self.words[0], self.words[1:]), n=1, cutoff=0.75)
        return f": did you mean {close[0]}?" if close else ""

    def parse_path(self, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Namespace:
        """Parse a configuration in which paths of files are relative to it."""
        content = yaml.safe_dump(read_config(Path(path)), sort_keys=False, allow_unicode=True)
        parsed: Namespace = self.parse_string(content, os.path.basename(path), *args, **kwargs)
        return parsed


def deepest_reason(error: BaseException) -> str:
    """Why something was refused, without the levels of nesting around it.

    Where a value fits none of several simple types, all of them, instead of what one of them says about it.
    """
    chain = causes(error)
    unions = [found for cause in chain if (found := _UNION.search(str(cause)))]
    if unions:
        kinds = [_kind(one) for one in re.split(r", (?![^\[(]*[\])])", unions[-1][1])]
        if all(kind in _SIMPLE or kind[0] in "'\"" or kind.isdecimal() for kind in kinds):
            return f"{unions[-1][2]!r} is none of {', '.join(kinds)}"
    return re.sub(r'^Parser key "[^"]+": ', "", str(chain[-1])).rstrip(".")


def _kind(subtype: str) -> str:
    """A type as a user says it.

    >>> [_kind(one) for one in ("<class 'bool'>", "typing.Literal['auto']", "<class 'NoneType'>")]
    ['bool', "'auto'", 'null']
    """
    name = subtype.removeprefix("<class '").removesuffix("'>")
    if literal := re.fullmatch(r"typing\.Literal\[(.*)\]", name):
        return literal[1]
    name = re.sub(r"(?<![\w'])(?:\w+\.)+(?=\w)", "", name)
    return {"NoneType": "null", "None": "null", "str": "text", "int": "integer", "float": "number"}.get(name, name)


def prepared(words: Sequence[str]) -> list[str]:
    """A command line whose values are within bounds, with the files that the names of configurations stand for.

    Options of callbacks reach the one that takes them: see `reaching_callbacks`.

    Raises:
        UserError: A value is out of bounds, or there is no such configuration.
    """
    found, names_config = [], False
    for word in words:
        option, equals, value = word.partition("=")
        unknown = option.startswith("--") and option[2:].partition(".")[0] not in _TOP_LEVEL
        if unknown and (close := get_close_matches(option[2:], _TOP_LEVEL, n=1, cutoff=0.75)):
            raise UserError(f"{option} is no option: did you mean --{close[0]}?")
        check(value if option.startswith("--") and equals else word, f"the value of {option}" if equals else "a value")
        if names_config:
            found.append(_file(word))
        elif equals and option in CONFIG_OPTIONS:
            found.append(f"{option}={_file(value)}")
        else:
            found.append(word)
        names_config = not names_config and word in CONFIG_OPTIONS
    return reaching_callbacks(found)


def _file(name: str) -> str:
    """The path of a configuration; one that is written out on the command line stays as it is."""
    return name if is_written_out(name) else str(find_config(name))
