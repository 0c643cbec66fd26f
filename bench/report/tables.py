"""Tables: one tidy frame, and a declaration of what readers see of it, from which every format follows."""

import json
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING, Any

from bench.metrics import METRICS

if TYPE_CHECKING:
    import pandas as pd

MISSING = "\N{EN DASH}"

HASH_DIGITS = 8
"""Of a hash that are shown."""

_LONGEST_VALUE = 60
_MOST_ACROSS = 8  # have room on a page 1400 pixels wide

Flags = Callable[["pd.DataFrame"], "pd.Series"]
"""Which rows of a frame are meant."""

_BY_NAME = {metric.name: metric for metric in METRICS}


@dataclass(frozen=True)
class Column:
    """What readers see of a column of a frame.

    Attributes:
        name: Of the column.
        title: Its head; the name if there is none.
        form: Python's format of the values, with the decimals; empty for text.
        interval: Whether its interval is below the value: the columns `<name>_low` and `<name>_high`, in the same form.
        details: Further lines below the value, as format strings over all columns; `{x:p}` is a p-value. A line of
            which a value is missing is left out.
        words: What is said instead of some values.
        missing: What is said where there is none.
        bold: Which values are in bold.
        marked: Which values are highlighted as deviations.
    """

    name: str
    title: str = ""
    form: str = ""
    interval: bool = False
    details: tuple[str, ...] = ()
    words: Mapping[float, str] = field(default_factory=dict)
    missing: str = MISSING
    bold: Flags | None = None
    marked: Flags | None = None

    @property
    def head(self) -> str:
        """The text above the column."""
        return self.title or self.name


def metric_column(name: str) -> Column:
    """The column of a metric, as `bench.metrics.METRICS` declares it."""
    metric = _BY_NAME[name]
    unit = f" ({metric.unit})" if metric.unit and metric.unit not in metric.title else ""
    return Column(name, metric.title + unit, f",.{4 if metric.decimals is None else metric.decimals}f")


@dataclass(frozen=True)
class Table:
    """A table of a report: a frame and how readers see its columns.

    Attributes:
        name: Of its LaTeX file.
        title: For readers.
        frame: A row per measurement.
        columns: What is shown, in order.
        across: The column of the frame whose values become columns, which hold the last of `columns`; rows are then
            those of equal values in the columns before it. Too many of them to stand side by side become rows. Empty
            for a table as tidy as its frame.
        note: Below the title.
        data: The CSV file that gets the whole frame; empty for none. Groups share their files.
        where: Rows that are shown; all where None.
        most: Rows that are shown at most.
    """

    name: str
    title: str
    frame: "pd.DataFrame"
    columns: tuple[Column, ...]
    across: str = ""
    note: str = ""
    data: str = ""
    where: Flags | None = None
    most: int = 10_000


@dataclass(frozen=True)
class Cell:
    """What one cell shows.

    Attributes:
        text: What is read first.
        details: Lines in smaller type below it.
        value: What a column is sorted by; the text where None.
        bold: Whether it is in bold.
        marked: Whether it is highlighted.
    """

    text: str
    details: tuple[str, ...] = ()
    value: float | None = None
    bold: bool = False
    marked: bool = False


@dataclass(frozen=True)
class Layout:
    """A table as rows of cells.

    Attributes:
        heads: Of the columns.
        numeric: Which columns hold numbers.
        rows: Of as many cells.
    """

    heads: list[str]
    numeric: list[bool]
    rows: list[list[Cell]]


def lay_out(table: Table) -> Layout:
    """The cells of a table."""
    frame = table.frame if table.where is None else table.frame[table.where(table.frame)]
    records = (frame if table.across else frame[: table.most]).to_dict("records")
    columns = [_cells(column, frame, records) for column in table.columns]
    heads, rows = [column.head for column in table.columns], [list(row) for row in zip(*columns, strict=True)]
    if table.across:
        heads, rows = _across(heads, rows, frame[table.across], table.most)
    numeric = [any(row[place].value is not None for row in rows) for place in range(len(heads))]
    return Layout(heads, numeric, rows)


def _across(
    heads: list[str], rows: list[list[Cell]], places: "pd.Series", most: int
) -> tuple[list[str], list[list[Cell]]]:
    """Heads and rows of a table whose values stand side by side, or below each other where they have no room so.

    Args:
        heads: Of the columns; the last is that of the values.
        rows: Of as many cells.
        places: What each row's value stands under.
        most: Rows that are shown at most, as they are side by side.
    """
    spread: dict[tuple[str, ...], tuple[list[Cell], dict[Any, Cell]]] = {}
    for place, (*keys, cell) in zip(places, rows, strict=True):
        spread.setdefault(tuple(key.text for key in keys), (keys, {}))[1][place] = cell
    shown = [*spread.values()][:most]
    kinds = places.cat.categories if hasattr(places, "cat") else places.unique()
    kinds = [kind for kind in kinds if any(kind in cells for _, cells in spread.values())]
    crowded = len(kinds) > _MOST_ACROSS
    if crowded and len(heads) == 2 and len(kinds) > len(shown):
        heads = [str(places.name), *(key.text for (key,), _ in shown)]
        return heads, [[Cell(str(kind)), *(cells.get(kind, Cell(MISSING)) for _, cells in shown)] for kind in kinds]
    if crowded and len(heads) > 2:
        every = [(keys, kind, cells[kind]) for keys, cells in shown for kind in kinds if kind in cells]
        heads = [*heads[:-1], str(places.name), heads[-1]]
        return heads, [[*keys, Cell(str(kind)), cell] for keys, kind, cell in every]
    heads = [*heads[:-1], *map(str, kinds)]
    return heads, [[*keys, *(cells.get(kind, Cell(MISSING)) for kind in kinds)] for keys, cells in shown]


def _cells(column: Column, frame: "pd.DataFrame", records: list[dict[str, Any]]) -> list[Cell]:
    details = column.details
    if column.interval:
        form = column.form.lstrip("+")
        details = (f"[{{{column.name}_low:{form}}}, {{{column.name}_high:{form}}}]", *details)
    bold, marked = (repeat(False) if flags is None else flags(frame) for flags in (column.bold, column.marked))
    return [
        _cell(column, row, details, bool(strong), bool(mark))
        for row, strong, mark in zip(records, bold, marked, strict=False)  # flags are of the whole frame
    ]


def _cell(column: Column, row: Mapping[str, Any], details: tuple[str, ...], bold: bool, marked: bool) -> Cell:
    value = row[column.name]
    lines = tuple(line for line in (write(detail, row, column.words) for detail in details) if line)
    if not column.form:
        return Cell(column.missing if _is_missing(value) else str(value), lines, bold=bold, marked=marked)
    text = write(f"{{{column.name}:{column.form}}}", row, column.words)
    return Cell(text or column.missing, lines, float(value) if text else None, bold and bool(text), marked)


class _MissingError(Exception):
    """A value is not known."""


class _Formatter(string.Formatter):
    def __init__(self, words: Mapping[float, str]) -> None:
        self._words = words

    def format_field(self, value: Any, format_spec: str) -> str:
        if _is_missing(value):
            raise _MissingError
        if isinstance(value, float | int) and value in self._words:
            return self._words[value]
        if format_spec == "p":
            return "p < 0.0001" if value < 0.0001 else f"p = {value:.4f}"
        return number(value, format_spec) if format_spec else str(value)


def write(text: str, values: Mapping[str, Any], words: Mapping[float, str] | None = None) -> str:
    """A format string with its values, numbers as in tables; empty where one is missing.

    >>> write("{x:+.1f} {p:p}", {"x": 0.25, "p": 1e-9}), write("{x:.1f}", {"x": float("nan")})
    ('+0.2 p < 0.0001', '')
    """
    try:
        return _Formatter(words or {}).vformat(text, (), values)
    except _MissingError:
        return ""


def listed(names: Sequence[str], most: int) -> str:
    """Names in a sentence, and how many more there are.

    >>> listed(["a", "b", "c"], 3), listed(["a", "b", "c"], 2), listed(["a", "b, c", "d"], 3)
    ('a, b and c', 'a, b and 1 more', 'a; b, c; and d')
    """
    shown = [*names[:most], *([f"{len(names) - most} more"] if len(names) > most else [])]
    between, last = ("; ", "; and ") if any("," in name for name in shown) else (", ", " and ")
    return last.join(between.join(part) for part in (shown[:-1], shown[-1:]) if part)


def short(value: Any) -> str:
    """A value of a record in at most one short line.

    >>> short(["a {}."]), short(list(range(100))), short("sha256:" + 64 * "f"), short(None)
    ('"a {}."', '100 values', 'sha256:ffffffff', 'none')
    """
    if value is None:
        return "none"
    if isinstance(value, str):
        return value[: len("sha256:") + HASH_DIGITS] if value.startswith("sha256:") else value
    text = json.dumps(value, default=str, ensure_ascii=False)
    if isinstance(value, list | tuple):
        text = text[1:-1] if len(text) <= _LONGEST_VALUE else f"{len(value)} values"
    return text


def number(value: float, form: str = ".4f") -> str:
    """A number as text, with a minus sign instead of a hyphen; a dash for NaN.

    >>> number(0.25, ".2f"), number(0.25, "+.4f"), number(-1e-9, "+.4f")
    ('0.25', '+0.2500', '0.0000')
    """
    if _is_missing(value):
        return MISSING
    text = format(value, form)
    if not any(digit in text for digit in "123456789") and "inf" not in text:
        text = text.lstrip("+-")
    return text if "e" in form else text.replace("-", "\N{MINUS SIGN}")


def _is_missing(value: Any) -> bool:
    return value is None or type(value).__name__ == "NAType" or value != value
