"""Per-image tables: which images a run classified right, and what their views weigh."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.runs.folder import TABLE, FinishedRun

_ROWS_AT_ONCE = 500_000
_COLUMNS = {"index": np.int64, "label": np.int64, "view": str, "prediction": np.int64}
_SIZES = {"encoded_bytes": np.float32, "bits_per_pixel": np.float32}

Columns = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Correctness:
    """Which images were classified right.

    Attributes:
        fingerprint: Equal for two runs if and only if they have the same indices and labels in the same order.
        bits: uint8 [ceil(n / 8)] of `numpy.packbits` by view: 1 where the prediction is the label.
    """

    fingerprint: str
    bits: Mapping[str, npt.NDArray[np.uint8]]


def read_correctness(run: FinishedRun) -> Correctness:
    """Read a run's `images.csv`, a block of rows at a time.

    Raises:
        ValueError: It does not belong to the result file beside it; the message says why.
        OSError: It cannot be read.
    """
    fingerprint, columns = _read(run, {})
    return Correctness(fingerprint, {view: np.packbits(found["correct"] > 0) for view, found in columns.items()})


def read_sizes(run: FinishedRun) -> tuple[str, dict[str, Columns]]:
    """Fingerprint as in `Correctness`, and per view `correct` (1 or 0), `encoded_bytes` and `bits_per_pixel`.

    Each column is float32 [n]; a size is NaN where nothing was encoded.

    Raises:
        ValueError: As `read_correctness`.
        OSError: As `read_correctness`.
    """
    return _read(run, _SIZES)


def _read(run: FinishedRun, sizes: Mapping[str, type]) -> tuple[str, dict[str, Columns]]:
    fingerprints = {view: hashlib.sha256() for view in run.record.views}
    parts: dict[str, list[Columns]] = {view: [] for view in run.record.views}
    types = {**_COLUMNS, **sizes}
    for block in _blocks(run.folder.table, types):
        places = block["index"].to_numpy(), block["label"].to_numpy()
        columns = {"correct": (block["prediction"].to_numpy() == places[1]).astype(np.float32)}
        columns |= {name: block[name].to_numpy() for name in sizes}
        names = block["view"].to_numpy()
        for view in run.record.views:
            rows = names == view
            parts[view].append({name: column[rows] for name, column in columns.items()})
            fingerprints[view].update(np.stack([column[rows] for column in places], axis=1).tobytes())
    if len({fingerprint.digest() for fingerprint in fingerprints.values()}) != 1:
        raise ValueError(f"{TABLE} has other images in one view than in another")
    whole = {
        view: {name: np.concatenate([part[name] for part in found]) for name in ("correct", *sizes)}
        for view, found in parts.items()
    }
    for view, result in run.record.views.items():
        flags = whole[view]["correct"] > 0
        if (len(flags), int(flags.sum())) != (run.record.images, result.correct):
            raise ValueError(
                f"{TABLE} has {flags.sum()} of {len(flags)} images right in {view}, the result file "
                f"{result.correct} of {run.record.images}"
            )
    return next(iter(fingerprints.values())).hexdigest(), whole


def _blocks(file: Path, types: Mapping[str, type]) -> Iterator[pd.DataFrame]:
    if file.exists() and not file.is_file():
        raise ValueError(f"{TABLE} is no regular file")  # to open a pipe may take for ever
    try:
        yield from pd.read_csv(file, usecols=list(types), dtype=types, chunksize=_ROWS_AT_ONCE)
    except OverflowError as error:
        raise ValueError(f"{TABLE} has a number of too many digits") from error
