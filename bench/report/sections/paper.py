"""Measurements beside the numbers that the paper prints."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from bench.paper import ENCODERS, PRETRAINED, TEMPLATE, VIEWS, find_attributions, find_precision, find_table
from bench.report.document import Block, Section
from bench.report.groups import Entry, Group, short
from bench.report.tables import Column, Table
from bench.runs.folder import FinishedRun

_HALF_A_DIGIT = 0.5e-4 + 1e-9  # the paper prints four decimals


def with_printed(group: Group) -> pd.DataFrame:
    """The group's cells with `published`, `published_where`, `difference` and `published_outside_interval`.

    The difference is measured minus printed. Without any comparable cell the columns are not there.
    """
    comparable = {entry.label for entry in group.entries if not incomparable(group, entry)}
    rows = {}
    for index, cell in group.cells.iterrows():
        printed = find_precision(cell["encoder"], cell["data"], cell["split"], str(cell["view"]))
        if printed is not None and cell["label"] in comparable:
            rows[index] = {
                "published": printed.value,
                "published_where": printed.where,
                "difference": cell["precision"] - printed.value,
                "published_outside_interval": int(not cell["precision_low"] <= printed.value <= cell["precision_high"]),
            }
    frame = group.cells
    if rows:
        printed_columns = pd.DataFrame.from_dict(rows, orient="index").astype({"published_outside_interval": "Int64"})
        frame = frame.drop(columns="results").join(printed_columns).join(frame["results"])
    return frame


def incomparable(group: Group, entry: Entry) -> str:
    """Why an entry is another experiment than the paper's; empty if it is the same.

    The group's data set and split have to be the paper's.
    """
    table = find_table(group.data.name, group.data.split)
    if table is None:
        return "the paper has no such data set and split"
    if entry.encoder not in ENCODERS:
        return "the paper has no such encoder"
    if entry.model.pretrained != PRETRAINED:
        return f"weights {short(entry.model.pretrained)}, the paper's are OpenAI's"
    if group.images != table.images:
        return f"{group.images} images, the paper's split has {table.images}"
    if group.data.lossy_source_formats:
        return "the source images are compressed already"
    if entry.model.templates != (TEMPLATE,):
        return f"prompt {short(entry.model.templates)}, the paper's is {short([TEMPLATE])}"
    return ""


def section(groups: Sequence[Group]) -> Section:
    """How far all comparable measurements are from the paper, and which are not comparable and why."""
    frames = {group.title: frame for group in groups if "published" in (frame := with_printed(group))}
    rows = [_row(f"{title} ({frame['published_where'].dropna().iloc[0]})", frame) for title, frame in frames.items()]
    if len(rows) > 1:
        rows.append(_row("all", pd.concat(frames.values(), ignore_index=True)))
    blocks: list[Block] = ["No measurement is comparable with one of the paper."]
    if rows:
        blocks = [
            Table("against-paper", "Distance from the paper", pd.DataFrame(rows), _COLUMNS),
            "The paper prints four decimals. Its images and weights are the same as here, so a faithful reproduction "
            "differs by a few images at most, through codec versions and arithmetic; the 95% interval, which is about "
            "other images of the same kind, is a far wider bar.",
        ]
    reasons = {
        f"{entry.label}, {group.title}": why
        for group in groups
        for entry in group.entries
        if (why := incomparable(group, entry))
    }
    rows = [row for group in groups for label, run in group.runs for row in compare_attributions(label, run)]
    blocks += [_attributions(pd.DataFrame(rows))] if rows else []
    return Section("Comparison", (*blocks, "Not comparable:", reasons) if reasons else tuple(blocks))


def compare_attributions(label: str, run: FinishedRun) -> list[dict[str, Any]]:
    """A row per printed table and degraded view for a run that explained images of that table's labels, in its order.

    `printed` and `measured` are mean sums of the attribution over these images in nats, `difference` is the mean of
    |measured - printed| and `same_sign` the number of images of equal sign. `incomplete` is the median of what the
    print lacks for completeness: |printed sum - ln(score of the original / score of the view)|, without lines that are
    known to be misprinted and scores that are printed as 0.

    Args:
        label: Of the model.
        run: Any; without attributions, or of others than the paper's encoders and data sets, there is no row.
    """
    lines = find_attributions(run.record.model.encoder, run.record.data.name)
    if run.record.attribution is None or run.record.model.pretrained != PRETRAINED or not lines:
        return []
    if not run.folder.attribution_table.is_file():  # to open a pipe may take for ever
        return []
    try:
        wide = pd.read_csv(run.folder.attribution_table, dtype={"label": str})
    except (OSError, ValueError):
        return []
    rows = []
    for where, same in ((where, list(same)) for where, same in groupby(lines, key=lambda line: line.where)):
        if [line.label for line in same] != wide["label"].tolist():
            continue
        scores = np.array([line.score for line in same])
        with np.errstate(divide="ignore", invalid="ignore"):
            implied = np.log(scores[:, :1] / scores[:, 1:])
        sound = np.array([not line.misprint for line in same])[:, None] & np.isfinite(implied)
        for place, view in enumerate(VIEWS[1:]):
            printed, name = np.array([line.ig[place] for line in same]), f"ig/{view}"
            if name in wide:
                measured = pd.to_numeric(wide[name], errors="coerce").to_numpy(np.float64)
                lacking = np.abs(printed - implied[:, place])[sound[:, place]]
                row = {"label": label, "where": where, "view": view, "images": len(same)}
                row |= {"printed": printed.mean(), "measured": measured.mean()}
                row |= {"difference": np.abs(measured - printed).mean(), "incomplete": np.median(lacking)}
                rows.append(row | {"same_sign": int((np.sign(measured) == np.sign(printed)).sum())})
    return rows


def _attributions(frame: pd.DataFrame) -> Table:
    columns = (
        *(Column("label", "encoder"), Column("where", "printed in"), Column("view"), Column("images", form=",.0f")),
        *(Column("printed", "mean IG in print", "+.4f"), Column("measured", "measured", "+.4f")),
        *(Column("difference", "mean |difference|", ".4f"), Column("same_sign", "of equal sign", ",.0f")),
        Column("incomplete", "median |residual| in print", ".4f"),
    )
    note = (
        "Sums of Integrated Gradients in nats, of runs that explained images with the labels of a printed table in its "
        "order. The paper does not say which images these are. Residual in print: |IG - logarithm of the ratio of the "
        "printed scores|, 0 for a complete attribution."
    )
    return Table("against-paper-attributions", "Attributions beside the printed ones", frame, columns, note=note)


_COLUMNS = (
    *(Column("images"), Column("compared", "cells compared", ",.0f"), Column("equal", "equal in print", ",.0f")),
    *(Column("mean", "mean |difference|", ".5f"), Column("largest", "largest |difference|", ".5f"), Column("where")),
    Column("outside", "outside the 95% interval", ",.0f", marked=lambda frame: frame["outside"] > 0),
)


def _row(title: str, frame: pd.DataFrame) -> dict[str, Any]:
    frame = frame[frame["published"].notna()]
    distance = frame["difference"].abs()
    farthest = frame.loc[distance.idxmax()]
    return {
        "images": title,
        "compared": len(frame),
        "equal": int((distance < _HALF_A_DIGIT).sum()),
        "mean": distance.mean(),
        "largest": distance.max(),
        "where": f"{farthest['label']}, {farthest['view']}" if distance.max() > 0 else None,
        "outside": int(frame["published_outside_interval"].sum()),
    }
