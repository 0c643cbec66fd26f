"""Records as nested dicts, for what has not moved to `RunRecord` yet."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.runs.files import write_atomically
from bench.runs.record import RESULTS

SCHEMA = 1


def to_json(value: Any) -> Any:
    """Tensors as numbers or nested lists (float32 with its own digits), NaN as null, everything else as it is."""
    if isinstance(value, Tensor):
        value = np.vectorize(lambda number: float(str(number)))(value.cpu()) if value.is_floating_point() else value
        value = value.tolist()
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, float) and not torch.isfinite(torch.tensor(value)):
        return None
    return value


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write `results.json`."""
    write_atomically(folder / RESULTS, json.dumps(to_json({"schema": SCHEMA, **record}), indent=1) + "\n")


def read_record(path: Path) -> dict[str, Any]:
    """Read a `results.json`, or the one in a run's folder."""
    file = path / RESULTS if path.is_dir() else path
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return record
