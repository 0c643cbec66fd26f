"""The result record of a run: what was measured, on what, with what; written all or not at all."""

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import features
from torch import Tensor

from datamodules.degradations import Degradation, codec_versions

SCHEMA = 1
RESULTS = "results.json"
TABLE = "images.csv"
CONFIG = "config.yaml"
_PACKAGES = ("lightning", "torch", "torchvision", "open_clip_torch", "torchmetrics", "pillow", "numpy")


@dataclass(frozen=True)
class Confusion:
    """A pair of classes that a view takes for each other more often than its original does.

    Attributes:
        true: The true class.
        predicted: What its images were taken for.
        before: Number of such images in the original.
        after: Number of such images in the view.
    """

    true: int
    predicted: int
    before: int
    after: int


@dataclass(frozen=True)
class ClassCounts:
    """Images by class in one view, C whole numbers each.

    Attributes:
        correct: Images of each class that were predicted as it.
        predicted: Images that were predicted as each class.
        confusions: Those that grew most over the original, the largest growth first.
    """

    correct: tuple[int, ...]
    predicted: tuple[int, ...]
    confusions: tuple[Confusion, ...] = ()


@dataclass(frozen=True)
class ViewRecord:
    """What was measured of one view.

    Attributes:
        metrics: Scalars by name, see `bench.metrics.METRICS`; a metric that is not defined is not there.
        flipped: Images whose prediction is another one than that of the original; 0 for the original.
        broken: Images that turned from right to wrong; 0 for the original and without labels.
        repaired: Images that turned from wrong to right; 0 for the original and without labels.
        classes: None without labels.
    """

    metrics: Mapping[str, float]
    flipped: int = 0
    broken: int = 0
    repaired: int = 0
    classes: ClassCounts | None = None

    @property
    def correct(self) -> int | None:
        """Images that were classified right; None without labels."""
        return None if self.classes is None else sum(self.classes.correct)


def software(degradations: Iterable[Degradation] = ()) -> dict[str, Any]:
    """Versions of everything that can change a result: Python, packages, this project's git commit, and codecs.

    Args:
        degradations: Those whose codecs are at work; `libjpeg_turbo` also decodes sources.
    """
    return _installed() | {"codecs": codec_versions(degradations)}


@cache
def _installed() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in _PACKAGES} | {"torch": torch.__version__},  # with its CUDA
        "libjpeg_turbo": features.version_feature("libjpeg_turbo"),
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    """Commit of this checkout, with `-dirty` if files differ from it; None outside a checkout."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(describe, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


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


def write_atomically(path: Path, content: str | bytes | Iterable[str]) -> None:
    """Write a file, a text or pieces of one as UTF-8, so that it is there whole or not at all, also after a crash.

    Raises:
        OSError: The folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                file.writelines(piece.encode() for piece in ([content] if isinstance(content, str) else content))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)  # which a full disk does not say
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write `results.json`."""
    write_atomically(folder / RESULTS, json.dumps(to_json({"schema": SCHEMA, **record}), indent=1) + "\n")


def read_record(path: Path) -> dict[str, Any]:
    """Read a `results.json`, or the one in a run's folder."""
    file = path / RESULTS if path.is_dir() else path
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return record
