"""Which encoders differ on the same images: McNemar's exact test of every pair, view by view."""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from bench.report.document import Block, Section
from bench.report.groups import Group
from bench.report.inputs import Choices
from bench.report.tables import Column, Table
from bench.runs.folder import RunFolder
from bench.runs.images import Correctness
from bench.statistics.significance import holm, mcnemar_exact, pairwise_discordance
from datamodules.degradations import ORIGINAL

_MOST_IN_ALL_PAIRS = 10
_SIGNIFICANT = 0.05


def section(group: Group, choices: Choices) -> Section | None:
    """Tests between the group's encoders; None where there are fewer than two."""
    if len(group.entries) < 2:
        return None
    tables, problems = _read(group)
    frame = compare_encoders(group, tables)
    remarks: list[Block] = ["Left out of these tests:", problems] if problems else []
    if frame.empty:
        return Section("Between encoders", ("No two encoders have per-image tables of the same images.", *remarks))
    note = (
        "Precision of the first minus that of the second on the same images, in percentage points, with McNemar's "
        f"exact test, by Holm's method jointly for the {len(frame):,} tests of all pairs and views. Bold: adjusted p < "
        f"{_SIGNIFICANT}."
    )
    where = None
    if len(group.entries) > _MOST_IN_ALL_PAIRS:
        best = max(group.entries, key=lambda entry: entry.view(ORIGINAL).correct or 0).label
        pairs = len(frame[["first", "second"]].drop_duplicates())
        note += f" Shown are the pairs with {best}, the best on the originals; all {pairs:,} are in encoders.csv."

        def where(frame: pd.DataFrame) -> pd.Series:
            return (frame["first"] == best) | (frame["second"] == best)

    difference = Column(
        "difference_points",
        "difference (points)",
        "+.2f",
        details=("{p_holm:p}",),
        bold=lambda frame: frame["p_holm"] < _SIGNIFICANT,
    )
    table = Table(
        f"{group.name}-encoders", "Differences between encoders", frame,
        (Column("first"), Column("second"), difference), across="view", note=note, data="encoders.csv", where=where,
    )  # fmt: skip
    return Section("Between encoders", (table, *remarks))


def _read(group: Group) -> tuple[dict[RunFolder, Correctness], dict[str, str]]:
    """Per-image correctness by folder, only of those that saw the same images; and what cannot be used."""
    tables: dict[RunFolder, Correctness] = {}
    problems: dict[str, str] = {}
    for run in {run.folder: run for entry in group.entries for run in entry.all_runs}.values():
        try:
            tables[run.folder] = run.correctness
        except FileNotFoundError:
            problems[str(run.folder.results)] = "no images.csv beside it"
        except (OSError, ValueError) as error:
            problems[str(run.folder.results)] = " ".join(str(error).split())
    prints = [table.fingerprint for table in tables.values()]
    common = max(prints, key=prints.count, default="")
    for folder in [folder for folder, table in tables.items() if table.fingerprint != common]:
        del tables[folder]
        problems[str(folder.results)] = "its images.csv has other indices or labels than most"
    return tables, problems


def compare_encoders(group: Group, tables: Mapping[RunFolder, Correctness]) -> pd.DataFrame:
    """Test every pair of the group's encoders on every view that both have: a row each.

    `only_first` and `only_second` are the images that only one of the two has right, `difference_points` is the
    difference in precision, `p` is McNemar's exact test and `p_holm` adjusted for all pairs and views.

    Args:
        group: Where the measurements are.
        tables: Correctness by folder, all of the same images.
    """
    rows: list[tuple[str, str, str, int, int]] = []
    for view in group.views:
        entries = [one for one in group.entries if view in one.runs and one.runs[view].folder in tables]
        if len(entries) > 1:
            bits = np.stack([tables[entry.runs[view].folder].bits[view] for entry in entries])
            names = combinations([entry.label for entry in entries], 2)
            counts = (column.tolist() for column in pairwise_discordance(bits))
            rows += [(*pair, view, first, second) for pair, first, second in zip(names, *counts, strict=True)]
    frame = pd.DataFrame(rows, columns=["first", "second", "view", "only_first", "only_second"])
    frame.insert(0, "images", group.images)
    frame["view"] = group.as_views(frame["view"])
    frame["difference_points"] = 100 * (frame["only_first"] - frame["only_second"]) / group.images
    frame["p"] = mcnemar_exact(*(frame[name].to_numpy(int) for name in ("only_first", "only_second")))
    frame["p_holm"] = holm(frame["p"])
    return frame
