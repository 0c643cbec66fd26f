"""What an unfinished run has measured so far, on disk, so that it can be taken up after any end."""

import json
import os
import shutil
import warnings
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from lightning.pytorch.utilities import rank_zero_info

from bench.outcomes import Outcomes
from bench.runs import locks
from bench.runs.files import write_atomically
from bench.runs.folder import CONFIG, UNFINISHED
from bench.runs.record import RESULTS
from bench.runs.untyped import to_json
from datamodules.errors import UserError

_SUBJECT = "subject.json"
_LOCK = "lock"
_SHARDS = "*.safetensors"


class Journal:
    """Shards of outcomes in `<run>/unfinished`, gone once the results are written.

    The folder also has the run's subject: all that decides about its outcomes, JSON-able. Only a run with an equal one
    takes them up. A lock tells a killed run from one that is at work.

    Args:
        run: The run's folder.
    """

    def __init__(self, run: Path) -> None:
        self.run, self.folder = run, run / UNFINISHED
        self._numbers = count()
        self._process = f"{os.getpid()}-{uuid4().hex[:8]}"  # ranks on several machines may share the folder

    @classmethod
    def find(cls, runs: Path, subject: Mapping[str, Any]) -> Self | None:
        """The newest unfinished run among the folders in `runs` that has this subject and is not at work, claimed.

        Says why it is none if there is one that only other software keeps from being taken up.
        """
        files = sorted(runs.glob(f"*/{UNFINISHED}/{_SUBJECT}"), key=lambda file: file.stat().st_mtime, reverse=True)
        for file in files:
            journal, different = cls(file.parents[1]), _differences(_read(file), to_json(subject))
            if not different and journal._is_free():
                return journal
            if different and all(name.startswith("software.") for name in different):
                rank_zero_info(
                    f"not taking up the unfinished run in {journal.run}: it was begun with another "
                    f"{_software(different)}"
                )
        return None

    def claim(self, subject: Mapping[str, Any]) -> None:
        """Make the run's folder this process's own, until `close` or until the process ends.

        Outcomes in it that only other software keeps from being taken up are dropped.

        Raises:
            UserError: It holds results, a run that is at work, or an unfinished run of another subject.
            OSError: It cannot be written.
        """
        if (self.run / RESULTS).exists():
            raise UserError(f"{str(self.run / RESULTS)!r} holds the results of another run: {_MEND}")
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._is_free():
            raise UserError(f"another process is at work in {str(self.run)!r}: wait for it, or {_MEND}")
        file = self.folder / _SUBJECT
        if not file.exists() and (self.run / CONFIG).exists():
            raise UserError(f"{str(self.run)!r} holds the {CONFIG} of another run: {_MEND}")
        if not file.exists():
            write_atomically(file, json.dumps(to_json(subject), indent=1) + "\n")
        elif different := _differences(_read(file), to_json(subject)):
            if all(name.startswith("software.") for name in different):
                rank_zero_info(f"starting over in {self.run}: it was begun with another {_software(different)}")
                for shard in self.folder.glob(_SHARDS):
                    shard.unlink()
                write_atomically(file, json.dumps(to_json(subject), indent=1) + "\n")
                return
            raise UserError(
                f"{str(self.run)!r} holds an unfinished run with another {', '.join(different)}: finish it as it was "
                f"begun, or delete {str(self.folder)!r}, or {_MEND}"
            )

    def is_at_work(self) -> bool:
        """Whether another process has claimed the run's folder."""
        lock = self.folder / _LOCK
        if not lock.exists():
            return False
        free = locks.acquire(lock)
        if free:
            locks.release(lock)
        return not free

    def _is_free(self) -> bool:
        return locks.acquire(self.folder / _LOCK) and not (self.run / RESULTS).exists()

    def append(self, outcomes: Mapping[str, Outcomes]) -> None:
        """Write outcomes in host memory, by view, as a shard of their own: there whole or not at all.

        Raises:
            OSError: It cannot be written.
        """
        from safetensors.numpy import save

        columns = {
            f"{view}/{name}": column.numpy() for view, rows in outcomes.items() for name, column in vars(rows).items()
        }
        write_atomically(self.folder / f"{self._process}-{next(self._numbers)}.safetensors", save(columns))

    def read(self) -> dict[str, Outcomes] | None:
        """Outcomes of all shards, by view; every image once, sorted by index. None if there are none."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        parts: list[dict[str, Outcomes]] = []
        for file in sorted(self.folder.glob(_SHARDS)):
            try:
                columns = load(file.read_bytes())
            except SafetensorError as error:
                warnings.warn(f"{file} is damaged ({error}): its images are classified again", stacklevel=2)
                continue
            views = dict.fromkeys(name.rpartition("/")[0] for name in columns)
            parts.append({view: Outcomes.from_columns(columns, f"{view}/") for view in views})
        if not parts:
            return None
        return {view: Outcomes.concatenate([part[view] for part in parts]).unique() for view in parts[0]}

    def close(self) -> None:
        """Forget everything: the results are written."""
        shutil.rmtree(self.folder, ignore_errors=True)
        locks.release(self.folder / _LOCK)


_MEND = "choose another folder with --trainer.logger.save_dir or --trainer.default_root_dir"


def _differences(one: Any, other: Any, name: str = "") -> list[str]:
    """Where two JSON values differ, as dotted names of the keys.

    >>> _differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}})
    ['a.c']
    """
    if isinstance(one, dict) and isinstance(other, dict):
        keys = list(dict.fromkeys([*one, *other]))
        parts = (_differences(one.get(key), other.get(key), f"{name}.{key}" if name else key) for key in keys)
        return [difference for part in parts for difference in part]
    return [] if one == other else [name or "subject"]


def _software(different: Sequence[str]) -> str:
    return ", ".join(name.removeprefix("software.") for name in different)


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # made by another process this moment, or damaged: not a run to take up
        return None
