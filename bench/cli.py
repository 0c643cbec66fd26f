"""The `lightning` command."""

import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches

from bench.command_line.ending import ended_by_signals, fail, mistakes_in_one_line, silent_where_nobody_reads
from bench.command_line.help import COMMANDS, LIGHTNING_COMMANDS, command_help, installed_version, overview

_HELP = ("-h", "--help")
_RESUMED = ("test", "predict", "sweep", "repair", "export", "tables")  # given again, they go on where they stopped


def _sweep(words: Sequence[str]) -> int:
    from bench.sweep.command import main

    return main(words)


def _report(words: Sequence[str]) -> None:
    from bench.report.command import main

    main(words)


def _audit(words: Sequence[str]) -> None:
    from bench.audit.command import main

    main(words)


def _references(words: Sequence[str]) -> None:
    from bench.references.command import main

    main(words)


def _tables(words: Sequence[str]) -> None:
    from bench.tables.command import main

    main(words)


def _repair(words: Sequence[str]) -> int:
    from bench.repair.command import main

    return main(words)


def _export(words: Sequence[str]) -> None:
    from bench.export.command import main

    main(words)


_OWN_COMMANDS: dict[str, Callable[[Sequence[str]], int | None]] = {
    "sweep": _sweep,
    "report": _report,
    "references": _references,
    "audit": _audit,
    "repair": _repair,
    "tables": _tables,
    "export": _export,
}


@silent_where_nobody_reads()
def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; a user's mistake ends in one line and exit status 2.

    Help, versions and misspelt commands are answered before torch and Lightning are imported.

    Args:
        args: Arguments in place of those of the process.
    """
    words = list(sys.argv[1:] if args is None else args)
    if not words or words[0] in _HELP:
        print(overview())
        return
    command = words[0]
    if command == "--version":
        print(installed_version())
        return
    if command not in COMMANDS:
        close = get_close_matches(command, COMMANDS, n=1)
        hint = f": did you mean {close[0]}?" if close else ""
        fail(f"{command!r} is no command{hint or ''}; choose from {', '.join(COMMANDS)}")
    with mistakes_in_one_line(resumes=command in _RESUMED), ended_by_signals():
        if command in _OWN_COMMANDS:
            raise SystemExit(_OWN_COMMANDS[command](words[1:]))
        assert command in LIGHTNING_COMMANDS
        if any(word in _HELP for word in words[1:]):
            print(command_help(command, words[1:]))
            raise SystemExit(0)
        from bench.command_line.program import run

        run(words)
