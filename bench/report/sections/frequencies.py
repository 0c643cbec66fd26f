"""Which frequencies, channels and blocks the loss of compressed images comes from, in the runs that were explained."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from bench.attribution.spectra import BANDS, LEAST_WITH_INTERVALS, PARTS, MeanSpectrum, read_spectra
from bench.figures.frequencies import frequency_maps
from bench.figures.style import first_of
from bench.report.document import Block, Plot, Section
from bench.report.groups import Group
from bench.report.inputs import Choices
from bench.report.tables import Column, Table
from bench.runs.attributions import UNREADABLE, read_attribution_table, why
from bench.runs.folder import FinishedRun
from bench.statistics.intervals import Estimate, Interval
from bench.statistics.means import mean_estimate, ratio_of_means

_MOST_PICTURES = 6
_MOST_BLOCKS = 5
_SHARE = "{share:.0%} [{share_low:.0%}, {share_high:.0%}]"
_ALL = "all together"
_UNKNOWN = Estimate(np.nan, Interval(np.nan, np.nan))


def section(group: Group, choices: Choices) -> Section | None:
    """Parts of the loss, maps of frequencies and the costliest blocks; None where no run has any."""
    rows: list[dict[str, Any]] = []
    others: list[Block] = []
    for place, (label, run) in enumerate(group.runs, 1):
        try:
            rows += _parts(label, run)
        except UNREADABLE:
            continue  # of an older version, or damaged: `bench.report.sections.attributions` says which
        try:
            others += _of_run(f"{group.name}-frequencies-{place}", label, run)
        except UNREADABLE as error:
            others.append(f"{run.folder.attributions}: its frequencies or blocks cannot be read ({why(error)}).")
    if not rows:
        return None
    return Section("Which frequencies hurt", (_parts_table(group, pd.DataFrame(rows)), *others))


def _parts(label: str, run: FinishedRun) -> Iterator[dict[str, Any]]:
    """A row per view and part of its loss."""
    attribution: Mapping[str, Any] = run.record.attribution or {"views": {}}
    for view, summary in attribution["views"].items():
        if not PARTS.keys() <= summary["per_image"].keys():
            continue
        values = np.array([summary["per_image"][part] for part in PARTS], dtype=np.float64).T
        values = values[np.isfinite(values).all(1)]
        if not len(values):
            continue
        total = values.sum(1)
        for part, column in zip([*PARTS.values(), _ALL], [*values.T, total], strict=True):
            if part == PARTS["subsampling"] and not column.any():
                continue  # chroma was not halved, or not by JPEG
            row = {"label": label, "view": view, "images": len(values), "part": part}
            known = len(values) >= LEAST_WITH_INTERVALS
            nats = mean_estimate(column, least=LEAST_WITH_INTERVALS)
            share = ratio_of_means(column, total) if known and total.mean() > 0 and part != _ALL else _UNKNOWN
            yield row | nats.columns("nats") | share.columns("share")


def _parts_table(group: Group, frame: pd.DataFrame) -> Table:
    columns = (
        *(Column("label", "encoder"), Column("images", form=",.0f"), Column("part")),
        Column("nats", form="+.4f", interval=True, details=(_SHARE,)),
    )
    bands = ", ".join(f"{band} {first} to {last}" for band, (first, last) in BANDS.items())
    note = (
        "What the mean of the attribution's sum consists of, in nats per image; positive: raised the loss. Luma by the "
        f"sum of its vertical and horizontal frequency, in half periods per 8 pixels: {bands}. Chroma: Cb and Cr, for "
        "JPEG 4:2:0 what was done to them at half the resolution. Halving of chroma: what that resolution takes, "
        "told apart for JPEG 4:2:0 only. Rounding to bytes: of decoded pixels and in the resize to the encoder's "
        f"input. Intervals: Student's over images at 95%, pointwise, from {LEAST_WITH_INTERVALS} images on. Below, "
        "where the interval of the sum lies above 0: the share of it, with Fieller's interval."
    )
    return Table(
        f"{group.name}-attribution-parts",
        "Where the loss comes from",
        frame,
        columns,
        across="view",
        note=note,
        data="attribution_parts.csv",
    )


def _of_run(name: str, label: str, run: FinishedRun) -> Iterator[Block]:
    if not run.folder.attribution_frequencies.exists():
        return
    means = read_spectra(read_attribution_table(run.folder.attribution_frequencies))
    more = first_of(min(len(means), _MOST_PICTURES), len(means), "views")
    for place, mean in enumerate(means[:_MOST_PICTURES], 1):
        title = f"Frequencies of {mean.view}, {label}"
        yield Plot(f"{name}-{place}", title, partial(frequency_maps, mean), _say(mean, more))
    blocks = read_attribution_table(run.folder.attribution_blocks)
    blocks = blocks.astype({"index": "int64", "x": "int64", "y": "int64", "nats": "float64", "image_nats": "float64"})
    if len(blocks):
        yield _blocks_table(name, label, blocks)


def _say(mean: MeanSpectrum, more: str) -> str:
    sides = sorted(set(mean.block_sides))
    grid = f"Blocks of chroma are {sides[-1]} pixels wide, its frequencies half of luma's. " if len(sides) > 1 else ""
    return f"{grid}{more}".strip()


def _blocks_table(name: str, label: str, blocks: pd.DataFrame) -> Table:
    columns = (
        *(Column("view"), Column("index", "image"), Column("x", form=".0f"), Column("y", form=".0f")),
        *(Column("nats", form="+.4f"), Column("image_nats", "all blocks of the image", "+.4f")),
    )
    note = (
        "The 8 x 8 blocks that raised the loss most among all images explained, by the pixel at their top left; what "
        "the blocks of an image add up to may be less, since others lowered the loss. The image's sum also holds the "
        "halving of chroma and the rounding to bytes, which belong to no block."
    )
    shown = blocks.groupby("view", sort=False).head(_MOST_BLOCKS).reset_index(drop=True)
    return Table(f"{name}-blocks", f"The blocks that cost most, {label}", shown, columns, note=note)
