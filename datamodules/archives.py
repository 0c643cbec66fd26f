"""torchvision's archives: downloaded and verified by torchvision, or read as they are if the user vouches for them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from http.client import HTTPException
from pathlib import Path
from typing import Any

from datamodules.errors import UserError

Files = Sequence[tuple[str, str | None]]
"""File names with their md5 sums; a sum of None is not checked."""


def fetch(archive: Any, root: Path, files: Files) -> None:
    """Download a torchvision archive into `root` unless a verified copy is there.

    Args:
        archive: A torchvision data set class with an archive `url`.
        root: Folder that holds, or will hold, the archive's own folder.
        files: What the archive holds.

    Raises:
        UserError: The download failed.
    """
    try:
        archive(root, download=True)
    except (OSError, RuntimeError, HTTPException, EOFError) as error:
        if all((root / archive.base_folder / name).is_file() for name, _ in files):
            require(archive, root, files, verify=True)  # says which of them is no copy that torchvision knows
        raise UserError(
            f"{archive.__name__} could not be downloaded from {archive.url} into {str(root)!r} "
            f"({one_line(error)}): check the network, or copy {archive.base_folder} there by hand"
        ) from error


def require(archive: Any, root: Path, files: Files, *, verify: bool) -> list[list[str | None]]:
    """Names and sums, as torchvision's classes keep them, of files that are all there.

    Raises:
        UserError: A file is missing, or its checksum is not torchvision's although `verify` is set.
    """
    folder = root / archive.base_folder
    for name, md5 in files:
        if not (folder / name).is_file():
            raise UserError(
                f"{archive.__name__} is not complete, {str(folder / name)!r} is missing: name the folder that holds "
                f"{archive.base_folder} with `root`, or add `download=True`",
                option=("data.root", "data.download"),
            )
        if verify and not _intact(folder / name, md5):
            raise UserError(
                f"{str(folder / name)!r} has a checksum that torchvision does not know: replace it, or add "
                "`verify_checksums=False` if you trust this copy",
                option="data.verify_checksums",
            )
    return [[name, None] for name, _ in files]


@contextmanager
def reading(archive: Any, root: Path) -> Iterator[None]:
    """Whatever an archive that is no such archive makes torchvision raise becomes one line.

    Raises:
        UserError: The block raised something.
    """
    try:
        yield
    except Exception as error:
        raise UserError(
            f"{str(root / archive.base_folder)!r} does not hold a readable {archive.__name__} ({one_line(error)}): "
            "replace it, or remove it and add `download=True`",
            option="data.download",
        ) from error


def one_line(error: Exception) -> str:
    """An exception's type and message on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _intact(file: Path, md5: str | None) -> bool:
    state = file.stat()
    return _has_sum(file, md5, state.st_size, state.st_mtime_ns)


@cache
def _has_sum(file: Path, md5: str | None, _size: int, _modified: int) -> bool:
    """Whether a file in this state has the sum: hundreds of megabytes are read once, however often one asks."""
    from torchvision.datasets.utils import check_integrity

    return bool(check_integrity(file, md5))
