"""Sees to it that one process at a time is at work in the folder of an export."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.runs import locks
from datamodules.errors import UserError

LOCK = ".export.lock"


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """Keep other processes out of the folder of an export.

    Raises:
        UserError: Another process is at work in it.
    """
    if not locks.acquire(output / LOCK):
        raise UserError(f"another export is at work in {str(output)!r}: wait for it, or choose another `--output`")
    try:
        yield
    finally:
        locks.release(output / LOCK)
        (output / LOCK).unlink(missing_ok=True)
