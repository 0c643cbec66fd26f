"""What an audit found of the original images' past: its page, its line, and a run's sentence on a sample of them."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from bench.report.document import Block, Chapter, Report, Section
from bench.report.groups import Group
from bench.report.inputs import Choices
from bench.report.tables import Column, Table

_MOST_QUALITIES = 3
_ALARMING = 0.01
_WORDS = {
    "jpeg": "Stored as JPEG, or decoded from JPEG with these very pixels: the lattice of its quantisation table shows.",
    "lossy": "Stored in another lossy format, or chroma was at half size without a JPEG's lattice, as WebP and AVIF "
    "leave it.",
    "lossless": "There is detail that a lossy codec would have taken, at this size or before a resize by 0.5 to 2. "
    "What happened at more than twice this size cannot be told, and biases a drop little.",
    "unknown": "Neither shows. The reason says whether a JPEG save since the last resize can be excluded; what was "
    "before a resize cannot be told.",
}
_COUNTS = (
    ("verdicts", "verdict", "Verdicts"), ("reasons", "reason", "Why it is unknown"),
    ("containers", "container", "Containers"), ("qualities", "quality", "JPEG qualities"),
    ("subsamplings", "subsampling", "Subsampling of JPEG files"), ("offsets", "offset", "Offsets of the grid"),
    ("earlier_saves", "quality", "Saves before the last one"),
)  # fmt: skip
_CONCLUSIONS = {
    "lossy": "lossy", "lossless": "lossless", "no save at this size": "no lossy save at this size", "unknown": "unknown"
}  # fmt: skip


def section(group: Group, choices: Choices) -> Section | None:
    """A sentence on the originals' past; None where no record says anything about it."""
    line = past_of(group.data.further.get("audit"))
    return None if line is None else Section("The originals' past", (line,))


def past_of(found: Any) -> str | None:
    """What a record's audit says, in a sentence; None where it is none.

    >>> past_of({"images": 10, "conclusion": "lossy", "lossy": 10, "lossless": 0, "qualities": {"75": 10}})
    'Of 10 originals that were looked at, 10 show a lossy past (JPEG quality 75): drops here are biased, mostly down.'
    >>> past_of({"images": 10, "conclusion": "unknown", "lossy": 0, "lossless": 1, "qualities": {}})
    'Of 10 originals that were looked at, 0 show a lossy past, and 1 that there was none.'
    >>> past_of({"images": 0, "conclusion": "not looked at", "lossy": 0, "lossless": 0, "qualities": {}})
    "The run was too short to look at the originals' past: `lightning audit` does."
    """
    if not isinstance(found, Mapping):
        return None
    counts = [found.get(key) for key in ("images", "lossy", "lossless")]
    qualities = found.get("qualities")
    if not all(isinstance(count, int) for count in counts) or not isinstance(qualities, Mapping):
        return None
    images, lossy, lossless = counts
    if images == 0:
        return "The run was too short to look at the originals' past: `lightning audit` does."
    line = f"Of {images} originals that were looked at, {lossy} show a lossy past"
    if found.get("conclusion") == "lossy":
        return f"{line}{_named(qualities)}: drops here are biased, mostly down."
    return f"{line}{', no more than lossless sets do by chance' if lossy else ''}, and {lossless} that there was none."


def _named(qualities: Mapping[Any, Any]) -> str:
    most = [str(key) for key in list(qualities)[:_MOST_QUALITIES]]
    more = ", ..." if len(qualities) > len(most) else ""
    return f" (JPEG quality {', '.join(most)}{more})" if most else ""


def in_one_line(summary: Mapping[str, Any]) -> str:
    """What a summary of `bench.audit.dataset.summarise` comes to, for a screen.

    >>> counts = {"verdicts": {"jpeg": 2, "unknown": 1}, "qualities": {"75": 2}, "dependence": None, "unreadable": 0}
    >>> in_one_line({"images": 3, "conclusion": "lossy", "lossy": 2, "lossless": 0} | counts)
    'lossy: 2 of 3 images show a lossy past (JPEG quality 75), 0 that there was none, 1 cannot tell'
    """
    by_chance = summary["lossy"] and summary["conclusion"] != "lossy"
    chance = ", no more than lossless sets do by chance" if by_chance else ""
    line = (
        f"{_CONCLUSIONS[summary['conclusion']]}: {summary['lossy']:,} of {summary['images']:,} images show a lossy past"
        f"{_named(summary['qualities'])}{chance}, {summary['lossless']:,} that there was none, "
        f"{summary['verdicts'].get('unknown', 0):,} cannot tell"
    )
    if summary["unreadable"]:
        line += f", {summary['unreadable']:,} cannot be read"
    test = summary["dependence"]
    if test is not None and test["p_value"] < _ALARMING:
        line += f"; the past depends on the class (p = {test['p_value']:.2g}, V = {test['cramers_v']:.2f})"
    return line


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
            blocks.append(Table(f"audit-{key.replace('_', '-')}", name, frame, columns, data=f"{key}.csv"))
    sections = [Section("Images", tuple(blocks))]
    if summary["by_class"]:
        sections.append(Section("Classes", tuple(_classes(summary))))
    if summary["seen_shares"]:
        sections.append(Section("Bias", (_bias(summary["seen_shares"]),)))
    return Report(title, line, (Chapter("Audit", tuple(sections)),))


def _bias(shares: Mapping[str, Mapping[str, float]]) -> Table:
    names = {"share": "share", "low": "share_low", "high": "share_high"}
    frame = pd.DataFrame([{"view": view, **one} for view, one in shares.items()]).rename(columns=names)
    note = (
        "Share of a view's drop that is seen from images with this past: 1 is no bias. Measured by degrading twice, as "
        "the squared error that the view adds to that of the past, over what it costs images without one. The interval "
        "is how far the drops of two small encoders lay from that on CIFAR-10 (docs/audit.md). Only JPEG of a known "
        "quality counts as a past here."
    )
    columns = (Column("view"), Column("share", "share of the drop", ".2f", interval=True))
    return Table("audit-seen", "What is seen of each view", frame, columns, note=note, data="seen_shares.csv")


def _classes(summary: Mapping[str, Any]) -> list[Block]:
    rows = summary["by_class"].items()
    frame = pd.DataFrame([{"class": name, **row, "share": row["lossy"] / row["images"]} for name, row in rows])
    columns = (
        Column("class"), Column("images", form=",d"), Column("lossy", form=",d"), Column("share", form=".3f"),
        Column("p_holm", "p (Holm)", ".2g"),
    )  # fmt: skip
    test = summary["dependence"]
    told = (
        "All images have the same history, or there is one class."
        if test is None
        else f"Histories and classes: Cramér's V {test['cramers_v']:.3f}, permutation test of chi-squared, "
        f"p = {test['p_value']:.2g}. Where they depend on each other, a classifier can read the class off the codec."
    )
    note = "p: Fisher's exact test of a class's lossy images against all other classes', adjusted by Holm's method."
    return [told, Table("audit-classes", "Lossy pasts by class", frame, columns, note=note, data="classes.csv")]
