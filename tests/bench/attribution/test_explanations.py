"""Tables and summary of two hand-made explanations."""

import csv
import json
import math
from io import StringIO

import numpy as np
import pytest

from bench.attribution.explanations import (
    AttributionRecord,
    Explanation,
    ViewExplanation,
    explanations_csv,
    explanations_markdown,
)
from bench.attribution.quadrature import Trapezoid
from bench.attribution.selection import First

NAMES = ("cat", "dog, big|small")


def explanation(index, total, residual, gini, converged=True):
    view = ViewExplanation(
        total=total,
        loss_difference=total - residual,
        residual=residual,
        evaluations=9,
        error_estimate=math.nan,
        converged=converged,
        statistics={"gini": gini, "rounding": -0.125},
    )
    predictions, scores = {"original": 0, "jpeg-5": 1}, {"original": 0.5, "jpeg-5": 0.25}
    return Explanation(index, 1, predictions, scores, {"jpeg-5": view})


@pytest.fixture
def explanations():
    return [explanation(7, 0.75, 0.25, 0.5), explanation(3, -1.0, 0.0, math.nan, converged=False)]


def test_csv_has_the_columns_of_the_papers_tables(explanations):
    rows = list(csv.DictReader(StringIO(explanations_csv(explanations, NAMES))))
    assert rows[0] == {
        "index": "7",
        "label": "dog, big|small",
        "predicted/original": "cat",
        "predicted/jpeg-5": "dog, big|small",
        "score/original": "0.5",
        "score/jpeg-5": "0.25",
        "ig/jpeg-5": "0.75",
        "loss_difference/jpeg-5": "0.5",
        "residual/jpeg-5": "0.25",
        "evaluations/jpeg-5": "9",
        "error_estimate/jpeg-5": "",
        "converged/jpeg-5": "1",
        "luma_low/jpeg-5": "",
        "luma_mid/jpeg-5": "",
        "luma_high/jpeg-5": "",
        "chroma/jpeg-5": "",
        "subsampling/jpeg-5": "",
        "rounding/jpeg-5": "-0.125",
    }
    assert [row["index"] for row in rows] == ["7", "3"]


def test_markdown_rows_have_as_many_cells_as_the_header(explanations):
    lines = explanations_markdown(explanations, NAMES).splitlines()
    assert lines[0] == "| image | true class | view | predicted | score | IG (nats) | residual |"
    assert lines[2] == r"| 7 | dog, big\|small | original | ✗ cat | 0.5000 |  |  |"
    assert lines[3] == r"| 7 | dog, big\|small | jpeg-5 | ✓ dog, big\|small | 0.2500 | +0.7500 | 2.5e-01 |"
    assert {line.replace("\\|", "").count("|") for line in lines} == {8}


def test_names_from_strangers_are_inert(explanations):
    names = ("=cmd|' /C calc'!A0", "\x1b[31mred")
    (row, _) = csv.DictReader(StringIO(explanations_csv(explanations, names)))
    assert row["label"] == row["predicted/jpeg-5"] == "\\x1b[31mred"
    assert row["predicted/original"] == "'=cmd|' /C calc'!A0"
    page = explanations_markdown(explanations, names)
    assert "\x1b" not in page
    assert "| 7 | \\x1b[31mred | original | " in page


@pytest.fixture
def record(explanations):
    return AttributionRecord.of(explanations, "original", Trapezoid(4), First(2))


def test_the_record_leaves_undefined_statistics_out_of_means(record):
    view = record.views["jpeg-5"]
    assert view.mean["gini"] == 0.5
    assert view.mean["ig"] == -0.125
    assert math.isnan(view.mean["error_estimate"])
    assert view.not_converged == 1
    assert view.per_image["ig"] == [0.75, -1.0]
    assert record.indices == [7, 3]
    assert record.evaluations == 18
    assert record.residual == pytest.approx({"median": 0.125, "percentile_95": float(np.percentile([0.25, 0.0], 95))})
    assert record.rule == {"name": "Trapezoid", "n": 4}
    assert record.warning().startswith("1 of 2 maps hit the rule's cap")


def test_a_record_written_with_null_for_nan_is_read_back_whole(record):
    written = json.dumps(record.to_json()).replace("NaN", "null")
    again = AttributionRecord.from_json(json.loads(written))
    assert list(again.to_json()) == ["baseline", "rule", "selection", "residual", "evaluations", "indices", "views"]
    assert json.dumps(again.to_json()) == json.dumps(record.to_json())
