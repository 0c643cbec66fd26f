"""Where the drop falls, against counting by hand."""

import numpy as np
import pytest

from bench.report.inputs import Choices
from bench.report.sections import classes
from tests.support import made_up
from tests.support.reports import frame, groups_of, tables, texts


def write(folder, predictions, encoder="RN50"):
    made_up.write_run(folder / encoder, made_up.run_record(predictions, encoder=encoder))


def test_recalls_and_confusions_are_those_of_the_predictions(tmp_path):
    predictions = {"original": np.arange(100) % 10, "jpeg-50": np.arange(100) % 10}
    predictions["jpeg-50"][[3, 13, 23, 45]] = [8, 8, 8, 0]  # three of class 3 become 8, one of class 5 becomes 0
    write(tmp_path, predictions)
    section = classes.section(groups_of(tmp_path)[0], Choices())
    recalls = {(row["view"], row["class"]): row["recall"] for row in frame(section, "classes.csv")}
    assert [recalls["jpeg-50", f"class {c}"] for c in range(10)] == pytest.approx([1, 1, 1, 0.7, 1, 0.9, 1, 1, 1, 1])
    assert texts(tables(section)["recall"]) == [
        ("RN50", "jpeg-50", "class 3", "0.7000", "30.00"),
        ("RN50", "jpeg-50", "class 5", "0.9000", "10.00"),
    ]
    pairs = [tuple(row.values()) for row in frame(section, "confusions.csv")]
    assert pairs == [
        ("RN50", "jpeg-50", "class 3", "class 8", 0, 3, 3),
        ("RN50", "jpeg-50", "class 5", "class 0", 0, 1, 1),
    ]


def test_a_class_without_images_has_no_recall(tmp_path):
    write(tmp_path, made_up.nested({"original": 5, "jpeg-50": 5}, 5))  # labels 0 to 4
    rows = frame(classes.section(groups_of(tmp_path)[0], Choices()), "classes.csv")
    recalls = [row["recall"] for row in rows if row["view"] == "original"]
    assert np.isnan(recalls).tolist() == [False] * 5 + [True] * 5


def test_the_figure_has_the_drop_of_each_class_and_leaves_out_what_was_not_measured(tmp_path):
    write(tmp_path, made_up.nested({"original": 90, "jpeg-50": 45}, 100))
    write(tmp_path, made_up.nested({"original": 90, "webp-50": 90}, 100), "RN101")
    (group,) = groups_of(tmp_path)
    place = group.degraded.index("jpeg-50")
    first, second = (classes.class_drops(group, entry) for entry in group.entries)
    assert first[:, place].tolist() == pytest.approx([40] * 5 + [50] * 5)  # 45 of 100 are right: 5 of classes 0 to 4
    assert np.isnan(first[:, 1 - place]).all()
    assert second[:, 1 - place].tolist() == pytest.approx([0] * 10)
    assert classes.section(groups_of(tmp_path)[0], Choices()).blocks[0].draw().axes


def test_originals_alone_have_no_such_section(tmp_path):
    write(tmp_path, made_up.nested({"original": 90}, 100))
    assert classes.section(groups_of(tmp_path)[0], Choices()) is None


def test_the_largest_of_many_drops_are_smaller_on_other_images():
    draws = np.random.default_rng(0)
    before, lost = draws.uniform(0.5, 0.9, 1000), 0.13  # every class loses the same
    measured, again = (draws.binomial(50, before) / 50 - draws.binomial(50, before - lost) / 50 for _ in range(2))
    largest = np.argsort(-measured)[:20]
    assert measured[largest].min() > 0.25
    assert again[largest].mean() == pytest.approx(lost, abs=0.05)
