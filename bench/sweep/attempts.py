"""One cell of a sweep: where it stands, and its run in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path

from bench.command_line.ending import one_line
from bench.command_line.screen import last_progress
from bench.runs import locks
from bench.runs.files import FileError, open_regular, write_atomically
from bench.runs.folder import FAILED, RunFolder
from bench.runs.json_values import read_json
from bench.sweep.cells import Cell
from bench.sweep.places import Place
from datamodules.errors import UserError

LOG = "sweep.log"
_LOCK = ".sweep.lock"
_LARGEST_FAILURE = 1_000_000  # bytes
_FOLLOW_SECONDS = 15.0
_TAIL_BYTES = 4096
_STEP = ("SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID")
"""What `srun` tells its tasks: each may be a sweep, but no cell is a rank among those of other sweeps."""


class State(Enum):
    """Where a cell stands."""

    OPEN = auto()
    DONE = auto()
    FAILED = auto()
    ELSEWHERE = auto()
    WAITING = auto()
    """For what this sweep has yet to make."""
    LEFT_OUT = auto()
    """It measures what is not there."""


def state(cell: Cell) -> tuple[State, str]:
    """Where a cell stands, apart from processes at work on it; and why it failed.

    A cell is done if its results are whole and its configuration is what the grid asks for.
    """
    failed = cell.folder / FAILED
    try:
        seconds_said(cell)
        different = cell.differences()
    except FileNotFoundError:
        return (State.FAILED, _failure(failed)) if failed.exists() else (State.OPEN, "")
    except (OSError, UserError) as error:
        return State.FAILED, one_line(f"results in {cell.folder} cannot be read ({error}): remove it")
    if different:
        return State.FAILED, f"{cell.folder} holds results with another {', '.join(different)}: remove it"
    return State.DONE, ""


def _failure(file: Path) -> str:
    """Why a cell failed, as an earlier sweep has written it."""
    try:
        return one_line(read_json(file, _LARGEST_FAILURE)["reason"].text())
    except (OSError, UserError) as error:
        return one_line(f"{error}: remove it")


def attempt(
    cell: Cell, retry: bool, run: Callable[[Cell], int], starting: Callable[[], None]
) -> tuple[State, str, float | None]:
    """Run a cell unless there is a reason not to.

    Args:
        cell: The cell.
        retry: Whether to run it if it has failed before.
        run: Runs it to its end and gives its exit status; negative is the number of the signal that ended it.
        starting: Is called when it is about to run.

    Returns:
        Its state, why it failed, and the seconds that it took; None if it did not run.
    """
    now, reason = state(cell)
    if now is State.DONE:
        return now, "", None
    cell.folder.mkdir(parents=True, exist_ok=True)
    lock = cell.folder / _LOCK
    if not locks.acquire(lock):
        return State.ELSEWHERE, "", None
    try:
        now, reason = state(cell)  # another sweep may have ended it a moment ago
        if now is State.DONE or (now is State.FAILED and not (retry and (cell.folder / FAILED).exists())):
            return now, reason, None
        if RunFolder(cell.folder).is_at_work():  # the sweep that started it was killed
            return State.ELSEWHERE, "", None
        starting()
        began = time.monotonic()
        try:
            code = run(cell)
        except FileError as error:
            return State.FAILED, one_line(str(error)), None
        seconds = time.monotonic() - began
        now, reason = state(cell)
        if now is State.DONE:
            (cell.folder / FAILED).unlink(missing_ok=True)
            return now, "", seconds
        if RunFolder(cell.folder).is_at_work():
            return State.ELSEWHERE, "", None
        if code or not _record_file(cell).exists():  # else its results are not those asked for
            reason = _reason(code, cell.folder / LOG)
        record = {"reason": reason, "exit": code, "command": ["lightning", *cell.arguments()]}
        write_atomically(cell.folder / FAILED, json.dumps(record, indent=1) + "\n")
        return State.FAILED, reason, seconds
    finally:
        locks.release(lock)


class CellProcesses:
    """Processes of cells that run side by side and end with their sweep.

    Args:
        follow: Is told, from time to time, the last line in which a running cell said how far it is; None: nobody is.
    """

    def __init__(self, follow: Callable[[Cell, str], None] | None = None) -> None:
        self._follow = follow
        self._running: set[subprocess.Popen[bytes]] = set()
        self._ended = False
        self._lock = threading.Lock()

    def run(self, cell: Cell, place: Place) -> int:
        """Run a cell to its end; its exit status.

        Raises:
            FileError: Its log cannot be written.
            SweepEndedError: `end` was called meanwhile, so that the status says nothing about the cell.
        """
        command = [sys.executable, "-m", "bench", *cell.arguments()]
        environment = {name: value for name, value in os.environ.items() if name not in _STEP}
        with open(open_regular(cell.folder / LOG, os.O_WRONLY | os.O_APPEND), "ab") as log:
            with self._lock:
                if self._ended:
                    raise SweepEndedError
                process = place.start(command, environment, log.fileno())
                self._running.add(process)
            try:
                code = self._ended_with(process, cell)
            finally:
                with self._lock:
                    self._running.remove(process)
            if self._ended:
                raise SweepEndedError
            return code

    def _ended_with(self, process: subprocess.Popen[bytes], cell: Cell) -> int:
        said = None
        while True:
            try:
                return process.wait(None if self._follow is None else _FOLLOW_SECONDS)
            except subprocess.TimeoutExpired:
                now = last_progress(_tail(cell.folder / LOG))
                if self._follow is not None and now is not None and now != said:
                    self._follow(cell, now)
                    said = now

    def end(self) -> None:
        """Ask all processes to end, and start no more."""
        with self._lock:
            self._ended = True
            for process in self._running:
                process.terminate()


class SweepEndedError(Exception):
    """The sweep was told to end while a cell ran."""


def _record_file(cell: Cell) -> Path:
    folder = RunFolder(cell.folder)
    return folder.results if cell.command == "test" else folder.finetuning


def _tail(log: Path) -> str:
    """What was printed last; it may begin in the middle of a line, which is then like no other."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        return file.read().decode(errors="replace")


def _reason(code: int, log: Path) -> str:
    """Why a process ended, in one line: what it said last about errors, or the signal."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    if code < 0:
        name = signal.Signals(-code).name
        hint = ", perhaps for want of memory" if name == "SIGKILL" else ""
        return f"killed by {name}{hint}; see {log}"
    said = [line.strip() for line in lines if line.startswith("error: ")] or [line for line in lines if line.strip()]
    return one_line(f"{said[-1].removeprefix('error: ') if said else f'exit status {code}'}; see {log}")


def seconds_said(cell: Cell) -> float | None:
    """Seconds that a done cell took, as its record says, without the start-up.

    Raises:
        FileNotFoundError: There is none.
        UserError: It is damaged.
        OSError: It cannot be read.
    """
    folder = RunFolder(cell.folder)
    for file in (folder.results, folder.finetuning):
        if file.is_dir():
            raise FileError(file, "it is a folder")
    return (folder.record() if cell.command == "test" else folder.finetuning_record()).run.seconds
