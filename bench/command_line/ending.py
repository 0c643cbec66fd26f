"""How a command ends: one line for a user's mistake, and the status that a signal or a reader that leaves asks for."""

import argparse
import errno
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn, TextIO, TypeGuard

import yaml

from datamodules.errors import UserError
from datamodules.text import printable

USAGE_ERROR = 2
LONGEST_LINE = 600  # characters of an error
_TAIL = 200
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_DISK_TROUBLE = {
    errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EISDIR, errno.ENAMETOOLONG, errno.ENOENT, errno.ENOSPC,
    errno.ENOTDIR, errno.ENOTEMPTY, errno.EPERM, errno.EROFS, errno.ESTALE,
}  # fmt: skip


def one_line(message: str) -> str:
    r"""A message made fit for one line of a terminal: printable, and cut in the middle if it is very long.

    >>> one_line("two\nlines of \x1b[31mred")
    'two lines of \\x1b[31mred'
    """
    line = printable(" ".join(message.split()))
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - _TAIL - 5]} ... {line[-_TAIL:]}"


def fail(message: str) -> NoReturn:
    """Exit with status 2 and one line on the standard error stream."""
    sys.stderr.write(f"error: {one_line(message)}\n")
    raise SystemExit(USAGE_ERROR)


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong with the command line in one line."""

    def error(self, message: str) -> NoReturn:
        fail(f"{message}; `{self.prog} --help` lists what there is")


def causes(error: BaseException) -> list[BaseException]:
    """An error, what caused it, what caused that, and so on: jsonargparse wraps an error once per level of nesting."""
    found: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and not any(link is one for one in found):
        found.append(link)
        link = link.__cause__
    return found


@contextmanager
def mistakes_in_one_line(*, resumes: bool = True) -> Iterator[None]:
    """Whatever the user can mend ends in one line and status 2; everything else is raised as it is.

    Args:
        resumes: Whether the command, given again, does not do again what it had finished when the disk stopped it.
    """
    try:
        with _disk_trouble_of_threads():
            yield
    except Exception as error:
        chain = causes(error)
        if mistakes := [cause for cause in chain if isinstance(cause, UserError)]:
            fail(mistakes[-1].on_command_line())
        if refusals := [cause for cause in chain if type(cause).__name__ == "MisconfigurationException"]:
            fail(str(refusals[-1]))
        if isinstance(error, UnicodeDecodeError):
            fail(f"a configuration is no text in UTF-8 ({error.reason} at byte {error.start}): save it as UTF-8")
        if malformed := [cause for cause in chain if isinstance(cause, yaml.YAMLError)]:
            fail(f"a value is no YAML ({malformed[-1]}): quote it")
        if isinstance(error, RecursionError):
            fail("a value is nested too deeply: write it with fewer levels")
        if _is_disk_trouble(error):
            where = f"{str(error.filename)!r}: " if error.filename else ""
            kept = ", which keeps what is finished" if resumes else ""
            fail(f"{where}{error.strerror}; once that is mended, give the same command again{kept}")
        raise


def _is_disk_trouble(error: BaseException | None) -> TypeGuard[OSError]:
    return (
        isinstance(error, OSError)
        and error.errno in _DISK_TROUBLE
        and bool(error.filename or error.errno != errno.ENOENT)
    )


@contextmanager
def _disk_trouble_of_threads() -> Iterator[None]:
    """Trouble that a thread has with the disk, such as TensorBoard's, is raised once all else is done.

    Python would print the thread's traceback and go on.
    """
    met: list[OSError] = []
    before = threading.excepthook

    def keep(thread: threading.ExceptHookArgs) -> None:
        if _is_disk_trouble(thread.exc_value):
            met.append(thread.exc_value)
        else:
            before(thread)

    threading.excepthook = keep
    try:
        yield
    finally:
        threading.excepthook = before
    if met:
        raise met[0]


@contextmanager
def silent_where_nobody_reads() -> Iterator[None]:
    """Where the reader of the standard output has gone, as of `| head`, the command ends as by SIGPIPE: status 141."""
    try:
        try:
            yield
        finally:
            try:
                sys.stdout.flush()
            except BrokenPipeError:
                raise
            except OSError:
                pass  # of a full disk, which Python says when it ends
    except BrokenPipeError:
        if not _is_cut_off(sys.stdout):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python writes when it ends
        raise SystemExit(128 + signal.SIGPIPE) from None


def _is_cut_off(stream: TextIO) -> bool:
    watch = select.poll()
    watch.register(stream.fileno(), 0)  # which reports errors alone
    return bool(watch.poll(0))


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGINT end the command by an exception, so that results are kept, with the status 128 + signal.

    Lightning calls a handler that is there already when it handles the signal itself, and by itself would end with
    status 0 or 1.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        for ending in _ENDING_SIGNALS:
            signal.signal(ending, signal.SIG_IGN)  # the first one is enough
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in _ENDING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
