import json

import pytest
import torch

from bench.outcomes import Outcomes
from bench.runs import locks
from bench.runs.folder import UNFINISHED
from bench.runs.journal import Journal
from datamodules.errors import UserError

SUBJECT = {"model": {"encoder": "a", "mean": (0.5, 0.25)}}  # a tuple comes back from JSON as a list
VIEWS = ("original", "resize-0.5+jpeg-50")


def outcomes(indices, labelled=True):
    index = torch.tensor(indices, dtype=torch.int64)
    logits = torch.randn(len(index), 3, generator=torch.Generator().manual_seed(int(index.sum())))
    labels = index % 3 if labelled else torch.full_like(index, -1)
    return {
        view: Outcomes.from_logits(logits * factor, labels, index, encoded_bytes=index)
        for factor, view in enumerate(VIEWS, 1)
    }


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for view, rows in expected.items():
        for name, column in vars(rows).items():
            torch.testing.assert_close(getattr(found[view], name), column, rtol=0, atol=0, equal_nan=True)


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "runs/version_0")
    journal.claim(SUBJECT)
    yield journal
    locks.release(journal.folder / "lock")


@pytest.mark.parametrize("labelled", [True, False])
def test_what_was_written_is_read_back_bit_for_bit_sorted_and_each_image_once(journal, labelled):
    journal.append(outcomes([4, 5], labelled))
    Journal(journal.run).append(outcomes([0, 2], labelled))  # another rank
    journal.append(outcomes([4, 5], labelled))
    found = Journal(journal.run).read()
    expected = {
        view: Outcomes.concatenate([outcomes([0, 2], labelled)[view], outcomes([4, 5], labelled)[view]])
        for view in VIEWS
    }
    assert_equal(found, expected)


def test_nothing_written_is_nothing_read(journal):
    assert journal.read() is None


def test_a_damaged_shard_costs_its_images_only(journal):
    journal.append(outcomes([1]))
    [whole] = journal.folder.glob("*.safetensors")
    (journal.folder / "other.safetensors").write_bytes(whole.read_bytes()[:-3])
    with pytest.warns(UserWarning, match="other.safetensors is damaged"):
        assert_equal(journal.read(), outcomes([1]))


def test_a_killed_run_of_the_same_is_found_and_no_other(journal, tmp_path):
    runs = tmp_path / "runs"
    locks.release(journal.folder / "lock")
    assert Journal.find(runs, {"model": "another"}) is None
    assert Journal.find(runs, SUBJECT).run == journal.run
    (journal.run / "results.json").write_text("{}")
    assert Journal.find(runs, SUBJECT) is None
    assert Journal.find(tmp_path / "nowhere", SUBJECT) is None


def test_a_run_that_only_software_keeps_from_being_taken_up_is_named(journal, tmp_path, caplog):
    locks.release(journal.folder / "lock")
    subject = {**SUBJECT, "software": {"packages": {"torch": "3"}, "git_commit": None}}
    assert Journal.find(tmp_path / "runs", subject) is None
    assert "begun with another packages.torch, git_commit" not in caplog.text  # which it did not have at all
    (journal.folder / "subject.json").write_text(json.dumps(subject))
    subject["software"] = {"packages": {"torch": "4"}, "git_commit": "a"}
    assert Journal.find(tmp_path / "runs", subject) is None
    assert "begun with another packages.torch, git_commit" in caplog.text


def test_a_damaged_subject_is_not_taken_up(journal, tmp_path):
    (journal.folder / "subject.json").write_text('{"model"')
    assert Journal.find(tmp_path / "runs", SUBJECT) is None


def test_closing_leaves_nothing(journal):
    journal.append(outcomes([1]))
    journal.close()
    assert list(journal.run.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("results.json", "{}", "holds the results of another run"),
        ("config.yaml", "", "holds the config.yaml of another run"),
        (f"{UNFINISHED}/subject.json", json.dumps({"model": "b"}), "an unfinished run with another model: finish it"),
    ],
)
def test_a_folder_of_another_run_is_refused_and_left_as_it_is(tmp_path, file, content, message):
    (tmp_path / UNFINISHED).mkdir()
    (tmp_path / file).write_text(content)
    with pytest.raises(UserError, match=message):
        Journal(tmp_path).claim(SUBJECT)
    assert (tmp_path / file).read_text() == content
    locks.release(tmp_path / UNFINISHED / "lock")
