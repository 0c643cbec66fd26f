"""The one exception for mistakes a user can mend."""

import re
from collections.abc import Sequence
from functools import partial

_QUOTES = "'\""


class UserError(Exception):
    """A mistake of the user.

    The message is one line that names the value, what is wrong with it and the mend. A parameter stands in it between
    backquotes, by itself or with the value to give it, as Python would write it; the command line, which prints the
    message without a traceback and exits with status 2, puts the option in its place.

    Args:
        message: One line.
        option: Where the command line has the parameters that the message names: `data.limit`, or several such paths.

    >>> error = UserError("`limit` 0 is out of range: choose at least 1", option="data.limit")
    >>> print(error, "|", error.on_command_line())
    `limit` 0 is out of range: choose at least 1 | --data.limit 0 is out of range: choose at least 1
    >>> UserError("a.png is broken: pass `on_error='skip'`", option="data.on_error").on_command_line()
    'a.png is broken: pass --data.on_error skip'
    """

    def __init__(self, message: str, *, option: str | Sequence[str] = ()) -> None:
        super().__init__(message)
        self.options = (option,) if isinstance(option, str) else tuple(option)

    def on_command_line(self) -> str:
        """The message with the command line's options in place of Python's parameters."""
        message = str(self)
        for option in self.options:
            name = option.rpartition(".")[2]
            message = message.replace(f"`{name}`", f"--{option}")
            message = re.sub(f"`{name}=([^`]*)`", partial(_with_value, option), message)
        return message


def _with_value(option: str, match: re.Match[str]) -> str:
    words = {"True": "true", "False": "false", "None": "null"}
    return f"--{option} {words.get(match[1], match[1].strip(_QUOTES))}"
