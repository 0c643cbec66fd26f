"""What the frozen encoder says about training images, asked once for each."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.runs.files import open_regular, read_bounded, write_atomically

_MOST_BYTES = 2**31


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
        self._subject, self._file = f"{subject}\n".encode(), file
        if file is None:
            self._known, self._values = np.zeros(kept, np.bool_), np.zeros((kept, size), np.float32)
            return
        length = 4 * kept * size
        with open(open_regular(file, os.O_RDWR), "r+b") as opened:
            whole = os.fstat(opened.fileno()).st_size == length
            known = _read_known(file, self._subject, kept) if whole else None
            if known is None:
                _known_file(file).unlink(missing_ok=True)  # before the values that it speaks of
                os.ftruncate(opened.fileno(), 0)
                os.ftruncate(opened.fileno(), length)  # which takes room as it is filled
            self._known = np.zeros(kept, np.bool_) if known is None else known
            self._values = np.memmap(opened, np.float32, "r+", shape=(kept, size))

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

    def save(self) -> None:
        """Say which values the file holds, once it does; nothing where its folder has gone, as after a fit."""
        if isinstance(self._values, np.memmap) and self._file is not None and self._file.parent.is_dir():
            self._values.flush()
            write_atomically(_known_file(self._file), self._subject + self._known.tobytes())


def _known_file(file: Path) -> Path:
    return file.with_name(f"{file.name}.known")


def _read_known(file: Path, subject: bytes, kept: int) -> NDArray[np.bool_] | None:
    """Which of so many rows an earlier process has said to be in a file; None where it has not said so of these."""
    try:
        content = read_bounded(_known_file(file), _MOST_BYTES, follow=False)
    except FileNotFoundError:
        return None
    if not content.startswith(subject) or len(content) != len(subject) + kept:
        return None
    return np.frombuffer(content, np.bool_, offset=len(subject)).copy()
