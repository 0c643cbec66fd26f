"""When the death of a loader process may raise: torch lets it raise into whatever code runs at that moment."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class HeldBack:
    """A handler of SIGCHLD that works while a batch is waited for.

    torch's raises whenever a loader process dies, into whatever code runs then.
    """

    waiting = False

    def __init__(self, handler: Any) -> None:
        self.handler = handler

    def __call__(self, number: int, frame: Any) -> None:
        if HeldBack.waiting and not _is_cleaning_up(frame):
            self.handler(number, frame)


def _is_cleaning_up(frame: FrameType | None) -> bool:
    """Whether there is nothing to raise into.

    Another iterator, collected at this moment, is waiting for its own processes; or torch, which has seen that
    something is wrong, counts how many files it can still open, and looks for dead processes after that.
    """
    while frame is not None:
        if frame.f_code.co_name in ("_shutdown_workers", "NamedTemporaryFile"):
            return True
        frame = frame.f_back
    return False


def hold_back_deaths() -> None:
    """Let no death of a child process raise but while a batch is waited for, once torch has its handler."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGCHLD"):
        return
    handler = signal.getsignal(signal.SIGCHLD)
    if callable(handler) and not isinstance(handler, HeldBack):
        signal.signal(signal.SIGCHLD, HeldBack(handler))


@contextmanager
def deaths_are_raised() -> Iterator[None]:
    """While a batch is waited for."""
    HeldBack.waiting = True
    try:
        yield
    finally:
        HeldBack.waiting = False
