"""What a report is made from: every file, used with its provenance, replaced by a newer one, or left out."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from bench.report.document import Block, Section
from bench.report.groups import Group
from bench.report.tables import Column, Table
from bench.runs.folder import FinishedRun

_HASH_DIGITS = 12
_HEADS = ("encoder", "weights", "SHA-256", "arithmetic", "images", "torch", "Pillow", "codecs", "commit", "file")


def section(
    groups: Sequence[Group],
    unused: Mapping[Path, str],
    replaced: Mapping[Path, str],
    apart: Sequence[tuple[str, str, FinishedRun]] = (),
) -> Section:
    """Result files with their provenance, and those that are not shown.

    Args:
        groups: What is shown.
        unused: Files that cannot be used, and why.
        replaced: Files of which a newer one measured something again, and what.
        apart: Label, images and run of what no group holds.
    """
    rows = []
    for label, images, run in [*((label, group.title, run) for group in groups for label, run in group.runs), *apart]:
        model, software = run.record.model, run.record.software
        values = (
            label,
            Path(model.pretrained).name,
            (model.weights_sha256 or "")[:_HASH_DIGITS],
            model.precision,
            images,
            software.packages.get("torch"),
            software.packages.get("pillow"),
            ", ".join(f"{name} {version}" for name, version in software.codec_versions.items()),
            _short_commit(software.git_commit),
            str(run.folder.results),
        )
        rows.append(["" if value is None else value for value in values])
    columns = tuple(Column(head) for head in _HEADS)
    blocks: list[Block] = [Table("sources", "Result files", pd.DataFrame(rows, columns=list(_HEADS)), columns)]
    if replaced:
        blocks += ["Measured again by a newer run, which is the one shown:", _by_text(replaced)]
    if unused:
        blocks += ["Not used:", _by_text(unused)]
    return Section("Sources", tuple(blocks))


def _by_text(files: Mapping[Path, str]) -> dict[str, str]:
    return {str(path): text for path, text in files.items()}


def _short_commit(commit: str | None) -> str:
    """The first digits of a commit, and whether files differed from it.

    >>> _short_commit("0123456789abcdef-dirty")
    '012345678-dirty'
    """
    digits, _, dirty = (commit or "").partition("-")
    return digits[:9] + (f"-{dirty}" if dirty else "")
