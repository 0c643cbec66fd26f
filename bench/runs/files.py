"""Files of a run: written whole or not at all, read only where they are files of a bearable size."""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from datamodules.errors import UserError

_ODD = (errno.ELOOP, errno.EISDIR, errno.ENXIO)  # what opening a link, a folder or a pipe says


class FileError(UserError, ValueError):
    """A file of a run that is damaged, or was never one.

    Args:
        path: The file.
        reason: What is wrong with it, in one line; for a JSON file it names the key.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{str(path)!r} cannot be used: {reason}")
        self.path, self.reason = path, reason


def read_bounded(path: Path, most: int, *, follow: bool = True) -> bytes:
    """The content of a regular file; pipes and devices, which may never end, are not read.

    Args:
        path: The file.
        most: Bytes that it may have.
        follow: Whether the file may be a link to a regular file.

    Raises:
        FileError: It is no regular file, or is larger.
        FileNotFoundError: It is not there.
        OSError: It cannot be read.
    """
    # O_NONBLOCK: to open a pipe that nobody writes to would take for ever; Windows knows neither flag
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    flags |= 0 if follow else getattr(os, "O_NOFOLLOW", 0)
    if path.is_symlink() and not (follow and path.exists()):
        raise FileError(path, "it is not a regular file but a link" + (" to nothing" if follow else ""))
    if path.is_dir():
        raise FileError(path, "it is not a regular file but a folder")
    with open(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise FileError(path, "it is not a regular file")
        if status.st_size > most:
            raise FileError(path, f"it has {status.st_size:,} bytes, and at most {most:,} are read")
        content = file.read(most + 1)  # it may grow as it is read
    if len(content) > most:
        raise FileError(path, f"it has more than {most:,} bytes")
    return content


def require_regular(path: Path) -> None:
    """Refuse what another library, which is to open it, might wait for without end.

    Raises:
        FileError: It is a folder, a pipe, a device, or a link to one.
        OSError: It is not there.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise FileError(path, "it is not a regular file")


def open_regular(path: Path, access: int) -> int:
    """The descriptor of a regular file that is to be changed in its place, made if need be; no link is followed.

    Args:
        path: The file.
        access: Flags of `os.open`.

    Raises:
        FileError: What is there is no regular file, such as a link, a folder or a pipe.
        OSError: The file cannot be made.
    """
    flags = access | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno in _ODD:
            raise FileError(path, "it is not a regular file: delete it") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileError(path, "it is not a regular file: delete it")
    return descriptor


def write_atomically(path: Path, content: str | bytes | Iterable[str]) -> None:
    """Write a file, a text or pieces of one as UTF-8, so that it is there whole or not at all, also after a crash.

    Raises:
        UserError: The folder is gone, or there is a folder in the file's place.
        OSError: The folder cannot be written.
    """
    with whole_or_not_at_all(path) as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            file.writelines(piece.encode() for piece in ([content] if isinstance(content, str) else content))


@contextmanager
def whole_or_not_at_all(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes its place once it is whole and on the disk; raises what `write_atomically` does."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except FileNotFoundError as error:
        raise UserError(
            f"{str(path.parent)!r} is gone, so nothing can be written there: run the command again"
        ) from error
    except IsADirectoryError as error:
        raise UserError(
            f"{str(path)!r} is a folder in the place of a file: delete it, and run the same command"
        ) from error
    except OSError as error:
        error.filename = error.filename or str(path)  # which a full disk does not say
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
