"""Which files are read, and what is said about the others."""

import json
import os
import re

import pytest

from bench.report.command import main
from bench.report.inputs import read_inputs
from datamodules.errors import UserError
from tests.support import made_up

RECORD = made_up.run_record(made_up.nested({"original": 90, "jpeg-50": 70}, 100))


def changed(*keys, value):
    """A record of which one entry is another."""
    content = json.loads(json.dumps(RECORD.to_json()))
    part = content
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    return json.dumps(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no JSON, or cut off"),
        ("[1, 2]", "list instead of a mapping"),
        ("[" * 100_000, "nested too deep"),
        (changed("images", value=0), "nothing was measured"),
        (changed("metrics", "jpeg-50", "precision", value=1e308), "out of range"),
        (changed("counts", "jpeg-50", "broken", value=19), "contradict|counts say"),
        (changed("classes", value=None), "no precision: the images have no labels|without labels"),
        (changed("software", value={"codecs": {"JPEG": 3}}), "instead of a text"),
        (changed("software", value=3), "instead of a mapping"),
        (changed("data", "class_names", value=["\udc80"] * 10), "no UTF-8"),
        (changed("data", "name", value="x" * 300), "characters"),
        (changed("metrics", value={"original": {}, "$\\bad{$": {}}), "no name of a view|precision"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_in_one_line_and_the_rest_goes_on(tmp_path, content, reason):
    made_up.write_run(tmp_path / "good", RECORD)
    bad = made_up.write_run(tmp_path / "bad", content)
    inputs = read_inputs([tmp_path])
    assert len(inputs.runs) == 1
    assert list(inputs.unused) == [bad]
    assert "\n" not in inputs.unused[bad]
    assert re.search(reason, inputs.unused[bad])


def test_results_that_are_no_files_are_named(tmp_path):
    made_up.write_run(tmp_path / "good", RECORD)
    for name, make in {
        "folder": os.mkdir,
        "link": lambda path: os.symlink("/dev/zero", path),
        "pipe": os.mkfifo,
    }.items():
        (tmp_path / name).mkdir()
        make(tmp_path / name / "results.json")
    inputs = read_inputs([tmp_path])
    assert len(inputs.runs) == 1
    assert {path.parent.name: "not a regular file" in reason for path, reason in inputs.unused.items()} == {
        "folder": True,
        "link": True,
        "pipe": True,
    }


def test_an_unfinished_run_and_a_damaged_fit_are_named(tmp_path):
    made_up.write_run(tmp_path / "good", RECORD)
    for name, file in {"cut": "config.yaml", "fit": "finetuning.json"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text("{}")
    unused = {path.parent.name: reason for path, reason in read_inputs([tmp_path]).unused.items()}
    assert unused.keys() == {"cut", "fit"}
    assert unused["cut"].startswith("no results.json: the run has not finished")
    assert "schema is missing" in unused["fit"]


def test_a_run_named_twice_is_read_once(tmp_path):
    path = made_up.write_run(tmp_path / "run", RECORD)
    assert len(read_inputs([tmp_path, path, path.parent]).runs) == 1


@pytest.mark.parametrize("content", [None, "[]"])
def test_nothing_readable_is_the_users_mistake_in_one_line(tmp_path, content):
    if content is not None:
        made_up.write_run(tmp_path / "runs", content)
    with pytest.raises(UserError, match=r"no readable results\.json in the folders given") as error:
        main([str(tmp_path), "--output", str(tmp_path / "report")])
    assert "\n" not in str(error.value)
    assert not (tmp_path / "report").exists()


def test_a_place_that_does_not_exist_is_the_users_mistake():
    with pytest.raises(UserError, match="'nowhere' does not exist: name folders"):
        main(["nowhere"])


@pytest.mark.parametrize("args", [[], ["runs", "--against"], ["runs", "--colour", "red"]])
def test_a_wrong_command_line_is_one_line_and_status_2(args, capsys):
    with pytest.raises(SystemExit) as stop:
        main(args)
    assert stop.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    "args",
    [
        ["--against", "paper", "openclip", "RUNS"],
        ["RUNS", "--against", "paper", "--title", "a title", "--against=openclip"],
    ],
)
def test_several_sources_may_be_named_before_and_after_the_runs(tmp_path, capsys, args):
    made_up.write_run(tmp_path / "run", RECORD)
    main([*(str(tmp_path) if word == "RUNS" else word for word in args), "--output", str(tmp_path / "report")])
    titles = re.findall("^### (Against .*)$", (tmp_path / "report" / "report.md").read_text(), re.MULTILINE)
    assert titles == ["Against the paper", "Against open\\_clip's results"]


@pytest.mark.parametrize("args", [["RUNS", "--against", "papr"], ["--against", "papr", "RUNS"],
                                  ["--against", "openclip", "papr", "RUNS"]])  # fmt: skip
def test_a_misspelt_source_is_answered_with_the_likely_one(tmp_path, args):
    made_up.write_run(tmp_path / "run", RECORD)
    with pytest.raises(
        UserError, match=r"^'papr' is no source of published figures: did you mean paper\?; choose from "
    ):
        main([str(tmp_path) if word == "RUNS" else word for word in args])
