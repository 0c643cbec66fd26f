"""How frames become cells, whatever the section and the format."""

import numpy as np
import pandas as pd
import pytest

from bench.metrics import METRICS
from bench.report.tables import Cell, Column, Table, lay_out, metric_column, number

FRAME = pd.DataFrame(
    {
        "label": ["a", "a", "b"],
        "view": pd.Categorical(["original", "jpeg-50", "original"], ["original", "jpeg-75", "jpeg-50"]),
        "precision": [0.9, 0.75, 0.8],
        "precision_low": [0.8, 0.7, np.nan],
        "precision_high": [0.95, 0.8, np.nan],
        "p": [np.nan, 1e-9, 0.25],
    }
)
PRECISION = Column(
    "precision", "precision", ".2f", interval=True, details=("{p:p}",), bold=lambda frame: frame["precision"] > 0.85
)


def test_values_become_columns_in_their_order_and_a_gap_is_a_dash():
    layout = lay_out(Table("t", "T", FRAME, (Column("label", "encoder"), PRECISION), across="view"))
    assert layout.heads == ["encoder", "original", "jpeg-50"]
    assert layout.numeric == [False, True, True]
    assert layout.rows == [
        [
            Cell("a"),
            Cell("0.90", ("[0.80, 0.95]",), 0.9, bold=True),
            Cell("0.75", ("[0.70, 0.80]", "p < 0.0001"), 0.75),
        ],
        [Cell("b"), Cell("0.80", ("p = 0.2500",), 0.8), Cell("–")],
    ]


def many_views(labels, most=10_000):
    """A table of each label in twelve views, of the column or columns that `labels` name."""
    views = [f"view {number}" for number in range(12)]
    rows = [{**keys, "view": view, "x": float(place)} for keys in labels for place, view in enumerate(views)]
    frame = pd.DataFrame(rows).astype({"view": pd.CategoricalDtype(views)})
    columns = (*map(Column, labels[0]), Column("x", form=".0f"))
    layout = lay_out(Table("t", "T", frame, columns, across="view", most=most))
    return layout.heads, [[cell.text for cell in row] for row in layout.rows]


def test_values_that_have_no_room_side_by_side_stand_below_each_other():
    heads, rows = many_views([{"label": "a"}, {"label": "b"}])
    assert heads == ["view", "a", "b"]
    assert rows == [[f"view {number}", str(number), str(number)] for number in range(12)]
    heads, rows = many_views([{"first": "a", "second": "b"}, {"first": "a", "second": "c"}], most=1)
    assert heads == ["first", "second", "view", "x"]
    assert rows == [["a", "b", f"view {number}", str(number)] for number in range(12)]


def test_a_tidy_table_has_the_rows_of_its_frame_those_that_are_meant_and_as_many_as_fit():
    columns = (Column("view"), Column("p", form=".1f", missing="none", marked=lambda frame: frame["p"].notna()))
    whole = lay_out(Table("t", "T", FRAME, columns))
    assert [[cell.text for cell in row] for row in whole.rows] == [
        ["original", "none"],
        ["jpeg-50", "0.0"],
        ["original", "0.2"],
    ]
    assert [row[1].marked for row in whole.rows] == [False, True, True]
    some = Table("t", "T", FRAME, columns, where=lambda frame: frame["label"] == "a", most=1)
    assert [[cell.text for cell in row] for row in lay_out(some).rows] == [["original", "none"]]


def test_some_values_are_said_in_words_also_at_the_ends_of_an_interval():
    frame = pd.DataFrame({"x": [0.0], "x_low": [0.0], "x_high": [np.inf]})
    column = Column("x", form=",.0f", interval=True, words={0.0: "below", np.inf: "above"})
    assert lay_out(Table("t", "T", frame, (column,))).rows == [[Cell("below", ("[below, above]",), 0.0)]]


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (1234.5, ",.1f", "1,234.5"),
        (-0.25, "+.2f", "−0.25"),
        (-1e-9, "+.4f", "0.0000"),
        (np.float64(2e-7), ".1e", "2.0e-07"),
        (0.125, ".0%", "12%"),
        (7, ",.0f", "7"),
        (float("nan"), ".2f", "–"),
        (pd.NA, ".0f", "–"),
    ],
)
def test_numbers_are_written_with_a_minus_and_without_a_signed_zero(value, form, text):
    assert number(value, form) == text


def test_every_metric_has_its_declared_title_unit_and_decimals():
    declared = {metric.name: metric for metric in METRICS}
    for name, metric in declared.items():
        column = metric_column(name)
        assert column.head.startswith(metric.title)
        assert metric.unit in column.head
        assert metric.decimals is None or column.form == f",.{metric.decimals}f"
    assert metric_column("psnr").head == "PSNR (dB)"
