"""When the death of a loader process may raise: torch lets it raise into whatever code runs at that moment."""

import signal
import threading
from types import FrameType
from typing import Any


class WhileWaiting:
    """A handler of SIGCHLD that works while a batch is waited for, and nothing else runs.

    torch's raises whenever a loader process dies, into whatever code runs then. What happens unseen is seen when the
    wait ends or has lasted for the loader's `timeout`.
    """

    def __init__(self, handler: Any) -> None:
        self.handler = handler

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if _waits(frame):
            self.handler(number, frame)


def _waits(frame: FrameType | None) -> bool:
    """Whether torch is at its queue of batches.

    It is not where another iterator, collected at this moment, waits for its own processes; nor where torch has seen
    that something is wrong and counts how many files it can still open.
    """
    inner = None
    while frame is not None and frame.f_code.co_name != "_shutdown_workers":
        if frame.f_code.co_name == "_try_get_data":
            return inner == "get"
        inner = frame.f_code.co_name
        frame = frame.f_back
    return False


def raise_deaths_while_waiting() -> None:
    """Let no death of a child process raise but while a batch is waited for, once torch has its handler."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGCHLD"):
        return
    handler = signal.getsignal(signal.SIGCHLD)
    if callable(handler) and not isinstance(handler, WhileWaiting):
        signal.signal(signal.SIGCHLD, WhileWaiting(handler))
