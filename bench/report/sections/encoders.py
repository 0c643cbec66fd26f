"""Which encoders differ on the same images: McNemar's exact test of every pair, view by view."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from bench.report.elements import MISSING, Block, Cell, Listing, Section, Table, Text, number, p_value
from bench.report.groups import Entry, Group
from bench.report.runs import Run
from bench.runs.folder import load_run
from bench.runs.images import Correctness, read_correctness
from bench.statistics.intervals import holm, mcnemar_exact, pairwise_discordance
from datamodules.degradations import ORIGINAL

_MOST_IN_ALL_PAIRS = 10
_SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Difference:
    """Two encoders on one view of the same images.

    Attributes:
        first: Label.
        second: Label.
        view: Name of the view.
        only_first: Images that only the first has right.
        only_second: Images that only the second has right.
        p: McNemar's exact test.
        p_holm: Adjusted for all pairs and views of the group.
    """

    first: str
    second: str
    view: str
    only_first: int
    only_second: int
    p: float
    p_holm: float


def pairs_section(group: Group) -> Section | None:
    """Tests between the group's encoders; None where there are fewer than two."""
    if len(group.entries) < 2:
        return None
    tables, problems = _read(group)
    differences = compare_encoders(group, tables)
    remarks: list[Block] = []
    if problems:
        remarks = [Text("Left out of these tests:"), Listing(tuple(problems))]
    if not differences:
        return Section(
            "Between encoders", (Text("No two encoders have per-image tables of the same images."), *remarks)
        )
    return Section(
        "Between encoders", (_table(group, differences), *remarks), {"encoders.csv": _data(group, differences)}
    )


def _read(group: Group) -> tuple[dict[str, Correctness], list[tuple[str, str]]]:
    """Per-image correctness by result file, only of those that saw the same images; and what cannot be used."""
    tables: dict[str, Correctness] = {}
    problems: list[tuple[str, str]] = []
    for path, run in {str(cell.run.path): cell.run for _, _, cell in group.cells}.items():
        found = _try_to_read(run)
        if isinstance(found, str):
            problems.append((path, found))
        else:
            tables[path] = found
    prints = [table.fingerprint for table in tables.values()]
    common = max(prints, key=prints.count, default="")
    for path in [path for path, table in tables.items() if table.fingerprint != common]:
        del tables[path]
        problems.append((path, "its images.csv has other indices or labels than most"))
    return tables, problems


def _try_to_read(run: Run) -> Correctness | str:
    try:
        return read_correctness(load_run(run.path))
    except FileNotFoundError:
        return "no images.csv beside it"
    except (OSError, ValueError) as error:
        return " ".join(str(error).split())


def compare_encoders(group: Group, tables: Mapping[str, Correctness]) -> list[Difference]:
    """Test every pair of the group's encoders on every view that both have.

    Args:
        group: Where the measurements are.
        tables: Correctness by result file, all of the same images.
    """
    found: list[tuple[str, str, str, int, int]] = []
    for view in group.views:
        entries = [one for one in group.entries if view in one.cells and str(one.cells[view].run.path) in tables]
        if len(entries) > 1:
            bits = np.stack([tables[str(one.cells[view].run.path)].bits[view] for one in entries])
            names = combinations([one.label for one in entries], 2)
            counts = (column.tolist() for column in pairwise_discordance(bits))
            found += [(*pair, view, first, second) for pair, first, second in zip(names, *counts, strict=True)]
    p_values = mcnemar_exact(*(np.array([one[place] for one in found], dtype=np.int64) for place in (3, 4)))
    adjusted = holm(p_values)
    return [Difference(*one, p, q) for one, p, q in zip(found, p_values.tolist(), adjusted.tolist(), strict=True)]


def _table(group: Group, differences: Sequence[Difference]) -> Table:
    pairs: dict[tuple[str, str], dict[str, Difference]] = {}
    for one in differences:
        pairs.setdefault((one.first, one.second), {})[one.view] = one
    note = (
        "Precision of the first minus that of the second on the same images, with McNemar's exact test, adjusted by "
        f"Holm's method for the {len(differences):,} tests of all pairs and views. Bold: adjusted p < {_SIGNIFICANT}."
    )
    if len(group.entries) > _MOST_IN_ALL_PAIRS:
        best = _best(group.entries).label
        total, pairs = len(pairs), {names: row for names, row in pairs.items() if best in names}
        note += f" Shown are the {len(pairs):,} pairs with {best}, the best on the originals; all {total:,} are in "
        note += "encoders.csv."
    views = [view for view in group.views if any(view in row for row in pairs.values())]
    rows = tuple(
        (Cell(first), Cell(second), *(_cell(row.get(view), group.images) for view in views))
        for (first, second), row in pairs.items()
    )
    return Table(f"{group.name}-encoders", "Differences between encoders", ("first", "second", *views), rows, note)


def _best(entries: Sequence[Entry]) -> Entry:
    return max(entries, key=lambda one: one.cells[ORIGINAL].result.correct)


def _cell(one: Difference | None, images: int) -> Cell:
    if one is None:
        return Cell(MISSING)
    difference = (one.only_first - one.only_second) / images
    return Cell(number(difference, signed=True), (p_value(one.p_holm),), difference, strong=one.p_holm < _SIGNIFICANT)


def _data(group: Group, differences: Sequence[Difference]) -> tuple[dict[str, object], ...]:
    return tuple({"group": group.name, "images": group.images, **vars(one)} for one in differences)
