"""Integrated Gradients of the runs that have them: tables like the paper's, residuals, pictures."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.report.elements import MISSING, Block, Cell, Gallery, Section, Table, Text, number
from bench.report.groups import Group, short
from bench.report.runs import Run

_FOLDER = "attributions"
_IMAGES = "table.csv"
_MOST_ROWS = 30
_MOST_PICTURES = 12
_MEANS = {
    "ig": "mean IG",
    "loss_difference": "mean loss difference",
    "positive_share": "positive share",
    "mass_top_10": "mass in top 10%",
    "gini": "Gini",
    "evaluations": "gradients",
}


def attributions_section(group: Group) -> Section | None:
    """All about the attributions of a group's runs; None where no run has any."""
    explained = [(label, run) for label, run in group.runs if run.attribution is not None]
    if not explained:
        return None
    blocks: list[Block] = []
    rows: list[tuple[Cell, ...]] = []
    data: list[dict[str, object]] = []
    for label, run in explained:
        try:
            rows += _summary_rows(label, run.attribution)
            data += _data(group, label, run)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            blocks.append(Text(f"{run.path}: its attribution cannot be read ({error!r})."))
    if rows:
        header = ("encoder", "view", "images", *_MEANS.values(), "residual: median", "95th percentile", "not converged")
        note = (
            "IG: sum of the attribution in nats, positive where compression raised the loss. Residual: |IG - loss "
            "difference|, 0 for an exact integral. Not converged: images whose error estimate missed the tolerance."
        )
        blocks.insert(0, Table(f"{group.name}-attribution", "Means by view", header, tuple(rows), note))
    for position, (label, run) in enumerate(explained, 1):
        blocks += _of_run(f"{group.name}-attribution-{position}", label, run)
    return Section("Integrated Gradients", tuple(blocks), {"attributions.csv": tuple(data)})


def _summary_rows(label: str, attribution: Any) -> list[tuple[Cell, ...]]:
    rows = []
    for view, summary in attribution["views"].items():
        images, missed = len(attribution["indices"]), int(summary["not_converged"])
        means = [(summary["mean"].get(name), 1 if name == "evaluations" else 4) for name in _MEANS]
        spread = [summary["residual"][name] for name in ("median", "percentile_95")]
        rows.append(
            (
                Cell(label),
                Cell(view),
                Cell(str(images), value=images),
                *(_real(*value) for value in means),
                *(Cell(f"{value:.1e}", value=float(value)) for value in spread),
                Cell(f"{missed} of {images}", value=missed, marked=missed > 0),
            )
        )
    return rows


def _real(value: float | None, digits: int) -> Cell:
    return Cell(MISSING) if value is None else Cell(number(float(value), digits), value=float(value))


def _data(group: Group, label: str, run: Run) -> list[dict[str, object]]:
    """A row per view with every mean that was recorded."""
    attribution: Any = run.attribution
    return [
        {"group": group.name, "label": label, "view": view, "images": len(attribution["indices"])}
        | {f"mean_{name}": "" if value is None else float(value) for name, value in summary["mean"].items()}
        | {f"residual_{name}": float(value) for name, value in summary["residual"].items()}
        | {"not_converged": int(summary["not_converged"]), "results": str(run.path)}
        for view, summary in attribution["views"].items()
    ]


def _of_run(name: str, label: str, run: Run) -> list[Block]:
    attribution = run.attribution or {}
    choices = [
        f"{key}: {_options(attribution[key])}" for key in ("baseline", "rule", "selection") if key in attribution
    ]
    blocks: list[Block] = [Text(f"{label}: {'; '.join(choices)}.")]
    lines = _read_table(run.folder / _FOLDER / _IMAGES)
    if lines:
        blocks.append(_image_table(name, label, run, lines))
    order = [line["index"] for line in lines if line.get("index")]
    pictures = [path for index in order if (path := run.folder / _FOLDER / f"{index}.png").is_file()]
    if pictures:
        shown = tuple((f"image {path.stem}", path) for path in pictures[:_MOST_PICTURES])
        note = f"{len(shown)} of the run's {len(pictures)} pictures. Red: compression raised the loss there; green: it "
        note += "lowered it, unless the picture's own legend says otherwise."
        blocks.append(Gallery(name, f"Attributions of {label}", shown, note))
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


def _read_table(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [row for row in csv.DictReader(file) if None not in row and None not in row.values()]
    except (OSError, UnicodeDecodeError, csv.Error):
        return []  # the summary in the result file is what counts


def _image_table(name: str, label: str, run: Run, lines: Sequence[Mapping[str, str]]) -> Table:
    """The columns of the paper's Tables 1 to 6, those of a view in one cell."""
    views = [key.removeprefix("predicted/") for key in lines[0] if key.startswith("predicted/")]
    rows = tuple(
        (Cell(line.get("index", "")), Cell(line.get("label", "")), *(_image_cell(line, view) for view in views))
        for line in lines[:_MOST_ROWS]
    )
    note = "Predicted class; probability of the true class; sum of the attribution and its residual in nats."
    if len(lines) > len(rows):
        note += f" The first {len(rows)} of {len(lines)} images; all are in {run.folder / _FOLDER / _IMAGES}."
    return Table(f"{name}-images", f"Images explained, {label}", ("image", "label", *views), rows, note)


def _image_cell(line: Mapping[str, str], view: str) -> Cell:
    score, total, residual = (_float(line.get(f"{name}/{view}", "")) for name in ("score", "ig", "residual"))
    details = [f"score {number(score)}"]
    if total == total:
        details += [f"IG {number(total, signed=True)}", f"residual {residual:.1e}"]
    return Cell(line[f"predicted/{view}"], tuple(details))


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
