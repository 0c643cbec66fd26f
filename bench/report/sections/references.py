"""Measurements beside published figures."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from bench.references.attributions import compare_attributions
from bench.references.comparison import Bar, Comparison, compare
from bench.references.corruption import why_not_beside
from bench.references.sources import Source, load
from bench.report.document import Block, Section
from bench.report.groups import Entry, Group
from bench.report.sections.corruption import corruption_tables
from bench.report.tables import Column, Table, number

_SAME = "the same experiment"
_MOST_DIFFERENCES = 40  # rows of a table of them


def comparisons(group: Group, source: Source) -> dict[str, Comparison]:
    """What a source has to say about each model of a group, by label."""
    return {entry.label: _compare(group, entry, source) for entry in group.entries}


def _compare(group: Group, entry: Entry, source: Source) -> Comparison:
    return compare(source, entry.model, group.data, group.images, tuple(entry.runs))


def beside(group: Group, source: Source) -> pd.DataFrame:
    """The group's cells that a source has a figure for, a row each; no column without any.

    Columns: `source`, `where`, those that identify a cell, `precision` with its interval, `published`, `difference`
    (measured minus published), `equal` in print, `comparison`: the same experiment, or in what it differs; then
    `outside` the 95% interval for the same experiment, `bar_low`, `bar_high` and `outside_bar` for another one.
    """
    rows = []
    known = comparisons(group, source)
    for index, cell in group.cells.iterrows():
        comparison = known[cell["label"]]
        figure = comparison.published.get(str(cell["view"]))
        if figure is None:
            continue
        difference = cell["precision"] - figure.value
        row = {"index": index, "source": source.name, "where": figure.where}
        row |= {name: cell[name] for name in ("data", "split", "label", "encoder", "pretrained", "view", "images")}
        row |= {name: cell[name] for name in ("precision", "precision_low", "precision_high")}
        row |= {
            "published": figure.value,
            "difference": difference,
            "equal": int(abs(difference) < figure.half_a_digit),
        }
        row |= {"comparison": comparison.caveat or _SAME, "outside": None}
        row |= dict.fromkeys(("bar_low", "bar_high", "outside_bar"))
        if not comparison.caveat:
            row["outside"] = int(not cell["precision_low"] <= figure.value <= cell["precision_high"])
        if comparison.bar is not None:
            row |= _bar(comparison.bar, difference, figure.half_a_digit)
        rows.append(row)
    frame = pd.DataFrame(rows)
    return frame.set_index("index").astype({"outside": "Int64", "outside_bar": "Int64"}) if rows else frame


def _bar(bar: Bar, difference: float, slack: float) -> dict[str, Any]:
    inside = bar.low - slack <= difference <= bar.high + slack
    return {"bar_low": bar.low, "bar_high": bar.high, "outside_bar": int(not inside)}


def with_published(group: Group, names: Sequence[str]) -> pd.DataFrame:
    """The group's cells with the figures of sources, in two or three columns each where there is one.

    Columns: `<source>`, `<source>_difference` and `<source>_outside` for the same experiment; `<source>_other` and
    `<source>_other_difference` for one that differs.
    """
    frame = group.cells
    for name in names:
        found = beside(group, load(name))
        if found.empty:
            continue
        same = found["comparison"] == _SAME
        for chosen, suffix in ((found[same], ""), (found[~same], "_other")):
            columns = {"published": f"{name}{suffix}", "difference": f"{name}{suffix}_difference"}
            columns |= {} if suffix else {"outside": f"{name}_outside"}
            frame = frame if chosen.empty else frame.join(chosen[list(columns)].rename(columns=columns))
    return frame[[*(name for name in frame if name != "results"), "results"]]


def published_lines(frame: pd.DataFrame, names: Sequence[str]) -> tuple[str, ...]:
    """Lines for below a precision, of the figures that `with_published` has put beside it."""
    lines = []
    for name in names:
        if name in frame:
            lines.append(f"{name} {{{name}:.4f}}, {{{name}_difference:+.4f}}")
        if f"{name}_other" in frame:
            lines.append(f"{name}, other prompts or names: {{{name}_other:.4f}}, {{{name}_other_difference:+.4f}}")
    return tuple(lines)


def outside_interval(frame: pd.DataFrame) -> pd.Series:
    """Cells of which a figure of the same experiment is outside the interval."""
    flags = frame[[name for name in frame if str(name).endswith("_outside")]]
    return (flags == 1).any(axis=1)


def section(groups: Sequence[Group], name: str) -> Section:
    """How far all comparable measurements are from a source, and which are not comparable and why."""
    source = load(name)
    blocks: list[Block] = [f"{source.citation}. {source.location}. {source.note}"]
    frames = {group.title: frame for group in groups if not (frame := beside(group, source)).empty}
    beside_others = corruption_tables(groups, source)
    if frames:
        blocks += _distances(source, frames)
    elif not beside_others:
        blocks.append("No measurement is comparable with one of its figures.")
    blocks += beside_others
    blocks += _attributions(groups) if name == "paper" else []
    refused = refusals(groups, source)
    return Section(f"Against {source.title}", (*blocks, "Not comparable:", refused) if refused else tuple(blocks))


def refusals(groups: Sequence[Group], source: Source) -> dict[str, str]:
    """Why models are not compared with a source, by label and images."""
    return {
        f"{entry.label}, {group.title}": reason
        for group in groups
        for entry in group.entries
        if (reason := refusal(group, entry, source))
    }


def refusal(group: Group, entry: Entry, source: Source) -> str:
    """Why a model is not compared with a source; empty where it is, or stands beside the source's models."""
    reason = _compare(group, entry, source).refusal
    return (
        why_not_beside(source, group.data, group.images, tuple(entry.runs)) if reason and source.supervised else reason
    )


def _distances(source: Source, frames: Mapping[str, pd.DataFrame]) -> list[Block]:
    rows = [
        _distance(f"{title} ({part['where'].iloc[0]})", str(comparison), part)
        for title, frame in frames.items()
        for comparison, part in frame.groupby("comparison", sort=False)
    ]
    whole = pd.concat(frames.values(), ignore_index=True)
    if len(rows) > 1 and whole["comparison"].nunique() == 1:
        rows.append(_distance("all", whole["comparison"].iloc[0], whole))
    frame = pd.DataFrame(rows)
    strict, loose = _SAME in set(whole["comparison"]), whole["bar_low"].notna().any()
    columns = [*_COLUMNS, *([_OUTSIDE] if strict else []), *(_BAR if loose else [])]
    notes = []
    if strict:
        notes.append(
            f"The source prints {source.decimals} decimals of a share. The same experiment has the same images, so the "
            "95% interval, which is about other images of the same kind, is a far wider bar than a faithful "
            "reproduction needs."
        )
    if loose:
        notes.append(
            "Where the prompts are others, the two numbers are not meant to be equal. How far apart they lie is "
            "known from print: where the paper and this source have a figure of the same encoder, weights and images, "
            "the paper's minus the source's is within these bounds. They are the range of those pairs, all of OpenAI's "
            "encoders, and no interval."
        )
    farthest = whole.assign(distance=whole["difference"].abs()).sort_values("distance", ascending=False, kind="stable")
    cells = Table(
        f"against-{source.name}-cells",
        "Cells that are not equal in print, the largest difference first",
        farthest.drop(columns="distance"),
        _CELLS,
        data="references.csv",
        where=lambda rows: rows["equal"] == 0,
        most=_MOST_DIFFERENCES,
        note=f"At most {_MOST_DIFFERENCES} are shown; all {len(whole)} cells are in references.csv.",
    )
    return [Table(f"against-{source.name}", f"Distance from {source.title}", frame, tuple(columns)), *notes, cells]


def _distance(title: str, comparison: str, frame: pd.DataFrame) -> dict[str, Any]:
    distance = frame["difference"].abs()
    farthest = frame.loc[distance.idxmax()]
    row = {
        "images": title,
        "comparison": comparison,
        "compared": len(frame),
        "equal": int(frame["equal"].sum()),
        "mean": distance.mean(),
        "largest": distance.max(),
        "where": f"{farthest['label']}, {farthest['view']}" if distance.max() > 0 else None,
        "outside": frame["outside"].sum() if comparison == _SAME else None,
        "bar": None,
        "outside_bar": None,
    }
    if frame["bar_low"].notna().any():
        low, high = (number(frame[name].iloc[0], "+.4f") for name in ("bar_low", "bar_high"))
        row |= {"bar": f"{low} to {high}", "outside_bar": frame["outside_bar"].sum()}
    return row


_COLUMNS = (
    *(Column("images"), Column("comparison"), Column("compared", "cells compared", ",.0f")),
    *(Column("equal", "equal in print", ",.0f"), Column("mean", "mean |difference|", ".5f")),
    *(Column("largest", "largest |difference|", ".5f"), Column("where")),
)
_OUTSIDE = Column("outside", "outside the 95% interval", ",.0f", marked=lambda frame: frame["outside"] > 0)
_BAR = (
    Column("bar", "bounds of measured minus published, from print"),
    Column("outside_bar", "outside these bounds", ",.0f", marked=lambda frame: frame["outside_bar"] > 0),
)
_CELLS = (
    *(Column("label", "encoder"), Column("data"), Column("split"), Column("view"), Column("where")),
    *(Column("precision", "measured", ".4f", interval=True), Column("published", form=".4f")),
    *(Column("difference", form="+.4f"), Column("comparison")),
)


def _attributions(groups: Sequence[Group]) -> list[Block]:
    frames = [compare_attributions(label, run) for group in groups for label, run in group.runs]
    frame = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    if frame.empty:
        return []
    note = (
        "Sums of Integrated Gradients in nats, of runs that explained images with the labels of a printed table in its "
        "order. The paper does not say which images these are. Size: sum of |measured| over sum of |printed|. "
        "Residual: |IG - logarithm of the ratio of the scores|, 0 for a complete attribution; in print from the "
        "printed scores, without lines that are known to be misprinted and scores that are printed as 0. Settings: in "
        "what the run differs from the authors' released code (configs/paper_ig.yaml)."
    )
    summary = pd.DataFrame([_summed_up(part) for _, part in frame.groupby(["label", "where", "view"], sort=False)])
    lines = Table(
        "against-paper-attribution-lines",
        "Attributions line by line",
        frame,
        _LINES,
        data="references-attributions.csv",
    )
    title = "Attributions beside the printed ones"
    return [Table("against-paper-attributions", title, summary, _ATTRIBUTIONS, note=note), lines]


def _summed_up(frame: pd.DataFrame) -> dict[str, Any]:
    return {
        **{name: frame[name].iloc[0] for name in ("label", "where", "view")},
        "images": len(frame),
        "printed": frame["printed"].mean(),
        "measured": frame["measured"].mean(),
        "difference": frame["difference"].abs().mean(),
        "same_sign": frame["same_sign"].sum(),
        "size": frame["measured"].abs().sum() / frame["printed"].abs().sum(),
        "same_prediction": frame["same_prediction"].sum(),
        "printed_residual": frame["printed_residual"].median(),
        "measured_residual": frame["measured_residual"].median(),
        "settings": frame["settings"].iloc[0] or "as released",
    }


_ATTRIBUTIONS = (
    *(Column("label", "encoder"), Column("where", "printed in"), Column("view"), Column("images", form=",.0f")),
    *(Column("printed", "mean IG in print", "+.4f"), Column("measured", "measured", "+.4f")),
    *(Column("difference", "mean |difference|", ".4f"), Column("same_sign", "of equal sign", ",.0f")),
    *(Column("size", form=".3f"), Column("same_prediction", "of equal prediction", ",.0f")),
    Column("printed_residual", "median residual in print", ".4f"),
    *(Column("measured_residual", "measured", ".1e"), Column("settings")),
)
_LINES = (
    *(Column("label", "encoder"), Column("where", "printed in"), Column("line", form=".0f"), Column("class")),
    *(Column("view"), Column("printed", "IG in print", "+.4f"), Column("measured", form="+.4f")),
    Column("difference", form="+.4f"),
)
