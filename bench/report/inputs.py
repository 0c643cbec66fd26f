"""What a report is made from: records of runs and of fits, found in folders; and files that cannot be used."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.report.tuned import Tuned
from bench.runs.adaptation import AdaptationRecord
from bench.runs.files import FileError
from bench.runs.folder import FinishedRun, RunFolder, find_fits, find_runs
from bench.runs.record import RESULTS
from datamodules.errors import UserError


@dataclass(frozen=True)
class Inputs:
    """The results that were read, and the files that could not be used.

    Attributes:
        runs: Finished runs with labels.
        adapted: Likewise, of encoders that were adapted to the images while they were tested, which no comparison of
            `runs` may use.
        fits: Tuned encoders by SHA-256 of their weights.
        unused: Files that are not used, and why.
    """

    runs: tuple[FinishedRun, ...]
    fits: dict[str, Tuned]
    unused: dict[Path, str]
    adapted: tuple[FinishedRun, ...] = ()


@dataclass(frozen=True)
class Choices:
    """What a report asks about its groups.

    Attributes:
        points: The drop that is too much, in percentage points.
        against: Names of the sources of published figures to compare with.
        fits: Tuned encoders by SHA-256 of their weights.
    """

    points: float = 1.0
    against: tuple[str, ...] = ()
    fits: Mapping[str, Tuned] = field(default_factory=dict)


def read_inputs(places: Iterable[Path]) -> Inputs:
    """Read every record in some folders and below, and records named themselves, each once.

    Raises:
        UserError: A place does not exist, or no result can be read.
    """
    places = list(places)
    runs: list[FinishedRun] = []
    adapted: list[FinishedRun] = []
    fits: dict[str, Tuned] = {}
    unused: dict[Path, str] = {}
    for folder in dict.fromkeys(folder for place in places for folder in _run_folders(place)):
        try:
            run = _read_run(folder)
            kept = runs if AdaptationRecord.of(run.record.model, folder.results) is None else adapted
            kept.append(run)
        except (FileError, OSError) as error:
            unused[folder.results] = _reason(error)
    for folder in dict.fromkeys(folder for place in places if place.is_dir() for folder in find_fits(place)):
        try:
            record = folder.finetuning_record()
            fits |= {export.sha256: Tuned(record, export.alpha) for export in record.exports}
        except (FileError, OSError) as error:
            unused[folder.finetuning] = _reason(error)
    if not runs and not adapted:
        first = next(iter(unused.items()), None)
        told = "" if first is None else f"; the first of {len(unused)}: {first[0]}: {first[1]}"
        raise UserError(f"no readable {RESULTS} in the folders given{told}: name folders of finished `test` runs")
    return Inputs(tuple(runs), fits, unused, tuple(adapted))


def _run_folders(place: Path) -> Iterator[RunFolder]:
    if place.is_dir():
        yield from find_runs(place)
    elif place.exists():
        yield RunFolder(place.resolve().parent)
    else:
        raise UserError(f"{str(place)!r} does not exist: name folders with runs, or {RESULTS} files")


def _read_run(folder: RunFolder) -> FinishedRun:
    try:
        record = folder.record()
    except FileNotFoundError as error:
        raise FileError(folder.results, f"no {RESULTS}: the run has not finished, or was no test") from error
    if not record.labelled:
        raise FileError(folder.results, "no precision: the images have no labels")
    return FinishedRun(folder, record)


def _reason(error: OSError | FileError) -> str:
    text = error.reason if isinstance(error, FileError) else f"it cannot be read ({error.strerror})"
    return " ".join(text.split())
