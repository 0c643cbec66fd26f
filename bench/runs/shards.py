"""Outcomes as files: each has its own checksum, and is used whole and as it was written or not at all."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.outcomes import QUANTITIES, UNKNOWN, Outcomes
from bench.runs.files import FileError, read_bounded, write_atomically

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Columns = Mapping[str, npt.NDArray[np.generic]]

_CHECKSUM, _SUBJECT = "sha256", "subject"
_HEADER_BYTES = 512  # of a column, at most
_CLASSES = ("label", "prediction", "runner_up", "rank")


def write_shard(file: Path, outcomes: Mapping[str, Outcomes], subject: str) -> None:
    """Write outcomes in host memory, by view: there whole or not at all.

    Args:
        file: Of the kind safetensors, with a column `<view>/<quantity>` per view and quantity.
        outcomes: By view.
        subject: What they were measured of, as `read_shard` will be asked.

    Raises:
        OSError: It cannot be written.
    """
    import numpy as np
    from safetensors.numpy import save

    columns = {
        f"{view}/{name}": np.ascontiguousarray(column.numpy())  # others would be written as what lies behind them
        for view, rows in outcomes.items()
        for name, column in _items(rows)
    }
    write_atomically(file, save(columns, {_SUBJECT: subject, _CHECKSUM: _checksum(columns, subject)}))


def read_shard(file: Path, views: Sequence[str], classes: int, images: int, subject: str) -> dict[str, Outcomes]:
    """Read outcomes by view.

    Args:
        file: What `write_shard` wrote.
        views: Names of the views that it has to have.
        classes: C, number of candidate classes.
        images: Number of images that there are; an index is one of them.
        subject: What they have to have been measured of.

    Raises:
        FileError: It is not what was written, or belongs to something else.
        OSError: It cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    columns_bytes = len(views) * len(QUANTITIES) * (4 * images + _HEADER_BYTES)
    content = read_bounded(file, columns_bytes, follow=False)
    try:
        columns = load(content)
        about = _about(content)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error) as error:
        raise FileError(file, f"it is damaged ({' '.join(str(error).split())[:100]})") from error
    if about.get(_SUBJECT) != subject:
        raise FileError(file, "it belongs to another run")
    if columns.keys() != {f"{view}/{quantity.name}" for view in views for quantity in QUANTITIES}:
        raise FileError(file, "it has other columns")
    if about.get(_CHECKSUM) != _checksum(columns, subject):
        raise FileError(file, "it is not as it was written: its checksum differs")
    _check_columns(file, columns, views, classes, images)
    return _outcomes(columns, views)


def _items(rows: Outcomes) -> list[tuple[str, Any]]:
    return [(quantity.name, getattr(rows, quantity.name)) for quantity in QUANTITIES]


def _outcomes(columns: Columns, views: Sequence[str]) -> dict[str, Outcomes]:
    import torch

    return {
        view: Outcomes(
            **{
                quantity.name: torch.from_numpy(columns[f"{view}/{quantity.name}"].copy())  # load's are read-only
                for quantity in QUANTITIES
            }
        )
        for view in views
    }


def _checksum(columns: Columns, subject: str) -> str:
    digest = hashlib.sha256(subject.encode())
    for name in sorted(columns):
        column = columns[name]
        digest.update(f"\n{name} {column.dtype.str} {column.shape}\n".encode())
        digest.update(column.tobytes())
    return digest.hexdigest()


def _about(content: bytes) -> dict[str, Any]:
    """The metadata of a safetensors file: 8 bytes for the length of a header in JSON, which has them."""
    (length,) = struct.unpack("<Q", content[:8])
    about = json.loads(content[8 : 8 + length])["__metadata__"]
    return dict(about)


def _check_columns(file: Path, columns: Columns, views: Sequence[str], classes: int, images: int) -> None:
    """A checksum speaks against accidents; these columns are used as indices, whoever made them."""
    first = columns[f"{views[0]}/index"]
    for view in views:
        for quantity in QUANTITIES:
            column = columns[f"{view}/{quantity.name}"]
            if column.dtype.name != quantity.dtype or column.ndim != 1 or len(column) != len(first):
                raise FileError(file, f"{view}/{quantity.name} has another type or length")
        for name in ("index", "label"):
            if not (columns[f"{view}/{name}"] == columns[f"{views[0]}/{name}"]).all():
                raise FileError(file, f"{view}/{name} is not that of {views[0]}")
        for name in _CLASSES:
            column = columns[f"{view}/{name}"]
            if len(column) and not (int(column.min()) >= UNKNOWN and int(column.max()) < classes):
                raise FileError(file, f"{view}/{name} is out of range")
    if len(first) and not (int(first.min()) >= 0 and int(first.max()) < images):
        raise FileError(file, "it has images that the data have not")
