"""Which process owns a folder: a lock that the operating system takes back when its process ends, however it ends."""

import errno
import os
import warnings
from pathlib import Path

from bench.runs.files import open_regular

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]  # is there where fcntl is not

else:

    def _lock(descriptor: int) -> None:
        # not flock, which a forked loader worker would share and keep for seconds after its parent was killed
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


_TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
_held: dict[Path, int] = {}


def acquire(file: Path) -> bool:
    """Lock a file, made if need be, for this process; whether this process has it now.

    Where the file system knows no locks, warns and says yes.

    Raises:
        FileError: What is there is no regular file, such as a link, a folder or a pipe.
        OSError: The file cannot be made.
    """
    file = _place(file)
    if file in _held:
        return True
    descriptor = open_regular(file, os.O_RDWR)
    try:
        _lock(descriptor)
    except OSError as error:
        if error.errno in _TAKEN:
            os.close(descriptor)
            return False
        warnings.warn(
            f"{str(file)!r} cannot be locked ({error.strerror}): see to it that no two runs share a folder",
            stacklevel=2,
        )
    _held[file] = descriptor
    return True


def release(file: Path) -> None:
    """Give back a lock, if this process has it."""
    descriptor = _held.pop(_place(file), None)
    if descriptor is not None:
        os.close(descriptor)


def _place(file: Path) -> Path:
    return file.parent.resolve() / file.name  # not where a link in its place would lead
