"""What an unfinished run has measured so far, on disk, so that it can be taken up after any end."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Mapping
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from bench.runs import locks
from bench.runs.files import FileError, write_atomically
from bench.runs.json_values import Value, plain, read_json
from bench.runs.shards import read_shard, write_shard
from datamodules.errors import UserError

if TYPE_CHECKING:
    from bench.outcomes import Outcomes

SHARDS = "*.safetensors"
SUBJECT = "subject.json"
_LOCK = "lock"
_MOST_BYTES = 2**24  # of a subject: all indices that were chosen may be in it


class Journal:
    """A run's outcomes so far, gone once its results are written.

    A folder of shards with the run's subject: all that decides about its outcomes, JSON-able. A lock tells a killed run
    from one that is at work.

    Args:
        folder: Where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = count()
        self._process = f"{os.getpid()}-{uuid4().hex[:8]}"  # ranks on several machines may share the folder

    @property
    def lock(self) -> Path:
        """The file that is locked while a process is at work."""
        return self.folder / _LOCK

    @property
    def subject_file(self) -> Path:
        """The file with the subject."""
        return self.folder / SUBJECT

    def acquire(self) -> bool:
        """Make it this process's own, until `close` or until the process ends; whether it is now.

        Raises:
            FileError: The lock is no regular file.
            OSError: It cannot be written.
        """
        return locks.acquire(self.lock)

    def is_at_work(self) -> bool:
        """Whether another process has it."""
        if not self.lock.is_file() or self.lock.is_symlink():
            return False
        free = locks.acquire(self.lock)
        if free:
            locks.release(self.lock)
        return not free

    def subject(self) -> Any:
        """The subject of the outcomes; None if there is none, or a damaged one: not a run to take up."""
        try:
            return read_json(self.subject_file, _MOST_BYTES, follow=False).content
        except (OSError, FileError):  # made by another process this moment, or damaged
            return None

    def begin(self, subject: Mapping[str, Any]) -> None:
        """Start over with a subject.

        Raises:
            OSError: It cannot be written.
        """
        for shard in self.folder.glob(SHARDS):
            if not shard.is_dir() or shard.is_symlink():
                shard.unlink()
        write_atomically(self.subject_file, json.dumps(plain(subject), indent=1) + "\n")

    def append(self, outcomes: Mapping[str, Outcomes]) -> None:
        """Write outcomes in host memory, by view, as a shard of their own: there whole or not at all.

        Raises:
            UserError: The folder is gone.
            OSError: It cannot be written.
        """
        file = self.folder / f"{self._process}-{next(self._numbers)}.safetensors"
        write_shard(file, outcomes, self._digest)

    def read(self) -> dict[str, Outcomes] | None:
        """Outcomes of all shards, by view; every image once, sorted by index. None if there are none.

        A shard that is not as it was written is warned of and not used, so that its images are classified again.
        """
        from bench.outcomes import Outcomes

        views, classes, images = self._expected
        parts: list[dict[str, Outcomes]] = []
        for file in sorted(self.folder.glob(SHARDS)):
            try:
                parts.append(read_shard(file, views, classes, images, self._digest))
            except (FileError, OSError) as error:
                reason = error.reason if isinstance(error, FileError) else error.strerror
                warnings.warn(f"{file} is not used ({reason}): its images are classified again", stacklevel=2)
        if not parts:
            return None
        return {view: Outcomes.concatenate([part[view] for part in parts]).unique() for view in views}

    def close(self, *, forget: bool = True) -> None:
        """Give the folder back, and forget what was measured: the results are written."""
        if forget:
            shutil.rmtree(self.folder, ignore_errors=True)
        locks.release(self.lock)

    @cached_property
    def _digest(self) -> str:
        content = self._subject.content
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def _subject(self) -> Value:
        try:
            return read_json(self.subject_file, _MOST_BYTES, follow=False)
        except FileNotFoundError as error:
            raise UserError(f"{str(self.folder)!r} is gone, and what it held: run the command again") from error

    @property
    def _expected(self) -> tuple[tuple[str, ...], int, int]:
        """Views, number of classes and number of images of the subject."""
        data = self._subject["data"]
        return data["views"].texts(), len(data["class_names"].texts()), data["images_in_split"].whole()
