"""Which images a run classified right, from its per-image table, in one bit per image and view."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.report.runs import Run
from bench.results import TABLE

_ROWS_AT_ONCE = 500_000
_COLUMNS = {"index": np.int64, "label": np.int64, "view": str, "prediction": np.int64}


@dataclass(frozen=True)
class Correctness:
    """Which images were classified right.

    Attributes:
        fingerprint: Equal for two runs if and only if they have the same indices and labels in the same order.
        bits: uint8 [ceil(n / 8)] of `numpy.packbits` by view: 1 where the prediction is the label.
    """

    fingerprint: str
    bits: Mapping[str, npt.NDArray[np.uint8]]


def read_correctness(run: Run) -> Correctness:
    """Read a run's `images.csv`, a block of rows at a time.

    Raises:
        ValueError: It does not belong to the result file beside it; the message says why.
        OSError: It cannot be read.
    """
    fingerprints = {view: hashlib.sha256() for view in run.views}
    correct: dict[str, list[npt.NDArray[np.bool_]]] = {view: [] for view in run.views}
    for block in _blocks(run.folder / TABLE):
        places = block["index"].to_numpy(), block["label"].to_numpy()
        right = block["prediction"].to_numpy() == places[1]
        names = block["view"].to_numpy()
        for view in run.views:
            rows = names == view
            correct[view].append(right[rows])
            fingerprints[view].update(np.stack([column[rows] for column in places], axis=1).tobytes())
    if len({fingerprint.digest() for fingerprint in fingerprints.values()}) != 1:
        raise ValueError(f"{TABLE} has other images in one view than in another")
    bits = {}
    for view, result in run.views.items():
        flags = np.concatenate(correct[view])
        if (len(flags), int(flags.sum())) != (run.images, result.correct):
            raise ValueError(
                f"{TABLE} has {flags.sum()} of {len(flags)} images right in {view}, the result file "
                f"{result.correct} of {run.images}"
            )
        bits[view] = np.packbits(flags)
    return Correctness(next(iter(fingerprints.values())).hexdigest(), bits)


def _blocks(path: Path) -> pd.io.parsers.TextFileReader:
    return pd.read_csv(path, usecols=list(_COLUMNS), dtype=_COLUMNS, chunksize=_ROWS_AT_ONCE)
