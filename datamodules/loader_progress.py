"""What each loader process is at, told by itself in memory that outlives it."""

import os
import time
from collections.abc import Sequence
from multiprocessing.sharedctypes import RawArray
from typing import Any, Protocol

from torch.utils.data import Dataset, get_worker_info

from datamodules.sources import Source
from datamodules.views import PADDING, Batch, Unreadable

_IDLE = -1


class Watchable(Protocol):
    """A data set that a `WatchedLoader` can go through: what it makes of the images of a source, in batches."""

    source: Source

    def index(self, position: int) -> int:
        """Position in the source of the image that indexing with a position is about."""

    def __getitem__(self, position: int) -> Any:
        """What is made of an image."""

    def collate(self, items: Sequence[Any]) -> Any:
        """A piece of a batch; an item may be `Unreadable`, for an image that a process has died of."""

    def join(self, pieces: Sequence[Any]) -> Any:
        """One batch of several pieces that follow each other, at least one."""


class Progress:
    """What each loader process is at: its number, the image's index; how many images it has finished, in how long."""

    def __init__(self, workers: int) -> None:
        self._cells = RawArray("q", [0, _IDLE, 0, 0] * workers)

    def begin(self, worker: int, index: int) -> None:
        """Say that this process, the loader's n-th, is at an image."""
        self._cells[4 * worker : 4 * worker + 2] = [os.getpid(), index]

    def end(self, worker: int, seconds: float) -> None:
        """Say that it has finished that image, and how long it took."""
        self._cells[4 * worker + 1] = _IDLE
        self._cells[4 * worker + 2] += 1
        self._cells[4 * worker + 3] += int(1e9 * seconds)

    def snapshot(self) -> list[int]:
        """What can be compared with a later one to see whether any process has moved."""
        return list(self._cells)

    def at(self) -> dict[int, int]:
        """Index of the image that a process is at, by process; idle ones are left out."""
        cells = self.snapshot()
        return {pid: index for pid, index in zip(cells[::4], cells[1::4], strict=True) if index != _IDLE}

    def seconds(self) -> float | None:
        """Of one process for an image, on average; None before the first one is finished."""
        cells = self.snapshot()
        finished = sum(cells[2::4])
        return 1e-9 * sum(cells[3::4]) / finished if finished else None


class ObservedImages(Dataset[Any]):
    """Images in a loader process.

    Args:
        images: What is made of them.
        progress: Where to say which one this process is at.
        lost: Images that are not tried any more, by index, and why.
        room: Bytes of shared memory that a batch may take.
    """

    def __init__(self, images: Watchable, progress: Progress, lost: dict[int, str], room: float) -> None:
        self.images, self.progress, self.lost, self.room = images, progress, lost, room

    def __getitem__(self, position: int) -> Any:
        if position == PADDING:
            return None
        index, worker = self.images.index(position), get_worker_info()
        if index in self.lost:
            return Unreadable(index, self.images.source.path(index), self.lost[index])
        assert worker is not None
        start = time.monotonic()
        self.progress.begin(worker.id, index)
        item = self.images[position]
        self.progress.end(worker.id, time.monotonic() - start)
        return item

    def collate(self, items: Sequence[Any]) -> Any:
        """A piece of a batch, which knows how much shared memory it may take."""
        piece = self.images.collate(items)
        if isinstance(piece, Batch):
            piece.room = self.room
        return piece
