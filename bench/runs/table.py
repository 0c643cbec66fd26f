"""Outcomes and metrics as text: the per-image CSV table and the table on the screen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

from bench.metrics import METRICS, Metric
from bench.outcomes import REPEATABLE, UNKNOWN, Outcomes, Quantity
from bench.runs.adaptation import AdaptationRecord
from bench.runs.record import RunRecord
from bench.runs.view_record import ViewRecord
from datamodules.text import printable

if TYPE_CHECKING:  # the report, which reads tables, starts without torch
    from torch import Tensor

NAMED = {"prediction": "predicted_class", "runner_up": "runner_up_class"}
"""Columns with the name of a class by the quantity that says which, in tables of `predict`."""

_PLACES = ("index", "label")
_VALUES = tuple(quantity for quantity in REPEATABLE if quantity.name not in _PLACES)
_IMAGES_AT_ONCE = 1024
_FORMULAS = ("=", "+", "-", "@")
_SPECIAL = re.compile(r'[",\r\n]')


def per_image_csv(
    outcomes: Mapping[str, Outcomes],
    path: Callable[[int], str | None],
    class_names: Sequence[str] = (),
    further: Mapping[str, Mapping[int, int]] | None = None,
) -> Iterator[str]:
    """One line per image and view, sorted by image index; classes are indices, unknown values are empty.

    It comes in pieces, since the text of a large run weighs more than all its outcomes. The columns are `index`,
    `path`, `label`, `view`, and then the other quantities of `bench.outcomes.REPEATABLE` in their order; after them,
    with class names, the columns of `NAMED`, and last the further ones. Floats are written with nine digits, which is
    float32 without loss; the PSNR of a view that equals its original is `inf`. No text is one that a spreadsheet would
    take for a formula.

    Args:
        outcomes: By view; every view has the same images in the same order.
        path: File name of an image index.
        class_names: By label, to name the predicted classes.
        further: More columns by name: whole numbers by index of the image.
    """
    order = next(iter(outcomes.values())).index.argsort()
    further = further or {}
    named = [name for name in NAMED if class_names]
    header = ("index", "path", "label", "view", *(quantity.name for quantity in _VALUES), *map(NAMED.get, named))
    yield ",".join(map(str, (*header, *further))) + "\n"
    for start in range(0, len(order), _IMAGES_AT_ONCE):
        rows = order[start : start + _IMAGES_AT_ONCE]
        blocks = {view: found.select(rows) for view, found in outcomes.items()}
        shown = next(iter(blocks.values())).index.tolist()
        paths = [_field(path(index) or "") for index in shown]
        last = [[str(numbers[index]) for index in shown] for numbers in further.values()]
        lines = (_lines(view, block, paths, named, class_names, last) for view, block in blocks.items())
        yield "".join(f"{line}\n" for of_image in zip(*lines, strict=True) for line in of_image)


def inert(text: str) -> str:
    r"""A text that no spreadsheet takes for a formula, no terminal for a command, and UTF-8 can hold.

    >>> inert("=1+1"), inert("a=b"), inert("\tx")
    ("'=1+1", 'a=b', '\\tx')
    """
    shown = printable(text)
    return f"'{shown}" if shown.startswith(_FORMULAS) else shown


def _lines(
    view: str,
    rows: Outcomes,
    paths: Sequence[str],
    named: Sequence[str],
    class_names: Sequence[str],
    last: Sequence[Sequence[str]],
) -> Iterator[str]:
    columns = {quantity.name: _cells(quantity, getattr(rows, quantity.name)) for quantity in REPEATABLE}
    index, label = (columns[name] for name in _PLACES)
    values = [columns[quantity.name] for quantity in _VALUES]
    names = [[_field(class_names[int(cell)]) if cell else "" for cell in columns[name]] for name in named]
    every = (index, paths, label, repeat(view), *values, *names, *last)  # `repeat` has no end
    return map(",".join, zip(*every, strict=False))


def _field(text: str) -> str:
    """Text as a field of a CSV row, in quotes where it needs them (RFC 4180)."""
    shown = inert(text)
    return '"{}"'.format(shown.replace('"', '""')) if _SPECIAL.search(shown) else shown


def _cells(quantity: Quantity, column: Tensor) -> list[str]:
    if quantity.dtype == "int32":
        return ["" if value == UNKNOWN else str(value) for value in column.tolist()]
    return ["" if value != value else f"{value:.9g}" for value in column.tolist()]


def screen_table(record: RunRecord) -> str:
    """A run's headline metrics, a column per view, as in Figure 1 of Chen, Namboodiri and Padget (2023).

    What is noisy is left out: the same run shows the same table.
    """
    data, model = record.data, record.model
    skipped = f" ({len(record.skipped)} skipped)" if record.skipped else ""
    encoder = f"{model.encoder} ({Path(model.pretrained).name})"
    head = (
        f"{encoder if model.companion is None else model.companion.said_of(encoder)} on {data.name}/{data.split}, "
        f"{record.images} images{skipped}, {len(data.class_names)} classes"
    )
    adaptation = AdaptationRecord.of(model)
    heads = [head] if adaptation is None else [head, adaptation.mark]
    metrics = [metric for metric in METRICS if not metric.noisy]
    return "\n".join([*map(printable, heads), "", align(metric_rows(record.views, metrics))])


def metric_rows(views: Mapping[str, ViewRecord], metrics: Sequence[Metric] = METRICS) -> list[list[str]]:
    """The headline metrics of views, for readers: names of the views, then a row per metric with its title first."""
    rows = [["", *map(printable, views)]]
    for metric in metrics:
        values = [view.metrics.get(metric.name) for view in views.values()]
        if metric.decimals is not None and any(value is not None for value in values):
            title = metric.title if metric.unit in metric.title else f"{metric.title} ({metric.unit})"
            shown = (None if value is None else metric.factor * value for value in values)
            rows.append([title, *("" if value is None else f"{value:.{metric.decimals}f}" for value in shown)])
    return rows


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    r"""Rows of cells, the first of which are titles, as a table in Markdown.

    >>> print(markdown_table([["a", "b"], ["x|y", "1"]]))
    | a | b |
    | --- | --- |
    | x\|y | 1 |
    """
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def align(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as lines: the first column to the left, the others to the right.

    >>> print(align([["", "a"], ["x", "0.5"]]))
         a
    x  0.5
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)
