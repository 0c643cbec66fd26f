"""The folder of a run: what the files in it are called, and the way to each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bench.runs.finetuning_record import FINETUNING, FineTuningRecord
from bench.runs.record import RESULTS, RunRecord

if TYPE_CHECKING:
    import pandas as pd

TABLE = "images.csv"
CONFIG = "config.yaml"
CARD = "MODEL_CARD.md"
ATTRIBUTIONS = "attributions"
ATTRIBUTION_TABLE = "table.csv"
UNFINISHED = "unfinished"


@dataclass(frozen=True)
class RunFolder:
    """A run's folder; nothing else spells the names of what is in it.

    Args:
        path: The folder, which need not be there yet.

    >>> RunFolder(Path("runs/version_0")).results
    PosixPath('runs/version_0/results.json')
    """

    path: Path

    @property
    def results(self) -> Path:
        """The record of a test or predict run."""
        return self.path / RESULTS

    @property
    def table(self) -> Path:
        """A line per image and view."""
        return self.path / TABLE

    @property
    def config(self) -> Path:
        """All options of the command."""
        return self.path / CONFIG

    @property
    def finetuning(self) -> Path:
        """The record of a fit."""
        return self.path / FINETUNING

    @property
    def card(self) -> Path:
        """The card of a tuned encoder, in Markdown."""
        return self.path / CARD

    @property
    def attributions(self) -> Path:
        """The folder of Integrated Gradients' maps, pictures and table."""
        return self.path / ATTRIBUTIONS

    @property
    def attribution_table(self) -> Path:
        """A line per explained image and view."""
        return self.attributions / ATTRIBUTION_TABLE

    @property
    def unfinished(self) -> Path:
        """The folder of what a run has measured so far, until its results are there."""
        return self.path / UNFINISHED

    def record(self) -> RunRecord:
        """The record of a test or predict run; see `RunRecord.read`."""
        return RunRecord.read(self.path)

    def finetuning_record(self) -> FineTuningRecord:
        """The record of a fit; see `FineTuningRecord.read`."""
        return FineTuningRecord.read(self.path)

    def images(self) -> pd.DataFrame:
        """The per-image table.

        Raises:
            OSError: It is not there, or cannot be read.
        """
        import pandas as pd

        return pd.read_csv(self.table)


def find_runs(place: Path) -> Iterator[RunFolder]:
    """Folders of test and predict runs in a folder and below, finished or not, each once, sorted."""
    finished = {path.parent.resolve() for path in place.rglob(RESULTS)}
    begun = {path.parent.resolve() for path in place.rglob(CONFIG)}
    for path in sorted(finished | begun):
        if path in finished or not RunFolder(path).finetuning.exists():
            yield RunFolder(path)


def find_fits(place: Path) -> Iterator[RunFolder]:
    """Folders of finished fits in a folder and below, sorted."""
    for path in sorted(place.rglob(FINETUNING)):
        yield RunFolder(path.parent)


@dataclass(frozen=True)
class FinishedRun:
    """A run read back.

    Attributes:
        folder: Where it lies.
        record: What it measured, on what and with what.
    """

    folder: RunFolder
    record: RunRecord

    @cached_property
    def images(self) -> pd.DataFrame:
        """The per-image table, read when it is asked for; see `RunFolder.images`."""
        return self.folder.images()


def load_run(path: Path | str) -> FinishedRun:
    """Read a finished run.

    Args:
        path: Its folder, or its `results.json`.

    Raises:
        FileError: The record is damaged.
        FileNotFoundError: There is none.
    """
    path = Path(path)
    folder = RunFolder(path if path.is_dir() else path.parent)
    return FinishedRun(folder, RunRecord.read(path))
