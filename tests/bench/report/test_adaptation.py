"""Adapted runs in reports: apart from all other results, held against the ordinary test of the same."""

import re

import pytest

from bench.report.inputs import read_inputs
from bench.runs.adaptation import AdaptationRecord
from tests.support import made_up
from tests.support.reports import Written, groups_of

N = 1000
PLAIN = {"original": 900, "jpeg-50": 800, "jpeg-25": 899}


def adaptation(**changes):
    settings = {
        "method": "TENT", "optimiser": "adam", "learning_rate": 0.001, "reset": "never", "statistics": "batch",
        "trained_parameters": 64, "batch_size": 200, "shuffle": 0, "processes": 1,
    }  # fmt: skip
    return {"adaptation": AdaptationRecord(**{**settings, **changes}).to_json()}


def write(folder, counts, model=None):
    predictions = made_up.nested(counts, N)
    return made_up.write_run(folder, made_up.run_record(predictions, model=model), predictions)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Of an ordinary run and the same adapted in two shuffled orders and in that of the data."""
    tmp_path = tmp_path_factory.mktemp("adapted")
    write(tmp_path / "runs/plain", PLAIN)
    write(tmp_path / "runs/zero", {"original": 905, "jpeg-50": 840, "jpeg-25": 900}, adaptation())
    write(tmp_path / "runs/one", {"original": 915, "jpeg-50": 860, "jpeg-25": 900}, adaptation(shuffle=1))
    write(tmp_path / "runs/stored", {"original": 400, "jpeg-50": 300, "jpeg-25": 300}, adaptation(shuffle=None))
    assert len(groups_of(tmp_path / "runs")) == 1
    return Written(tmp_path / "report", tmp_path / "runs")


def test_gains_are_beyond_the_control_and_ranges_over_orders(report):
    rows = {(row["adapted"].rpartition(", ")[2], row["view"]): row for row in report.rows("adapted.csv")}
    shuffled = rows["shuffled", "jpeg-50"]
    values = {name: float(shuffled[name]) for name in ("precision", "least", "greatest", "before", "orders")}
    assert values == pytest.approx({"precision": 0.85, "least": 0.84, "greatest": 0.86, "before": 0.8, "orders": 2})
    assert float(shuffled["gain_points"]) == pytest.approx(5)
    assert float(shuffled["net_points"]) == pytest.approx(5 - 1)  # originals gain one
    assert float(shuffled["net_share"]) == pytest.approx(0.4)  # of ten points
    assert rows["shuffled", "jpeg-25"]["net_share"] == ""  # a drop of one image is none
    assert rows["shuffled", "original"]["net_points"] == ""
    assert float(rows["in the order of the data", "jpeg-50"]["net_points"]) == pytest.approx(
        -50
    )  # what originals lose is no gain


def test_they_stand_apart_under_a_title_that_says_what_they_are(report):
    assert [row["label"] for row in report.rows("cells.csv")] == ["RN50"] * 3
    before, _, after = report.markdown.partition("## Adapted while tested: results that depend on neighbours and order")
    assert "TENT" not in before
    apart, _, sources = after.partition("\n## ")
    assert "batches of 200, shuffled with seed 0, 1 process" in apart
    assert len(re.findall("adapted while tested", sources)) == 3
    assert "Adapted while tested, apart from these: 3." in before


def test_without_an_ordinary_test_they_are_shown_by_themselves(tmp_path):
    write(tmp_path / "runs/zero", PLAIN, adaptation())
    report = Written(tmp_path / "report", tmp_path / "runs")
    assert "No ordinary test of the same encoder on the same images is among these results" in report.markdown
    assert [row["before"] for row in report.rows("adapted.csv")] == [""] * 3


@pytest.mark.parametrize("damage", [3, {"method": "TENT"}, {**adaptation()["adaptation"], "batch_size": 0}])
def test_a_damaged_mark_is_no_ordinary_run(tmp_path, damage):
    write(tmp_path / "plain", PLAIN)
    bad = write(tmp_path / "bad", PLAIN, {"adaptation": damage})
    inputs = read_inputs([tmp_path])
    assert (len(inputs.runs), inputs.adapted) == (1, ())
    assert "model/adaptation" in inputs.unused[bad]
