"""The per-image table as Parquet, a tenth of the CSV's size: an extra, since pyarrow is large."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.outcomes import REPEATABLE, UNKNOWN, Outcomes
from bench.runs.files import FileError, whole_or_not_at_all
from bench.runs.table import NAMED
from datamodules.errors import UserError
from datamodules.text import printable

if TYPE_CHECKING:
    import pandas as pd

_IMAGES_AT_ONCE = 2**16
_PLACES = ("index", "path", "label", "view")
_KINDS = {quantity.name: quantity.dtype for quantity in REPEATABLE} | dict.fromkeys(
    ["path", "view", *NAMED.values()], "text"
)


def require_parquet() -> Any:
    """The module that reads and writes Parquet.

    Raises:
        UserError: It is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise UserError("tables in Parquet need pyarrow: pip install 'clip-compression-bench[scale]'") from error
    return pyarrow.parquet


def write_parquet(
    file: Path,
    outcomes: Mapping[str, Outcomes],
    path: Callable[[int], str | None],
    class_names: Sequence[str] = (),
    further: Mapping[str, Mapping[int, int]] | None = None,
) -> None:
    """Write the rows and columns of `bench.runs.table.per_image_csv`, whole or not at all; unknown values are null.

    Args:
        file: Where to.
        outcomes: By view; every view has the same images in the same order.
        path: File name of an image index.
        class_names: By label, to name the predicted classes.
        further: More columns by name: whole numbers by index of the image.
    """
    import pyarrow as pa

    parquet = require_parquet()
    types = {"int32": pa.int32(), "float32": pa.float32()}
    columns = {quantity.name: types[quantity.dtype] for quantity in REPEATABLE}
    names, further = [name for name in NAMED if class_names], further or {}
    text = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema(
        [("index", pa.int32()), ("path", pa.string()), ("label", pa.int32()), ("view", text)]
        + [(name, kind) for name, kind in columns.items() if name not in _PLACES]
        + [(NAMED[name], text) for name in names]
        + [(name, pa.int32()) for name in further]
    )
    order = next(iter(outcomes.values())).index.argsort()
    with (
        whole_or_not_at_all(file) as opened,
        parquet.ParquetWriter(opened, schema, compression="zstd") as writer,
    ):
        for start in range(0, len(order), _IMAGES_AT_ONCE):
            rows = {view: found.select(order[start : start + _IMAGES_AT_ONCE]) for view, found in outcomes.items()}
            several = np.arange(len(next(iter(rows.values()))) * len(rows))
            places = several // len(rows) + several % len(rows) * (len(several) // len(rows))  # image by image
            joined = Outcomes.concatenate(list(rows.values()))
            values = {name: getattr(joined, name).numpy()[places] for name in columns}
            shown = [path(int(index)) for index in next(iter(rows.values())).index for _ in rows]
            arrays: dict[str, Any] = {
                name: pa.array(column, columns[name], mask=_unknown(column)) for name, column in values.items()
            }
            arrays["path"] = pa.array([None if at is None else printable(at) for at in shown])
            arrays["view"] = pa.DictionaryArray.from_arrays(several % len(rows), list(rows)).cast(text)
            indices = values["index"].tolist()
            arrays |= {name: pa.array([numbers[index] for index in indices]) for name, numbers in further.items()}
            for name in names:
                classes = np.ma.masked_equal(values[name], UNKNOWN)
                arrays[NAMED[name]] = pa.DictionaryArray.from_arrays(pa.array(classes), list(class_names)).cast(text)
            writer.write_table(pa.table([arrays[field.name] for field in schema], schema=schema))


def read_parquet(file: Path, rows: int, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
    """The table, so many rows at a time.

    Args:
        file: What `write_parquet` wrote.
        rows: At most so many at once.
        columns: Of the table; None takes all.

    Raises:
        FileError: It is damaged, lacks a column, or has one twice or of another type.
        UserError: pyarrow is not installed.
    """
    parquet = require_parquet()
    import pyarrow as pa

    try:
        _check_schema(file, parquet.read_schema(file), {"view", *(columns or ())})
        with parquet.ParquetFile(file, read_dictionary=["view"]) as opened:  # holds each name once
            for batch in opened.iter_batches(rows, columns=None if columns is None else list(columns)):
                yield batch.to_pandas(types_mapper={pa.int32(): _pandas_whole()}.get)
    except FileError:
        raise
    except (ValueError, TypeError, OSError, KeyError, pa.lib.ArrowException) as error:
        raise FileError(file, " ".join(str(error).split())[:200]) from error


def _check_schema(file: Path, schema: Any, columns: Set[str]) -> None:
    names = schema.names
    if repeated := [name for name, times in Counter(names).items() if times > 1]:
        raise FileError(file, f"it has two columns {min(repeated)}")
    if missing := columns - set(names):
        raise FileError(file, f"it has no column {min(missing)}")
    for column in schema:
        if _kind(column.type) != _KINDS.get(column.name, "int32"):
            raise FileError(file, f"its column {column.name} holds {column.type}")


def _kind(of: Any) -> str | None:
    from pyarrow import types

    values = of.value_type if types.is_dictionary(of) else of
    if types.is_string(values) or types.is_large_string(values):
        return "text"
    return "int32" if types.is_integer(of) else "float32" if types.is_floating(of) else None


def _pandas_whole() -> Any:
    import pandas as pd

    return pd.Int32Dtype()


def _unknown(column: Any) -> Any:
    return column == UNKNOWN if column.dtype.kind == "i" else np.isnan(column)
