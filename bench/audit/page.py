"""The page of an audit: tables of what a summary says."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from bench.report.document import Block, Chapter, Report, Section
from bench.report.tables import Column, Table

_WORDS = {
    "jpeg": "Stored as JPEG, or decoded from JPEG with these very pixels.",
    "lossy": "Stored in another lossy format, or chroma was at half size without a JPEG lattice, as WebP leaves it.",
    "no trace": "No save as JPEG since the last resize, up to the quality that was ruled out. What was before a resize "
    "leaves no trace.",
    "unknown": "The pixels cannot tell.",
}
_COUNTS = (
    ("verdicts", "verdict", "Verdicts"), ("containers", "container", "Containers"),
    ("qualities", "quality", "JPEG qualities"), ("offsets", "offset", "Offsets of the grid"),
    ("earlier_saves", "quality", "Saves before the last one"), ("reasons", "reason", "Why it is unknown"),
)  # fmt: skip


def audit_report(title: str, line: str, summary: Mapping[str, Any]) -> Report:
    """An audit as a page.

    Args:
        title: Of the page.
        line: What it comes to.
        summary: Of `bench.audit.dataset.summarise`, with `seen_shares` by view.
    """
    blocks: list[Block] = [_WORDS]
    for key, head, name in _COUNTS:
        if summary[key]:
            frame = pd.DataFrame({head: list(summary[key]), "images": list(summary[key].values())})
            columns = (Column(head), Column("images", form=",d"))
            blocks.append(Table(f"audit-{key}", name, frame, columns, data=f"{key}.csv"))
    sections = [Section("Images", tuple(blocks))]
    if summary["by_class"]:
        sections.append(Section("Classes", tuple(_classes(summary))))
    if summary["seen_shares"]:
        rows = summary["seen_shares"]
        frame = pd.DataFrame({"view": list(rows), "seen": list(rows.values())})
        note = (
            "Squared error of the view of images with this past, over that of images without: measured by degrading "
            "twice. A drop that is proportional to it is seen at this share of its size."
        )
        columns = (Column("view"), Column("seen", "share seen", ".2f"))
        table = Table("audit-seen", "What is seen of each view", frame, columns, note=note, data="seen_shares.csv")
        sections.append(Section("Bias", (table,)))
    return Report(title, line, (Chapter("Audit", tuple(sections)),))


def _classes(summary: Mapping[str, Any]) -> list[Block]:
    found = summary["by_class"]
    frame = pd.DataFrame(
        [
            {"class": name, **counts, "share": counts["lossy"] / counts["images"] if counts["images"] else None}
            for name, counts in found.items()
        ]
    )
    columns = (
        Column("class"), Column("images", form=",d"), Column("lossy", form=",d"), Column("share", form=".3f")
    )  # fmt: skip
    test = summary["dependence"]
    told = (
        "All images have the same history, or there is one class."
        if test is None
        else f"Histories and classes: Cramér's V {test['cramers_v']:.3f}, permutation test p = {test['p_value']:.2g}. "
        "Where they depend on each other, a classifier can read the class off the codec."
    )
    return [told, Table("audit-classes", "Lossy pasts by class", frame, columns, data="classes.csv")]
