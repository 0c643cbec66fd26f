"""Runs the cells of a sweep, some side by side, beside any number of other sweeps."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import timedelta
from queue import SimpleQueue

from bench.sweep.attempts import CellProcesses, State, attempt, seconds_said
from bench.sweep.grid import Cell
from bench.sweep.places import Place

_POLL_SECONDS = 1.0


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
    places: Sequence[Place] = (Place(),),
) -> Outcome:
    """Run what is not done, going on past failures.

    Args:
        cells: In the order wanted.
        retry: Whether to run cells again that failed in an earlier sweep.
        wait: Whether to wait in the end for cells that other processes are at work on, and to take over those that
            come to nothing there.
        work: How much work a cell is, in any unit; None where it is unknown. The estimate of the time left uses it.
        say: Takes a line of progress.
        places: Shares of the machine: as many cells run side by side.
    """
    sweep = _Sweep(cells, retry, work, say, places)
    left = list(cells)
    while True:
        busy = sweep.run(left)
        if not busy or not wait:
            sweep.outcome.elsewhere = [cell.name for cell in busy]
            return sweep.outcome
        if len(busy) == len(left):
            time.sleep(_POLL_SECONDS)
        else:
            say(f"waiting for {len(busy)} cells that other processes are at work on")
        left = busy


class _Sweep:
    def __init__(
        self,
        cells: Sequence[Cell],
        retry: bool,
        work: Callable[[Cell], float | None],
        say: Callable[[str], None],
        places: Sequence[Place],
    ) -> None:
        self.outcome, self._retry, self._say = Outcome(), retry, say
        self._progress = _Progress(cells, work, len(places))
        self._processes, self._places = CellProcesses(), places
        self._free: SimpleQueue[Place] = SimpleQueue()
        for place in places:
            self._free.put(place)
        self._lock = threading.Lock()  # of the outcome, the progress and the lines

    def run(self, cells: Sequence[Cell]) -> list[Cell]:
        """Run cells; those that other processes are at work on, in order."""
        with ThreadPoolExecutor(len(self._places)) as pool:
            try:
                states = {pool.submit(self._attempt, cell): cell for cell in cells}
                for future in as_completed(states):
                    future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self._processes.end()
                raise
        return [cell for future, cell in states.items() if future.result() is State.ELSEWHERE]

    def _attempt(self, cell: Cell) -> State:
        place = self._free.get()
        try:
            state, reason, seconds = attempt(
                cell, self._retry, lambda cell: self._processes.run(cell, place), lambda: self._running(cell)
            )
        finally:
            self._free.put(place)
        with self._lock:
            if state is not State.ELSEWHERE:
                self._finished(cell, state, reason, seconds)
        return state

    def _running(self, cell: Cell) -> None:
        with self._lock:
            self._say(self._progress.line(cell, "running"))

    def _finished(self, cell: Cell, state: State, reason: str, seconds: float | None) -> None:
        if state is State.DONE:
            self._progress.finished(cell, seconds_said(cell) if seconds is None else seconds)
            self.outcome.done[cell.name] = seconds is not None
            self._say(self._progress.line(cell, "done before" if seconds is None else f"done in {_clock(seconds)}"))
        else:
            self._progress.finished(cell, None)
            self.outcome.failed[cell.name] = reason
            self._say(self._progress.line(cell, f"FAILED: {reason}"))


class _Progress:
    """Counts cells and estimates the time left from the time that finished ones took.

    Args:
        cells: All of them.
        work: How much work each is, as `run_cells` takes it.
        jobs: Cells that run side by side.
    """

    def __init__(self, cells: Sequence[Cell], work: Callable[[Cell], float | None], jobs: int = 1) -> None:
        self._left = {cell.name: work(cell) for cell in cells}
        self._total, self._jobs = len(cells), jobs
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
        seconds = sum(seconds for _, seconds in self._known) / max(1, min(self._jobs, len(self._left)))
        known, left = [work for work, _ in self._known], list(self._left.values())
        whole = [work for work in (*known, *left) if work is not None]
        if len(whole) < len(known) + len(left):
            return seconds / len(known) * len(left)
        return seconds * sum(whole[len(known) :]) / sum(whole[: len(known)])


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
