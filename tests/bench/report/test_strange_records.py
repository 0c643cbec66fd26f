"""Records that are read though nobody's run has written them: a report says which are not used, and has the others."""

import copy
import json
from dataclasses import replace

import pytest

from bench.runs.json_values import sealed
from tests.support import made_up
from tests.support.reports import Written

COUNTS = {"original": 90, "jpeg-75": 80}
SIZES = {"jpeg-75": 900}


def metric(name, value):
    def change(record):
        record["metrics"]["jpeg-75"][name] = value

    return change


def without_bytes(record):
    del record["metrics"]["jpeg-75"]["encoded_bytes"]


def without_median(record):
    record["attribution"]["views"]["jpeg-75"]["residual"] = {"percentile_95": 0.1}


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        (metric("mcnemar_p", 0.5), False),
        (metric("group", 0.5), False),
        (metric("view", 0.5), False),
        (metric("drop_points", 0.5), False),
        (metric("bits_per_pixel", 0.0), True),
        (metric("bits_per_pixel", -1.0), True),
        (metric("encoded_bytes", 0.0), True),
        (without_bytes, True),
        (without_median, False),
    ],
)
def test_a_strange_record_costs_no_other(tmp_path, change, refused):
    predictions = made_up.nested(COUNTS, 100)
    explained = {
        "baseline": "original",
        "indices": [0],
        "views": {
            "jpeg-75": {"mean": {"ig": 0.1}, "residual": {"median": 0.1, "percentile_95": 0.1}, "not_converged": 0}
        },
    }
    record = replace(made_up.run_record(predictions, sizes=SIZES), attribution=explained)
    made_up.write_run(tmp_path / "runs/ordinary", record, predictions, SIZES)
    strange = replace(made_up.run_record(predictions, encoder="RN101", sizes=SIZES), attribution=explained)
    content = copy.deepcopy(strange.to_json())
    change(content)
    made_up.write_run(tmp_path / "runs/strange", json.dumps(sealed(content)), predictions, SIZES)
    report = Written(tmp_path / "report", tmp_path / "runs")
    assert {row["encoder"] for row in report.rows("cells.csv")} == ({"RN50"} if refused else {"RN50", "RN101"})
    assert "nan" not in report.rows("cells.csv")[1]["mcnemar_p"]


@pytest.mark.parametrize("count", ["many", [1], -1])
def test_a_fit_that_trained_no_number_of_parameters_is_refused(tmp_path, count):
    record = made_up.fit_record()
    content = copy.deepcopy(record.to_json())
    content["method"]["trained_parameters"] = count
    (tmp_path / "fit").mkdir()
    (tmp_path / "fit/finetuning.json").write_text(json.dumps(sealed(content)))
    predictions = made_up.nested(COUNTS, 100)
    made_up.write_run(tmp_path / "run", made_up.run_record(predictions), predictions)
    report = Written(tmp_path / "report", tmp_path / "run", tmp_path / "fit")
    assert "trained_parameters" in report.screen
