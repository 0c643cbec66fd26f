"""All options of all commands, in Markdown: `python -m bench.command_line.options_page` prints docs/options.md."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from html import escape
from io import StringIO
from unittest.mock import patch

from bench.command_line.help import COMMANDS, DATA, LIGHTNING_COMMANDS, OTHERS, brief, with_default
from bench.command_line.signatures import Option, describe, describe_trainer

_CLASSES: Mapping[str, Sequence[str]] = {
    "model": (
        "bench.ZeroShotEvaluation",
        "bench.RobustFineTuning",
        "bench.LinearCorrection",
        "bench.ConditionedTuning",
        "bench.RestorationTuning",
        "bench.WeightAverage",
        "bench.TestTimeAdaptation",
    ),
    "data": DATA,
    "trainer.callbacks": (
        "callbacks.ResultsWriter",
        "callbacks.TensorBoardReport",
        "callbacks.IntegratedGradients",
        "callbacks.FineTuningWriter",
        "callbacks.ExponentialAverage",
    ),
}
_COLUMNS = "100"  # of argparse's help, whatever the terminal's
_TITLES = {"model": "Models", "data": "Data", "trainer.callbacks": "Callbacks"}


def page() -> str:
    """The content of docs/options.md."""
    lines: list[str] = [
        "# Options",
        "",
        "Printed by `python -m bench.command_line.options_page` from the program's own help. On the screen,",
        "`lightning COMMAND --help` shows the same, and `--print_config` all options with their values.",
        "",
        "## Commands",
        "",
        *_table(("command", "what"), ((f"`lightning {name}`", text) for name, text in COMMANDS.items())),
        "",
        f"## Of {', '.join(LIGHTNING_COMMANDS)}",
        "",
        *_table(("option", "value", "what"), ((f"`{name}`", _code(kind), text) for name, kind, text in OTHERS)),
        *_groups(),
        "",
        "## Trainer",
        "",
        "`--trainer.OPTION`; Lightning's documentation has more on each.",
        "",
        *_table(("option", "what"), ((f"`--trainer.{o.name}`", brief(o)) for o in describe_trainer().options)),
    ]
    for command in COMMANDS:
        if command not in LIGHTNING_COMMANDS:
            lines += ["", f"## Of {command}", "", "```text", _printed_help(command), "```"]
    return "\n".join(lines) + "\n"


def _groups() -> Iterator[str]:
    for group, paths in _CLASSES.items():
        yield from ("", f"## {_TITLES[group]}", "", f"`--{group} CLASS`, then `--{group}.OPTION`.")
        for path in paths:
            description = describe(path)
            assert description is not None, path
            yield from ("", f"### {path}", "", description.summary, "")
            shared = description.base if group == "data" else None
            yield from _options(group, description.options if shared else description.all_options())
        if shared:
            yield from ("", "### All data sets", "", *_options(group, shared.all_options()))


def _options(group: str, options: Sequence[Option]) -> list[str]:
    if not options:
        return ["No options of its own."]
    rows = ((f"`--{group}.{one.name}`", _code(one.kind), with_default(one)) for one in options)
    return list(_table(("option", "type", "what"), rows))


def _table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    yield _row(head)
    yield "|" + "---|" * len(head)
    yield from map(_row, rows)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(re.sub(r'(?<!`)``(?!`)', '`', cell).replace('|', chr(92) + '|') for cell in cells)} |"


def _code(text: str) -> str:
    """Code in a cell; a bar in it is one for every reader of Markdown only as a character reference."""
    if "|" in text:
        return f"<code>{escape(text, quote=False).replace('|', '&#124;')}</code>"
    return f"`{text}`" if text else ""


def _printed_help(command: str) -> str:
    from bench.cli import main

    out = StringIO()
    with redirect_stdout(out), suppress(SystemExit), patch.dict(os.environ, COLUMNS=_COLUMNS):
        main([command, "--help"])
    return out.getvalue().strip()


if __name__ == "__main__":
    print(page(), end="")
