"""Which result files are read, and what is said about the others."""

import json
import re

import numpy as np
import pytest

from bench.report.command import main
from bench.report.runs import read_run, read_runs
from datamodules.errors import UserError
from tests.support import made_up

PREDICTIONS = made_up.nested({"original": 90, "jpeg-50": 70}, 100)


def test_counts_and_confusions_are_those_of_the_predictions(tmp_path):
    predictions = {"original": np.arange(100) % 10, "jpeg-50": np.arange(100) % 10}
    predictions["jpeg-50"][[3, 13, 23, 45]] = [8, 8, 8, 0]  # three of class 3 become 8, one of class 5 becomes 0
    run = read_run(made_up.write(tmp_path / "run", made_up.record(predictions)))
    view = run.views["jpeg-50"]
    assert (view.correct, view.broken, view.repaired, view.flipped) == (96, 4, 0, 4)
    assert view.recall == pytest.approx([1, 1, 1, 0.7, 1, 0.9, 1, 1, 1, 1])
    assert [vars(one) for one in view.confusions] == [
        {"true": 3, "predicted": 8, "before": 0, "after": 3},
        {"true": 5, "predicted": 0, "before": 0, "after": 1},
    ]
    assert run.views["original"].confusions == ()


def test_class_without_images_has_no_recall(tmp_path):
    predictions = made_up.nested({"original": 5, "jpeg-50": 5}, 5)  # labels 0 to 4
    recall = read_run(made_up.write(tmp_path / "run", made_up.record(predictions))).views["original"].recall
    assert np.isnan(recall).tolist() == [False] * 5 + [True] * 5


def changed(*keys, value):
    """A record of which one entry is another."""
    content = json.loads(json.dumps(made_up.record(PREDICTIONS)))
    part = content
    for key in keys[:-1]:
        part = part[key]
    if value is None:
        del part[keys[-1]]
    else:
        part[keys[-1]] = value
    return content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no JSON, or cut off"),
        (json.dumps(made_up.record(PREDICTIONS))[:500], "no JSON, or cut off"),
        ("[1, 2]", "schema is missing"),
        ("[" * 100_000, "recursion"),
        ({"accuracy": 0.5}, "schema is missing"),
        (changed("schema", value=2), "counts is missing"),
        (changed("images", value=0), "nothing was measured"),
        (changed("images", value=99), "not a whole number of 99 images|99 images"),
        (changed("metrics", value=None), "metrics is missing"),
        (changed("metrics", "original", value=None), "metrics/original is missing"),
        (changed("metrics", "original", "precision", value=None), "no precision: the images have no labels"),
        (changed("metrics", "jpeg-50", "broken", value=None), "metrics/jpeg-50/broken is missing"),
        (changed("metrics", "jpeg-50", "broken", value=0.123), "broken: 0.123 is not a whole number of 100"),
        (changed("metrics", "jpeg-50", "broken", value=0.5), "50 broken and 0 repaired contradict"),
        (changed("metrics", "jpeg-50", "confusion", value=[[1]]), "has shape"),
        (changed("metrics", "jpeg-50", "confusion", value="?"), "no matrix of counts|has shape"),
        (changed("data", "class_names", value="cats"), "class_names is str instead of list"),
        (changed("data", "class_names", value=[1]), "no list of names"),
        (changed("model", "encoder", value=None), "model/encoder is missing"),
        (changed("software", value=3), "software is int instead of dict"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_in_one_line_and_the_rest_goes_on(tmp_path, content, reason):
    made_up.write(tmp_path / "good", made_up.record(PREDICTIONS))
    bad = made_up.write(tmp_path / "bad", content)
    runs, left_out = read_runs([tmp_path])
    assert len(runs) == 1
    assert [one.path for one in left_out] == [bad]
    assert "\n" not in left_out[0].reason
    assert re.search(reason, left_out[0].reason)


def test_an_unfinished_run_is_named(tmp_path):
    made_up.write(tmp_path / "good", made_up.record(PREDICTIONS))
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "config.yaml").write_text("model: {}\n")
    _, left_out = read_runs([tmp_path])
    assert [(one.path.parent.name, one.reason[:30]) for one in left_out] == [("cut", "no results.json: the run has n")]


def test_a_run_named_twice_is_read_once(tmp_path):
    path = made_up.write(tmp_path / "run", made_up.record(PREDICTIONS))
    runs, _ = read_runs([tmp_path, path, path.parent])
    assert len(runs) == 1


@pytest.mark.parametrize("content", [None, "[]"])
def test_nothing_readable_is_the_users_mistake_in_one_line(tmp_path, content):
    if content is not None:
        made_up.write(tmp_path / "runs", content)
    with pytest.raises(UserError, match=r"no readable results\.json in the folders given") as error:
        main([str(tmp_path), "--output", str(tmp_path / "report")])
    assert "\n" not in str(error.value)
    assert not (tmp_path / "report").exists()


def test_a_place_that_does_not_exist_is_the_users_mistake():
    with pytest.raises(UserError, match="'nowhere' does not exist: name folders"):
        main(["nowhere"])


@pytest.mark.parametrize("args", [[], ["runs", "--against", "everyone"], ["runs", "--colour", "red"]])
def test_a_wrong_command_line_is_one_line_and_status_2(args, capsys):
    with pytest.raises(SystemExit) as stop:
        main(args)
    assert stop.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
