"""A data loader that outlives its processes: one that dies or stands still costs the image it was at, or one line."""

import math
import signal
import time
import weakref
from collections import deque
from collections.abc import Iterator
from copy import copy
from itertools import pairwise
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from typing import Any, Literal

from torch.utils.data import DataLoader

from datamodules import shared_memory
from datamodules.allocation import keep_freed_memory
from datamodules.child_deaths import raise_deaths_while_waiting
from datamodules.errors import UserError
from datamodules.loader_progress import ObservedImages, Progress, Watchable
from datamodules.notices import say
from datamodules.views import PADDING, Batch

_LOOK_EVERY = 2  # seconds
_PIECE = 0.5  # seconds that a loader process is at one piece of a batch


class WatchedLoader(DataLoader[Any]):
    """A loader whose processes say which image they are at.

    torch's own loader waits for ever where a batch found no room in shared memory, and raises into whatever code runs
    when a process dies. Here batches that do not fit pass through pipes, and a process that dies (a decoder's
    segmentation fault, the kernel's want of memory) or stands still is laid to the image it was at.

    Args:
        dataset: What is made of the images.
        on_error: Whether such an image ends the run ("raise") or comes as `Unreadable` ("skip").
        patience: Seconds after which an image without an end is given up.
        processes: Of this machine that share its shared memory.
        **options: Of torch's `DataLoader`. With `persistent_workers` the processes of one pass make the next one's
            batches, too, so that a pass does not begin with a copy of every page of memory that this process writes.
    """

    dataset: Watchable  # type: ignore[assignment]  # torch's is a class, of which no more is used than this

    def __init__(
        self,
        dataset: Watchable,
        *,
        on_error: Literal["raise", "skip"],
        patience: float,
        processes: int,
        **options: Any,
    ) -> None:
        super().__init__(dataset, **options)  # type: ignore[arg-type]
        # Lightning builds loaders anew from attributes of the names of arguments
        self.on_error, self.patience, self.processes = on_error, patience, processes

    def _get_iterator(self) -> Any:  # which torch's own `__iter__` asks for, and keeps where `persistent_workers`
        return _Watch(self) if self.num_workers else super()._get_iterator()


class _Watch(Iterator[Any]):
    def __init__(self, loader: WatchedLoader) -> None:
        self.loader = copy(loader)  # which keeps this very iterator: processes end with the last reference to it
        self.lost: dict[int, str] = {}
        self.said = False
        self.plain: DataLoader[Any] | None = None
        self.iterator: Iterator[Any] | None = None
        self._rewind(loader)
        self._start()

    def _rewind(self, loader: WatchedLoader) -> None:
        self.batches = list(loader.batch_sampler or ())
        self.delivered = 0

    def _reset(self, loader: WatchedLoader) -> None:
        """Go through the images once more, which torch's loader asks of an iterator that it keeps."""
        self._rewind(loader)
        if self.plain is not None and not self.cuts and not self._dead():
            try:
                self.iterator = iter(self.plain)
                return
            except RuntimeError:  # a process does not answer
                pass
        self._end()
        self._start()

    def __next__(self) -> Any:
        while True:
            found = self._wait()
            if found is None:
                raise StopIteration
            if isinstance(found, dict):
                self._give_up(found)
                continue
            self.pieces.append(found)
            if len(self.pieces) == self.cuts[0]:
                return self._deliver()

    def _deliver(self) -> Any:
        cut = self.cuts.popleft() > 1
        batch = self.loader.dataset.join(self.pieces)
        self.pieces.clear()
        self.delivered += 1
        if isinstance(batch, Batch) and batch.by_pipe and not self.said:
            self.said = True
            say(shared_memory.too_little())
        return batch.pin_memory() if cut and self.loader.pin_memory else batch

    def cut(self) -> Iterator[list[int]]:
        """What is not delivered yet, so that all processes are at the first batch, and none is long at one alone."""
        for batch in self.batches[self.delivered :]:
            seconds = self.progress.seconds()
            images = [place for place, position in enumerate(batch) if position != PADDING]
            parts = self.loader.num_workers if seconds is None else math.ceil(len(images) * seconds / _PIECE)
            parts = max(1, min(parts, len(images)))
            self.cuts.append(parts)
            ends = [*(images[part * len(images) // parts] for part in range(1, parts)), len(batch)]
            yield from (batch[start:end] for start, end in pairwise([0, *ends]))

    def _start(self) -> None:
        loader = self.loader
        ahead = loader.num_workers * (loader.prefetch_factor or 1) + 2
        self.progress = Progress(loader.num_workers)
        self.pieces: list[Any] = []
        self.cuts: deque[int] = deque()  # number of pieces of each batch on its way
        room = shared_memory.room() / (ahead * loader.processes)
        images = ObservedImages(loader.dataset, self.progress, self.lost, room)
        others = active_children()
        self.plain = DataLoader(
            images,
            batch_sampler=_Cut(self),
            num_workers=loader.num_workers,
            prefetch_factor=loader.prefetch_factor,
            collate_fn=images.collate,
            worker_init_fn=_begin,
            pin_memory=loader.pin_memory,
            timeout=_LOOK_EVERY,
            multiprocessing_context=loader.multiprocessing_context,
            persistent_workers=loader.persistent_workers,
        )
        self.iterator = iter(self.plain)
        self.workers = [process for process in active_children() if process not in others]
        raise_deaths_while_waiting()

    def _wait(self) -> Any:
        """The next piece, None after the last, or the images that processes died of or stand still at, and how."""
        assert self.iterator is not None
        seen, since = self.progress.snapshot(), time.monotonic()
        while True:
            try:
                if not self._dead():
                    return next(self.iterator, None)
            except Exception as error:  # what a process had passed on breaks in many ways when it dies
                timed_out = isinstance(error, RuntimeError) and "timed out" in str(error)
                if not timed_out and not self._dead(within=2):
                    raise
            if dead := self._dead():
                return self._blame(dead)
            if (now := self.progress.snapshot()) != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > self.loader.patience:
                return dict.fromkeys(self.progress.at().values(), f"no end after {self.loader.patience:g} seconds")

    def _dead(self, within: float = 0) -> list[BaseProcess]:
        """Processes that have died, or do so within so many seconds."""
        end = time.monotonic() + within
        while True:
            dead = [process for process in self.workers if process.exitcode]
            if dead or time.monotonic() >= end:
                return dead
            time.sleep(0.05)

    def _blame(self, dead: list[BaseProcess]) -> dict[int, str]:
        at = self.progress.at()
        return {at[process.pid]: _cause(process) for process in dead if process.pid in at}

    def _end(self) -> None:
        for process in self.workers:
            process.terminate()
        self.plain = self.iterator = None  # which waits for the processes

    def _give_up(self, images: dict[int, str]) -> None:
        """End the run, or go on behind the images in fresh processes."""
        causes = sorted({_cause(process) for process in self._dead()} | set(images.values()))
        self._end()
        if not images:
            raise UserError(
                f"a loader process ended ({', '.join(causes) or 'it stands still'}) while it was at no image: give it "
                "more memory, or try fewer `num_workers`, a smaller `batch_size`",
                option=("data.num_workers", "data.batch_size"),
            )
        if self.loader.on_error == "raise":
            source = self.loader.dataset.source
            names = [source.path(index) or f"number {index}" for index in sorted(images)]
            raise UserError(
                f"a loader process ended ({', '.join(causes)}) at image {' and '.join(names)}: replace it, or leave "
                "such images out with `on_error='skip'`",
                option="data.on_error",
            )
        self.lost |= images
        self._start()


class _Cut:
    """The batches of a watch, cut: what a loader that goes through them several times asks for each time."""

    def __init__(self, watch: _Watch) -> None:
        self.watch: _Watch = weakref.proxy(watch)

    def __iter__(self) -> Iterator[list[int]]:
        return self.watch.cut()


def _begin(worker: int) -> None:
    keep_freed_memory()  # every view is as large as the last one


def _cause(process: BaseProcess) -> str:
    """How a process died.

    A decoder that goes wrong is ended by a signal; the kernel ends a process with SIGKILL where memory is short.
    """
    code = process.exitcode or 0
    if code >= 0:
        return f"exit status {code}"
    name = signal.Signals(-code).name
    return f"{name}, as where memory is short" if name in ("SIGKILL", "SIGBUS") else name
