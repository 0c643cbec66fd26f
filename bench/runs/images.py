"""Per-image tables, read back: which images a run classified right, and what their views weigh."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.outcomes import REPEATABLE
from bench.runs.files import FileError, require_regular
from bench.runs.folder import PARQUET, TABLE, FinishedRun
from bench.runs.parquet import read_parquet
from bench.runs.table import NAMED

if TYPE_CHECKING:
    import pandas as pd

_ROWS_AT_ONCE = 500_000
_MEANS_AGREE = 1e-5  # float32 read from nine digits, and whole numbers as float32
_PLACES = ("index", "label", "prediction")
_TYPES = {quantity.name: quantity.dtype for quantity in REPEATABLE}

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
        FileError: It is damaged, or does not belong to the result file beside it; the message says why.
        OSError: It cannot be read.
    """
    fingerprint, columns = read_columns(run, ())
    return Correctness(fingerprint, {view: np.packbits(found["correct"] > 0) for view, found in columns.items()})


def read_columns(run: FinishedRun, names: Sequence[str]) -> tuple[str, dict[str, Columns]]:
    """Read columns of a run's `images.csv`, a block of rows at a time.

    Args:
        run: Whose table it is.
        names: Of `bench.outcomes.REPEATABLE`.

    Returns:
        The fingerprint as in `Correctness`; and by view `correct` (1 or 0) and the columns by name, float32 [n] each,
        where NaN is unknown.

    Raises:
        FileError: As `read_correctness`, or the table is an older one that has not all of them.
        OSError: As `read_correctness`.
    """
    views = run.record.views
    fingerprints = {view: hashlib.sha256() for view in views}
    parts: dict[str, list[Columns]] = {view: [] for view in views}
    rows, most = 0, run.record.images * len(views)
    for block in _blocks(run, names):
        rows += len(block)
        if rows > most:
            raise FileError(run.folder.table, f"it has more rows than {run.record.images} images in {len(views)} views")
        places = [block[name].to_numpy(dtype=np.int64) for name in ("index", "label")]
        columns = {"correct": (block["prediction"].to_numpy() == places[1]).astype(np.float32)}
        with np.errstate(over="ignore"):  # the mean will tell
            columns |= {name: block[name].to_numpy(dtype=np.float32, na_value=np.nan) for name in names}
        shown = block["view"].array
        numbers = {view: number for number, view in enumerate(shown.categories)}
        for view in views:
            own = np.flatnonzero(shown.codes == numbers[view]) if view in numbers else slice(0)
            parts[view].append({name: column[own] for name, column in columns.items()})
            fingerprints[view].update(np.stack([column[own] for column in places], axis=1).tobytes())
    if not rows:
        raise FileError(run.folder.table, "it has no rows")
    if len({fingerprint.digest() for fingerprint in fingerprints.values()}) != 1:
        raise FileError(run.folder.table, "it has other images in one view than in another")
    whole = {
        view: {name: np.concatenate([part[name] for part in found]) for name in ("correct", *names)}
        for view, found in parts.items()
    }
    for view, result in views.items():
        flags = whole[view]["correct"] > 0
        if (len(flags), int(flags.sum())) != (run.record.images, result.correct):
            raise FileError(
                run.folder.table,
                f"{TABLE} has {flags.sum()} of {len(flags)} images right in {view}, the result file {result.correct} "
                f"of {run.record.images}",
            )
        for name in names:
            _require_mean(run, view, name, whole[view][name])
    return next(iter(fingerprints.values())).hexdigest(), whole


def _require_mean(run: FinishedRun, view: str, name: str, column: npt.NDArray[np.float32]) -> None:
    """Refuse a column that some images lack, or whose mean is not the recorded one, as after a change of any value."""
    recorded, known = run.record.views[view].metrics.get(name), ~np.isnan(column)
    if known.any() != known.all():
        raise FileError(run.folder.table, f"{TABLE} lacks {name} of {(~known).sum()} of {len(column)} images in {view}")
    mean = float(column.astype(np.float64).mean()) if known.all() else None
    if (mean is None) != (recorded is None) or not math.isclose(mean or 0, recorded or 0, rel_tol=_MEANS_AGREE):
        raise FileError(run.folder.table, f"{TABLE} has a mean {name} of {mean} in {view}, the result file {recorded}")


def read_images(file: Path) -> pd.DataFrame:
    """A whole per-image table, older ones without the newer columns too.

    Args:
        file: An `images.csv` or `images.parquet`.

    Returns:
        A row per image and view, with the columns that `bench.runs.table.per_image_csv` says; whole numbers are pandas'
        Int32, where what is not known is missing, and measurements float32, where it is NaN.

    Raises:
        FileError: It is damaged.
        OSError: It cannot be read.
    """
    import pandas as pd

    require_regular(file)
    with _named_damage(file):
        if file.suffix == PARQUET:
            blocks = pd.concat(read_parquet(file, _ROWS_AT_ONCE), ignore_index=True)
            return blocks.astype({"view": "str", "path": "str"})
        types = {name: "Int32" if dtype == "int32" else dtype for name, dtype in _TYPES.items()}
        texts = dict.fromkeys(("path", "view", *NAMED.values()), "str")  # a class may be called 007, or NA
        return pd.read_csv(file, dtype={**types, **texts}, keep_default_na=False, na_values=[""])


def _blocks(run: FinishedRun, names: Sequence[str]) -> Iterator[pd.DataFrame]:
    """The table, so many rows at a time; a whole number that may be unknown is read as a real one."""
    import pandas as pd

    types = {name: "int64" for name in _PLACES} | {name: "float64" for name in names} | {"view": "category"}
    file = run.folder.table
    require_regular(file)
    with _named_damage(file):
        if file.suffix == PARQUET:
            yield from (block.astype(types) for block in read_parquet(file, _ROWS_AT_ONCE, list(types)))
        else:
            yield from pd.read_csv(
                file, usecols=list(types), dtype=types, chunksize=_ROWS_AT_ONCE, keep_default_na=False, na_values=[""]
            )


@contextmanager
def _named_damage(file: Path) -> Iterator[None]:
    try:
        yield
    except FileError:
        raise
    except OverflowError as error:
        raise FileError(file, "it has a number of too many digits") from error
    except (ValueError, TypeError, KeyError) as error:
        raise FileError(file, " ".join(str(error).split())[:200]) from error
