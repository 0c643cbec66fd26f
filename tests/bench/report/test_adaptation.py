"""Adapted runs in reports: apart from all other results, held against the ordinary test of the same."""

import re

import numpy as np
import pytest

from bench.report.contents import compose
from bench.report.inputs import Choices, read_inputs
from bench.report.tables import Table
from bench.report.writer import to_markdown
from bench.runs.adaptation import AdaptationRecord
from tests.support import made_up
from tests.support.reports import Written

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


def composed(place):
    """A report that is not drawn: its groups, its rows by CSV file, and its text."""
    report, groups = compose("title", read_inputs([place]), Choices())
    rows = {block.data: block.frame.to_dict("records") for _, block in report.blocks if isinstance(block, Table)}
    return groups, rows, to_markdown(report)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Of an ordinary run and the same adapted in two shuffled orders and in that of the data."""
    place = tmp_path_factory.mktemp("adapted")
    write(place / "plain", PLAIN)
    write(place / "zero", {"original": 905, "jpeg-50": 840, "jpeg-25": 900}, adaptation())
    write(place / "one", {"original": 915, "jpeg-50": 860, "jpeg-25": 900}, adaptation(shuffle=1))
    write(place / "stored", {"original": 400, "jpeg-50": 300, "jpeg-25": 300}, adaptation(shuffle=None))
    return composed(place)


def test_gains_are_beyond_the_control_and_ranges_over_orders(report):
    _, tables, _ = report
    rows = {(row["adapted"].rpartition(", ")[2], row["view"]): row for row in tables["adapted.csv"]}
    shuffled = rows["shuffled", "jpeg-50"]
    expected = {"precision": 0.85, "least": 0.84, "greatest": 0.86, "before": 0.8, "gain_points": 5, "orders": 2}
    assert {name: shuffled[name] for name in expected} == pytest.approx(expected)
    assert shuffled["net_points"] == pytest.approx(5 - 1)  # originals gain one
    assert shuffled["net_share"] == pytest.approx(0.4)  # of ten points
    assert np.isnan(rows["shuffled", "jpeg-25"]["net_share"])  # a drop of one image is none
    assert np.isnan(rows["shuffled", "original"]["net_points"])
    losing = rows["in the order of the data", "jpeg-50"]
    assert losing["net_points"] == pytest.approx(-50)  # what the originals lose is no gain


def test_they_stand_apart_under_a_title_that_says_what_they_are(report):
    (group,), tables, text = report
    assert [entry.label for entry in group.entries] == ["RN50"]
    assert [row["label"] for row in tables["cells.csv"]] == ["RN50"] * 3
    before, _, after = text.partition("## Adapted while tested: results that depend on neighbours and order")
    assert "TENT" not in before
    apart, _, sources = after.partition("\n## ")
    assert "batches of 200, shuffled with seed 0, 1 process" in apart
    assert len(re.findall("adapted while tested", sources)) == 3
    assert "Adapted while tested, apart from these: 3." in before


def test_without_an_ordinary_test_they_are_shown_by_themselves(tmp_path):
    write(tmp_path / "runs/zero", PLAIN, adaptation())
    report = Written(tmp_path / "report", tmp_path / "runs")  # which has nothing to draw
    assert "No ordinary test of the same encoder on the same images is among these results" in report.markdown
    assert [row["before"] for row in report.rows("adapted.csv")] == [""] * 3


@pytest.mark.parametrize("damage", [3, {"method": "TENT"}, {**adaptation()["adaptation"], "batch_size": 0}])
def test_a_damaged_mark_is_no_ordinary_run(tmp_path, damage):
    write(tmp_path / "plain", PLAIN)
    bad = write(tmp_path / "bad", PLAIN, {"adaptation": damage})
    inputs = read_inputs([tmp_path])
    assert (len(inputs.runs), inputs.adapted) == (1, ())
    assert "model/adaptation" in inputs.unused[bad]
