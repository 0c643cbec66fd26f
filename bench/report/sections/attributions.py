"""Integrated Gradients of the runs that have them: tables like the paper's, residuals, pictures."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from bench.report.document import Block, Gallery, Section, is_picture
from bench.report.groups import Group
from bench.report.inputs import Choices
from bench.report.tables import Column, Table, listed, short
from bench.runs.attributions import UNREADABLE, read_attribution_table, why
from bench.runs.folder import FinishedRun

_MOST_ROWS = 30
_MOST_PICTURES = 12
_MOST_NAMES = 6
_MEANS = {
    "ig": "mean IG",
    "loss_difference": "mean loss difference",
    "positive_share": "positive share",
    "mass_top_10": "mass in top 10%",
    "gini": "Gini",
    "evaluations": "gradients",
}


def section(group: Group, choices: Choices) -> Section | None:
    """All about the attributions of a group's runs; None where no run has any."""
    explained = [(label, run) for label, run in group.runs if run.record.attribution is not None]
    blocks: list[Block] = []
    rows: list[dict[str, Any]] = []
    for label, run in explained:
        try:
            rows += _rows(label, run)
        except UNREADABLE as error:
            blocks.append(f"{run.folder.results}: its attribution cannot be read ({why(error)}).")
    if rows:
        blocks.insert(0, _means(group, pd.DataFrame(rows)))
    for place, (label, run) in enumerate(explained, 1):
        blocks += _of_run(f"{group.name}-attribution-{place}", label, run)
    return Section("Integrated Gradients", tuple(blocks)) if explained else None


def _rows(label: str, run: FinishedRun) -> list[dict[str, Any]]:
    """A row per view with every mean that was recorded."""
    attribution: Mapping[str, Any] = run.record.attribution or {}
    return [
        {"label": label, "view": view, "images": len(attribution["indices"])}
        | {f"mean_{name}": None if value is None else float(value) for name, value in summary["mean"].items()}
        | {f"residual_{name}": float(summary["residual"][name]) for name in ("median", "percentile_95")}
        | {"not_converged": int(summary["not_converged"]), "results": str(run.folder.results)}
        for view, summary in attribution["views"].items()
    ]


def _means(group: Group, frame: pd.DataFrame) -> Table:
    note = (
        "IG: sum of the attribution in nats, positive where compression raised the loss. Residual: |IG - loss "
        "difference|, 0 for an exact integral; its median, below it the 95th percentile. Not converged: images whose "
        "error estimate missed the tolerance."
    )
    means = [
        Column(f"mean_{name}", title, ".1f" if name == "evaluations" else ".4f")
        for name, title in _MEANS.items()
        if f"mean_{name}" in frame
    ]
    columns = (
        *(Column("label", "encoder"), Column("view"), Column("images", form=",.0f"), *means),
        Column("residual_median", "residual", ".1e", details=("95%: {residual_percentile_95:.1e}",)),
        Column("not_converged", "not converged", ",.0f", marked=lambda frame: frame["not_converged"] > 0),
    )
    return Table(f"{group.name}-attribution", "Means by view", frame, columns, note=note, data="attributions.csv")


def _of_run(name: str, label: str, run: FinishedRun) -> list[Block]:
    attribution = run.record.attribution or {}
    choices = [
        f"{key}: {_options(attribution[key])}" for key in ("baseline", "rule", "selection") if key in attribution
    ]
    blocks: list[Block] = [f"{label}: {'; '.join(choices)}."]
    try:
        frame = read_attribution_table(run.folder.attribution_table, index="int64")
        blocks.append(_images(name, label, frame))
    except FileNotFoundError:
        return blocks
    except UNREADABLE as error:
        return [*blocks, f"{run.folder.attribution_table}: it cannot be read ({why(error)})."]
    paths = {f"image {index}": run.folder.attribution_picture(index) for index in frame["index"].tolist()}
    there = {caption: path for caption, path in paths.items() if path.is_symlink() or path.exists()}
    pictures = {caption: path for caption, path in there.items() if is_picture(path)}
    if pictures:
        note = f"{min(len(pictures), _MOST_PICTURES)} of the run's {len(pictures)} pictures. Each says itself what its "
        note += "colours mean."
        shown = dict(list(pictures.items())[:_MOST_PICTURES])
        blocks.append(Gallery(name, f"Attributions of {label}", shown, note))
    if odd := [path.name for caption, path in there.items() if caption not in pictures]:
        blocks.append(f"{run.folder.attributions}: no regular files, or too large: {listed(odd, _MOST_NAMES)}.")
    return blocks


def _options(value: Any) -> str:
    """The name of a choice and its options.

    >>> _options({"name": "Trapezoid", "points": 51})
    'Trapezoid (points 51)'
    """
    if not isinstance(value, Mapping):
        return short(value)
    options = ", ".join(
        f"{key} {short(option)}" for key, option in value.items() if key != "name" and option is not None
    )
    return f"{value.get('name', '')} ({options})".strip() if options else str(value.get("name", ""))


def _images(name: str, label: str, wide: pd.DataFrame) -> Table:
    """The columns of the paper's Tables 1 to 6, those of a view in one cell."""
    views = [column.removeprefix("predicted/") for column in wide if column.startswith("predicted/")]
    measures = ("predicted", "score", "ig", "residual")
    parts = []
    for view in views:
        names = {f"{measure}/{view}": measure for measure in measures if f"{measure}/{view}" in wide}
        parts.append(wide[["index", "label", *names]].rename(columns=names).assign(view=view))
    frame = pd.concat(parts).sort_index(kind="stable").reindex(columns=["index", "label", "view", *measures])
    frame["view"] = pd.Categorical(frame["view"], views)
    frame = frame.astype({measure: "float64" for measure in measures[1:]})
    details = ("score {score:.4f}", "IG {ig:+.4f}", "residual {residual:.1e}")
    note = "Predicted class; probability of the true class; sum of the attribution and its residual in nats."
    if len(wide) > _MOST_ROWS:
        note += f" The first {_MOST_ROWS} of {len(wide)} images."
    columns = (Column("index", "image"), Column("label"), Column("predicted", details=details))
    return Table(
        f"{name}-images", f"Images explained, {label}", frame, columns, across="view", note=note, most=_MOST_ROWS
    )
