"""The folder of a run: what the files in it are called, and the way to each of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.runs.files import FileError
from bench.runs.finetuning_record import FINETUNING, FineTuningRecord
from bench.runs.journal import SUBJECT, Journal
from bench.runs.json_values import differences, plain
from bench.runs.record import RESULTS, RunRecord
from datamodules.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from bench.runs.images import Correctness

TABLE = "images.csv"
PARQUET = ".parquet"
"""Ending of the per-image table where it is no CSV."""

CONFIG = "config.yaml"
CARD = "MODEL_CARD.md"
ATTRIBUTIONS = "attributions"
ATTRIBUTION_TABLE = "table.csv"
UNFINISHED = "unfinished"
FAILED = "failed.json"
"""Why the last attempt of a cell of a sweep failed."""

_MEND = "choose another folder with --trainer.logger.save_dir or --trainer.default_root_dir"


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
        """A row per image and view: the CSV, or `parquet_table` where there is only that."""
        csv = self.path / TABLE
        return self.parquet_table if self.parquet_table.exists() and not csv.exists() else csv

    @property
    def parquet_table(self) -> Path:
        """The same in Parquet, which a run has in place of the CSV on request."""
        return (self.path / TABLE).with_suffix(PARQUET)

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
    def attribution_frequencies(self) -> Path:
        """A line per view, channel and DCT coefficient."""
        return self.attributions / "frequencies.csv"

    @property
    def attribution_blocks(self) -> Path:
        """The costliest blocks of each view."""
        return self.attributions / "blocks.csv"

    def attribution_picture(self, index: int) -> Path:
        """The picture of an explained image, by its position in the source."""
        return self.attributions / f"{index}.png"

    def attribution_maps(self, index: int) -> Path:
        """The arrays of an explained image, by its position in the source."""
        return self.attributions / "maps" / f"{index}.npz"

    @property
    def unfinished(self) -> Path:
        """The folder of what a run has measured so far, until its results are there."""
        return self.path / UNFINISHED

    @cached_property
    def journal(self) -> Journal:
        """What the run has measured so far."""
        return Journal(self.unfinished)

    def is_at_work(self) -> bool:
        """Whether another process has claimed the folder."""
        return self.journal.is_at_work()

    def claim(self, subject: Mapping[str, Any]) -> None:
        """Make the folder this process's own, until the journal is closed or the process ends.

        Outcomes in it that only other software keeps from being taken up are dropped.

        Args:
            subject: All that decides about the outcomes, JSON-able.

        Raises:
            UserError: It holds results, a run that is at work, or an unfinished run of another subject.
            OSError: It cannot be written.
        """
        if self.results.exists() or self.results.is_symlink():
            raise UserError(f"{str(self.results)!r} holds the results of another run: {_MEND}")
        if self.unfinished.is_symlink() or (self.unfinished.exists() and not self.unfinished.is_dir()):
            raise UserError(f"{str(self.unfinished)!r} is no folder: delete it, or {_MEND}")
        self.unfinished.mkdir(parents=True, exist_ok=True)
        if not self.journal.acquire() or self.results.exists():  # it may have ended a moment ago
            raise UserError(f"another process is at work in {str(self.path)!r}: wait for it, or {_MEND}")
        begun = self.journal.subject_file
        if not begun.exists() and self.config.exists():
            raise UserError(f"{str(self.path)!r} holds the {CONFIG} of another run: {_MEND}")
        if not begun.exists():
            self.journal.begin(subject)
            return
        different = differences(self.journal.subject(), plain(subject))
        if different and all(name.startswith(_SOFTWARE) for name in different):
            _say(f"starting over in {self.path}: it was begun with another {_software(different)}")
            self.journal.begin(subject)
        elif different:
            raise UserError(
                f"{str(self.path)!r} holds an unfinished run with another {', '.join(different)}: finish it as it was "
                f"begun, or delete {str(self.unfinished)!r}, or {_MEND}"
            )

    def record(self) -> RunRecord:
        """The record of a test or predict run; see `RunRecord.read`."""
        return RunRecord.read(self.path)

    def finetuning_record(self) -> FineTuningRecord:
        """The record of a fit; see `FineTuningRecord.read`."""
        return FineTuningRecord.read(self.path)

    def images(self) -> pd.DataFrame:
        """The per-image table, a row per image and view; see `bench.runs.images.read_images`."""
        from bench.runs.images import read_images

        return read_images(self.table)


def find_unfinished(runs: Path, subject: Mapping[str, Any]) -> RunFolder | None:
    """The newest unfinished run among the folders in a folder that has this subject and is not at work, claimed.

    Says why it is none if there is one that only other software keeps from being taken up.

    Args:
        runs: Where folders of runs lie.
        subject: All that decides about the outcomes, JSON-able.
    """
    begun = sorted(runs.glob(f"*/{UNFINISHED}/{SUBJECT}"), key=lambda file: file.lstat().st_mtime, reverse=True)
    for folder in (RunFolder(file.parents[1]) for file in begun):
        different = differences(folder.journal.subject(), plain(subject))
        if not different and not folder.unfinished.is_symlink() and _can_be_claimed(folder):
            return folder
        if different and all(name.startswith(_SOFTWARE) for name in different):
            _say(f"not taking up the unfinished run in {folder.path}: it was begun with another {_software(different)}")
    return None


def _can_be_claimed(folder: RunFolder) -> bool:
    try:
        return folder.journal.acquire() and not folder.results.exists()
    except (FileError, OSError):
        return False


_SOFTWARE = "software."


def _say(line: str) -> None:
    from lightning.pytorch.utilities import rank_zero_info

    rank_zero_info(line)


def _software(different: Sequence[str]) -> str:
    return ", ".join(name.removeprefix(_SOFTWARE) for name in different)


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

    @cached_property
    def correctness(self) -> Correctness:
        """Which images were classified right, read once; see `bench.runs.images.read_correctness`."""
        from bench.runs.images import read_correctness

        return read_correctness(self)

    @property
    def milliseconds(self) -> float | None:
        """Of the whole run, from its start to its results, per image and view.

        None where its record does not say it, or it was not made in one go.
        """
        seconds, taken_up = self.record.run.seconds, self.record.run.images_taken_up
        return 1000 * seconds / (self.record.images * len(self.record.views)) if seconds and not taken_up else None


def mean_milliseconds(runs: Iterable[FinishedRun]) -> float | None:
    """Mean of what runs take per image and view, over those that say it; None where none does."""
    times = [milliseconds for run in runs if (milliseconds := run.milliseconds) is not None]
    return sum(times) / len(times) if times else None


def load_run(path: Path | str) -> FinishedRun:
    """Read a finished run: `run.record` is its `results.json`, `run.images` its `images.csv` as a data frame.

    Args:
        path: Its folder, or its `results.json`.

    Raises:
        FileError: The record is damaged.
        FileNotFoundError: There is none.
    """
    path = Path(path)
    folder = RunFolder(path if path.is_dir() else path.parent)
    return FinishedRun(folder, RunRecord.read(path))
