"""Who may have a run's folder."""

import json
import os

import pytest

from bench.runs.folder import RunFolder, find_fits, find_runs, find_unfinished
from datamodules.errors import UserError

SUBJECT = {"model": {"encoder": "a", "mean": (0.5, 0.25)}}  # a tuple comes back from JSON as a list


@pytest.fixture
def begun(tmp_path):
    """A folder that has been claimed."""
    folder = RunFolder(tmp_path / "runs/version_0")
    folder.claim(SUBJECT)
    yield folder
    folder.journal.close()


@pytest.fixture
def killed(begun):
    """A folder that nobody is at work in any more."""
    begun.journal.close(forget=False)
    return begun


def test_a_killed_run_of_the_same_is_found_and_no_other(killed, tmp_path):
    runs = tmp_path / "runs"
    assert find_unfinished(runs, {"model": "another"}) is None
    assert find_unfinished(runs, SUBJECT) == killed
    killed.results.write_text("{}")
    assert find_unfinished(runs, SUBJECT) is None
    assert find_unfinished(tmp_path / "nowhere", SUBJECT) is None


def test_a_run_that_only_software_keeps_from_being_taken_up_is_named(killed, tmp_path, caplog):
    subject = {**SUBJECT, "software": {"packages": {"torch": "3"}, "git_commit": None}}
    assert find_unfinished(tmp_path / "runs", subject) is None
    assert "begun with another" not in caplog.text  # which it did not have at all
    killed.journal.subject_file.write_text(json.dumps(subject))
    subject["software"] = {"packages": {"torch": "4"}, "git_commit": "a"}
    assert find_unfinished(tmp_path / "runs", subject) is None
    assert "begun with another packages.torch, git_commit" in caplog.text


@pytest.mark.parametrize("damage", ["subject", "lock", "link"])
def test_a_damaged_run_is_not_taken_up(killed, tmp_path, damage):
    if damage == "subject":
        killed.journal.subject_file.write_text('{"model"')
    elif damage == "lock":
        killed.journal.lock.unlink()
        os.mkfifo(killed.journal.lock)
    else:
        killed.unfinished.rename(tmp_path / "elsewhere")
        killed.unfinished.symlink_to(tmp_path / "elsewhere")
    assert find_unfinished(tmp_path / "runs", SUBJECT) is None


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("results.json", "{}", "holds the results of another run"),
        ("config.yaml", "", "holds the config.yaml of another run"),
        ("unfinished/subject.json", json.dumps({"model": "b"}), "an unfinished run with another model: finish it"),
        ("unfinished/subject.json", "[" * 100_000, "an unfinished run with another subject: finish it"),
        ("unfinished", "", "is no folder: delete it"),
    ],
)
def test_a_folder_of_another_run_is_refused_and_left_as_it_is(tmp_path, file, content, message):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(content)
    folder = RunFolder(tmp_path)
    with pytest.raises(UserError, match=message):
        folder.claim(SUBJECT)
    assert (tmp_path / file).read_text() == content
    folder.journal.close(forget=False)


@pytest.mark.parametrize("file", ["results.json", "unfinished", "unfinished/lock"])
def test_a_folder_with_a_link_in_the_place_of_a_file_is_refused(tmp_path, file):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError):
        RunFolder(tmp_path).claim(SUBJECT)
    assert not (tmp_path / "elsewhere").exists()


def test_runs_and_fits_are_found_below_a_folder(tmp_path):
    for name in ("done/results.json", "begun/config.yaml", "fit/config.yaml", "fit/finetuning.json", "other/table.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert [folder.path.name for folder in find_runs(tmp_path)] == ["begun", "done"]
    assert [folder.path.name for folder in find_fits(tmp_path)] == ["fit"]
