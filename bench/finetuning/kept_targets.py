"""What the frozen encoder says about training images, asked once for each."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.runs.files import open_regular, read_bounded, write_atomically

_MOST_BYTES = 2**31
_LONGEST_SUBJECT = 1000  # bytes


class KeptTargets:
    """Embeddings of images by a frozen encoder, kept from the first time that each is asked for, up to 2 GiB.

    Args:
        rows: Number of different inputs.
        size: Of an embedding.
        subject: Digest of all that the embeddings depend on; what a file holds of another one is forgotten.
        file: Where to keep them, so that a fit that is taken up has the bits that it had; None keeps them in memory.

    Raises:
        FileError: The file is a link, a folder or a pipe.
    """

    def __init__(self, rows: int, size: int, subject: str, file: Path | None = None) -> None:
        kept = min(rows, _MOST_BYTES // (4 * size))
        self._values = _zeros(file, (kept, size), np.float32)
        self._known = _zeros(file and file.with_name(f"{file.name}.known"), (kept,), np.bool_)
        if file is not None and _subject(named := file.with_name(f"{file.name}.subject")) != subject:
            self._known[:] = False
            write_atomically(named, subject)

    def get(self, rows: Sequence[int] | NDArray[np.int64], embed: Callable[[Tensor], Tensor]) -> Tensor:
        """Embeddings float32 [B, D], on the host.

        Args:
            rows: The inputs of a batch.
            embed: Computes embeddings [N, D], without gradient, of those at N places of the batch, int64 [N].
        """
        wanted = np.asarray(rows)
        room = wanted < len(self._known)
        known = room.copy()
        known[room] = self._known[wanted[room]]
        values = np.empty((len(wanted), self._values.shape[1]), np.float32)
        values[known] = self._values[wanted[known]]
        if not known.all():
            values[~known] = embed(torch.from_numpy(np.flatnonzero(~known))).float().cpu().numpy()
            new = room & ~known
            self._values[wanted[new]] = values[new]
            self._known[wanted[new]] = True
        return torch.from_numpy(values)


def _subject(file: Path) -> str | None:
    try:
        return read_bounded(file, _LONGEST_SUBJECT, follow=False).decode(errors="replace")
    except FileNotFoundError:
        return None


def _zeros(file: Path | None, shape: tuple[int, ...], kind: Any) -> NDArray[Any]:
    """An array that takes room as it is filled, with what an earlier process has put into the file."""
    if file is None:
        return np.zeros(shape, kind)
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    with open(open_regular(file, os.O_RDWR), "r+b") as opened:
        if os.fstat(opened.fileno()).st_size != size:
            os.ftruncate(opened.fileno(), 0)
            os.ftruncate(opened.fileno(), size)
        return np.memmap(opened, kind, "r+", shape=shape)
