"""Opening what a user names, and nothing that only looks like a file."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from datamodules.errors import UserError


def open_regular(path: Path, what: str) -> BinaryIO:
    """Open a file for reading; a pipe or a device, which could block for ever or never end, is refused.

    Args:
        path: Links are followed.
        what: What the file should be, for the message.

    Raises:
        UserError: It does not exist, is no regular file, or may not be read.
    """
    try:
        # a pipe without a writer would block in open
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{what} {path} does not exist: check the path") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{what} {path} cannot be opened ({reason}): check the path") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UserError(f"{what} {path} is a folder, pipe or device: name a file")
    return os.fdopen(descriptor, "rb")
