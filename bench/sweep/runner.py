"""Runs the cells of a sweep, some side by side, beside any number of other sweeps."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import timedelta
from queue import SimpleQueue

from bench.sweep.attempts import CellProcesses, State, attempt, seconds_said, state
from bench.sweep.cells import Cell
from bench.sweep.places import Place

_POLL_SECONDS = 1.0


@dataclass
class Outcome:
    """What became of the cells of a sweep.

    Attributes:
        done: Cells whose results are there, and whether this sweep made them.
        failed: Cells that failed, and why, in one line.
        left_out: Cells whose weights no other cell has left, and why, in one line.
        elsewhere: Cells that another process is still at work on, or on what they measure.
    """

    done: dict[str, bool] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    elsewhere: list[str] = field(default_factory=list)


def run_cells(
    cells: Sequence[Cell],
    *,
    retry: bool,
    wait: bool,
    work: Callable[[Cell], float | None],
    say: Callable[[str], None] = print,
    places: Sequence[Place] = (Place(),),
    follow: bool = False,
) -> Outcome:
    """Run what is not done, going on past failures.

    Args:
        cells: In the order wanted, those that fit in front of those that measure what they leave.
        retry: Whether to run cells again that failed in an earlier sweep.
        wait: Whether to wait in the end for cells that other processes are at work on, and to take over those that
            come to nothing there.
        work: How much work a cell is, in any unit; None where it is unknown. The estimate of the time left uses it.
        say: Takes a line of progress.
        places: Shares of the machine: as many cells run side by side.
        follow: Whether to say how far running cells are, several times a minute.
    """
    sweep = _Sweep(cells, retry, work, say, places, follow)
    left = list(cells)
    while True:
        busy, waiting = sweep.run(left)
        if not (busy or waiting) or not (wait or sweep.may_go_on(busy, waiting)):
            sweep.outcome.elsewhere = [cell.name for cell in left if cell in busy or cell in waiting]
            return sweep.outcome
        if len(busy) + len(waiting) == len(left):
            time.sleep(_POLL_SECONDS)
        elif busy:
            say(f"waiting for {len(busy)} cells that other processes are at work on")
        left = [cell for cell in left if cell in busy or cell in waiting]


class _Sweep:
    def __init__(
        self,
        cells: Sequence[Cell],
        retry: bool,
        work: Callable[[Cell], float | None],
        say: Callable[[str], None],
        places: Sequence[Place],
        follow: bool,
    ) -> None:
        self.outcome, self._retry, self._say = Outcome(), retry, say
        self._unfinished = {cell.name for cell in cells}
        self._progress = _Progress(cells, work, len(places))
        self._processes, self._places = CellProcesses(self._followed if follow else None), places
        self._free: SimpleQueue[Place] = SimpleQueue()
        for place in places:
            self._free.put(place)
        self._lock = threading.Lock()  # of the outcome, the progress and the lines

    def run(self, cells: Sequence[Cell]) -> tuple[list[Cell], list[Cell]]:
        """Run cells; those that other processes are at work on, and those that wait for others of this sweep."""
        with ThreadPoolExecutor(len(self._places)) as pool:
            try:
                states = {pool.submit(self._attempt, cell): cell for cell in cells}
                for future in as_completed(states):
                    future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self._processes.end()
                raise
        busy, waiting = (
            [cell for future, cell in states.items() if future.result() is left]
            for left in (State.ELSEWHERE, State.WAITING)
        )
        return busy, waiting

    def may_go_on(self, busy: Sequence[Cell], waiting: Sequence[Cell]) -> bool:
        """Whether what some cells wait for has ended meanwhile, here or in another process."""
        ended = any(state(cell)[0] is not State.OPEN for cell in busy) if waiting else False
        needs = ({weights.fit.name for weights in cell.weights} for cell in waiting)
        return ended or any(map(self._unfinished.isdisjoint, needs))

    def _attempt(self, cell: Cell) -> State:
        if (hindrance := self._hindrance(cell)) is not None:
            return hindrance
        place = self._free.get()
        try:
            now, reason, seconds = attempt(
                cell, self._retry, lambda cell: self._processes.run(cell, place), lambda: self._running(cell)
            )
        finally:
            self._free.put(place)
        with self._lock:
            if now is not State.ELSEWHERE:
                self._finished(cell, now, reason, seconds)
        return now

    def _hindrance(self, cell: Cell) -> State | None:
        """Why a cell cannot run that measures what another leaves; None if nothing keeps it from running."""
        with self._lock:
            for fit in (weights.fit for weights in cell.weights):
                if fit.name in self._unfinished:
                    return State.WAITING
                stands, _ = state(fit)
                if stands is not State.DONE:
                    why = "has failed" if stands is State.FAILED else "is not done"
                    self._finished(cell, State.LEFT_OUT, f"{fit.name} {why}", None)
                    return State.LEFT_OUT
        return None

    def _running(self, cell: Cell) -> None:
        with self._lock:
            self._say(self._progress.line(cell, "running"))

    def _followed(self, cell: Cell, line: str) -> None:
        with self._lock:
            self._say(f"  {cell.name}: {line}")

    def _finished(self, cell: Cell, now: State, reason: str, seconds: float | None) -> None:
        self._unfinished.discard(cell.name)
        if now is State.DONE:
            self._progress.finished(cell, seconds_said(cell) if seconds is None else seconds)
            self.outcome.done[cell.name] = seconds is not None
            self._say(self._progress.line(cell, "done before" if seconds is None else f"done in {_clock(seconds)}"))
        elif now is State.LEFT_OUT:
            self._progress.finished(cell, None)
            self.outcome.left_out[cell.name] = reason
            self._say(self._progress.line(cell, f"left out: {reason}"))
        else:
            self._progress.finished(cell, None)
            self.outcome.failed[cell.name] = reason
            self._say(self._progress.line(cell, f"FAILED: {reason}"))


class _Progress:
    """Counts cells and estimates the time left in a step from the time that finished ones of it took.

    Args:
        cells: All of them.
        work: How much work each is, as `run_cells` takes it.
        jobs: Cells that run side by side.
    """

    def __init__(self, cells: Sequence[Cell], work: Callable[[Cell], float | None], jobs: int = 1) -> None:
        self._left: dict[str, dict[str, float | None]] = {}
        self._known: dict[str, list[tuple[float | None, float]]] = {}
        for cell in cells:
            self._left.setdefault(cell.step, {})[cell.name] = work(cell)
        self._total, self._jobs = len(cells), jobs

    def finished(self, cell: Cell, seconds: float | None) -> None:
        work = self._left[cell.step].pop(cell.name)
        if seconds is not None:
            self._known.setdefault(cell.step, []).append((work, seconds))

    def line(self, cell: Cell, what: str) -> str:
        eta = self.seconds_left(cell.step)
        whole = f" of {cell.step}" if cell.step else ""
        tail = "" if eta is None or not self._left[cell.step] else f"; about {_clock(eta)} left{whole}"
        return f"[{self._total - sum(map(len, self._left.values()))}/{self._total}] {cell.name}: {what}{tail}"

    def seconds_left(self, step: str = "") -> float | None:
        """Per unit of work where all of it is known, else per cell; None before the first cell has ended."""
        ended, remaining = self._known.get(step), self._left[step]
        if not ended:
            return None
        seconds = sum(seconds for _, seconds in ended) / max(1, min(self._jobs, len(remaining)))
        known, left = [work for work, _ in ended], list(remaining.values())
        whole = [work for work in (*known, *left) if work is not None]
        if len(whole) < len(known) + len(left):
            return seconds / len(known) * len(left)
        return seconds * sum(whole[len(known) :]) / sum(whole[: len(known)])


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
