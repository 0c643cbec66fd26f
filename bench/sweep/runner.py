"""Runs the cells of a sweep one after the other, each in a process of its own, beside any number of other sweeps."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, auto
from functools import partial
from pathlib import Path

from bench.command_line.ending import one_line
from bench.runs import locks
from bench.runs.files import FileError, open_regular, write_atomically
from bench.runs.folder import RunFolder
from bench.runs.json_values import read_json
from bench.sweep.grid import Cell
from datamodules.errors import UserError

LOG = "sweep.log"
FAILED = "failed.json"
_LOCK = ".sweep.lock"
_POLL_SECONDS = 1.0
_LARGEST_FAILURE = 1_000_000  # bytes


class State(Enum):
    """Where a cell stands."""

    OPEN = auto()
    DONE = auto()
    FAILED = auto()
    ELSEWHERE = auto()


@dataclass
class Outcome:
    """What became of the cells of a sweep.

    Attributes:
        done: Cells whose results are there, and whether this sweep made them.
        failed: Cells that failed, and why, in one line.
        elsewhere: Cells that another process is still at work on.
    """

    done: dict[str, bool] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    elsewhere: list[str] = field(default_factory=list)


def run_cells(
    cells: Sequence[Cell],
    *,
    retry: bool,
    wait: bool,
    work: Callable[[Cell], float | None],
    say: Callable[[str], None] = print,
) -> Outcome:
    """Run what is not done, going on past failures.

    Args:
        cells: In the order wanted.
        retry: Whether to run cells again that failed in an earlier sweep.
        wait: Whether to wait in the end for cells that other processes are at work on, and to take over those that
            come to nothing there.
        work: How much work a cell is, in any unit; None where it is unknown. The estimate of the time left uses it.
        say: Takes a line of progress.
    """
    outcome, progress = Outcome(), _Progress(cells, work)
    left = list(cells)

    def say_running(cell: Cell) -> None:
        say(progress.line(cell, "running"))

    while left:
        busy = []
        for cell in left:
            state, reason, seconds = _attempt(cell, retry, partial(say_running, cell))
            if state is State.ELSEWHERE:
                busy.append(cell)
                continue
            progress.finished(cell, _seconds(cell, seconds) if state is State.DONE else None)
            if state is State.DONE:
                outcome.done[cell.name] = seconds is not None
                say(progress.line(cell, "done before" if seconds is None else f"done in {_clock(seconds)}"))
            else:
                outcome.failed[cell.name] = reason
                say(progress.line(cell, f"FAILED: {reason}"))
        if not busy or not wait:
            outcome.elsewhere = [cell.name for cell in busy]
            return outcome
        if len(busy) == len(left):
            time.sleep(_POLL_SECONDS)
        else:
            say(f"waiting for {len(busy)} cells that other processes are at work on")
        left = busy
    return outcome


def state(cell: Cell) -> tuple[State, str]:
    """Where a cell stands, apart from processes at work on it; and why it failed.

    A cell is done if its results are whole and its configuration is what the grid asks for.
    """
    failed = cell.folder / FAILED
    try:
        _seconds_said(cell)
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


def _attempt(cell: Cell, retry: bool, starting: Callable[[], None]) -> tuple[State, str, float | None]:
    """Run a cell unless there is a reason not to; its state, why it failed, and seconds if it ran."""
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
            code = _run(cell)
        except FileError as error:
            return State.FAILED, one_line(str(error)), None
        seconds = time.monotonic() - began
        now, reason = state(cell)
        if now is State.DONE:
            (cell.folder / FAILED).unlink(missing_ok=True)
            return now, "", seconds
        if RunFolder(cell.folder).is_at_work():
            return State.ELSEWHERE, "", None
        reason = _reason(code, cell.folder / LOG)
        record = {"reason": reason, "exit": code, "command": ["lightning", *cell.arguments()]}
        write_atomically(cell.folder / FAILED, json.dumps(record, indent=1) + "\n")
        return State.FAILED, reason, seconds
    finally:
        locks.release(lock)


def _run(cell: Cell) -> int:
    command = [sys.executable, "-m", "bench", *cell.arguments()]
    with open(open_regular(cell.folder / LOG, os.O_WRONLY | os.O_APPEND), "ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise


def _reason(code: int, log: Path) -> str:
    """Why a process ended, in one line: what it said last about errors, or the signal."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    if code < 0:
        name = signal.Signals(-code).name
        hint = ", perhaps for want of memory" if name == "SIGKILL" else ""
        return f"killed by {name}{hint}; see {log}"
    said = [line.strip() for line in lines if line.startswith("error: ")] or [line for line in lines if line.strip()]
    return one_line(f"{said[-1].removeprefix('error: ') if said else f'exit status {code}'}; see {log}")


class _Progress:
    """Counts cells and estimates the time left from the time that finished ones took."""

    def __init__(self, cells: Sequence[Cell], work: Callable[[Cell], float | None]) -> None:
        self._left = {cell.name: work(cell) for cell in cells}
        self._total = len(cells)
        self._known: list[tuple[float | None, float]] = []

    def finished(self, cell: Cell, seconds: float | None) -> None:
        work = self._left.pop(cell.name)
        if seconds is not None:
            self._known.append((work, seconds))

    def line(self, cell: Cell, what: str) -> str:
        eta = self.seconds_left()
        tail = "" if eta is None or not self._left else f"; about {_clock(eta)} left"
        return f"[{self._total - len(self._left)}/{self._total}] {cell.name}: {what}{tail}"

    def seconds_left(self) -> float | None:
        """Per unit of work where all of it is known, else per cell; None before the first cell has ended."""
        if not self._known:
            return None
        works = [work for work, _ in self._known]
        spent = sum(seconds for _, seconds in self._known)
        if None in works or None in self._left.values():
            return spent / len(works) * len(self._left)
        return spent * sum(self._left.values()) / sum(works)  # type: ignore[arg-type,operator]  # none is None


def _seconds(cell: Cell, seconds: float | None) -> float | None:
    """How long a done cell took; if not in this sweep, as its record says, without the start-up."""
    return _seconds_said(cell) if seconds is None else seconds


def _seconds_said(cell: Cell) -> float | None:
    """What the record of a done cell says.

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


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
