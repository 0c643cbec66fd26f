"""What survives a kill, and what of it is believed."""

import json
import os
import struct
from dataclasses import replace

import pytest
import torch
from safetensors.numpy import load, save

from bench.metrics import measure
from bench.outcomes import QUANTITIES, Outcomes
from bench.runs.files import FileError
from bench.runs.journal import Journal

SUBJECT = {
    "model": {"encoder": "a", "mean": (0.5, 0.25)},  # a tuple comes back from JSON as a list
    "data": {"views": ["original", "resize-0.5+jpeg-50"], "class_names": ["cat", "dog", "hen"], "images_in_split": 9},
}
VIEWS = SUBJECT["data"]["views"]


def outcomes(indices, labelled=True):
    index = torch.tensor(indices, dtype=torch.int64)
    logits = torch.randn(len(index), 3, generator=torch.Generator().manual_seed(int(index.sum())))
    labels = index % 3 if labelled else torch.full_like(index, -1)
    return {view: Outcomes.from_logits(logits * factor, labels, index) for factor, view in enumerate(VIEWS, 1)}


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for view, rows in expected.items():
        for name, column in rows.columns().items():
            torch.testing.assert_close(getattr(found[view], name), column, rtol=0, atol=0, equal_nan=True)


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "unfinished")
    journal.folder.mkdir()
    assert journal.acquire()
    journal.begin(SUBJECT)
    yield journal
    journal.close()


@pytest.mark.parametrize("labelled", [True, False])
def test_what_was_written_is_read_back_bit_for_bit_sorted_and_each_image_once(journal, labelled):
    journal.append(outcomes([4, 5], labelled))
    Journal(journal.folder).append(outcomes([0, 2], labelled))  # another rank
    journal.append(outcomes([4, 5], labelled))
    found = Journal(journal.folder).read()
    expected = {
        view: Outcomes.concatenate([outcomes([0, 2], labelled)[view], outcomes([4, 5], labelled)[view]])
        for view in VIEWS
    }
    assert_equal(found, expected)


def test_times_of_several_ranks_and_of_a_run_before_count_alike(journal):
    def timed(indices):
        return {
            view: replace(rows, encode_ms=10.0**rows.index, decode_ms=1.0 + rows.index)
            for view, rows in outcomes(indices).items()
        }

    journal.append(timed([5, 1]))
    Journal(journal.folder).append(timed([3]))  # another rank
    for view, found in measure(Journal(journal.folder).read(), 3, labelled=True).items():
        assert (found.metrics["encode_ms"], found.metrics["decode_ms"]) == (1000, 4), view


def test_nothing_written_is_nothing_read(journal):
    assert journal.read() is None


def test_closing_leaves_nothing(journal):
    journal.append(outcomes([1]))
    journal.close()
    assert not journal.folder.exists()


def other_metadata(content, **changes):
    """A shard with another header, and the same columns."""
    (length,) = struct.unpack("<Q", content[:8])
    return save(load(content), json.loads(content[8 : 8 + length])["__metadata__"] | changes)


def other_columns(content, change):
    """A shard whose columns were changed, and whose checksum was not."""
    (length,) = struct.unpack("<Q", content[:8])
    columns = {name: column.copy() for name, column in load(content).items()}
    change(columns)
    return save(columns, json.loads(content[8 : 8 + length])["__metadata__"])


def flipped(content):
    return content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]


def without(name):
    return lambda content: other_columns(content, lambda columns: columns.pop(name))


def with_other_value(name):
    def change(columns):
        columns[name][0] = (columns[name][0] + 1) % 3

    return lambda content: other_columns(content, change)


def with_type(name, dtype):
    def change(columns):
        columns[name] = columns[name].astype(dtype)

    return lambda content: other_columns(content, change)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: content[:-3], "it is damaged"),
        (lambda content: b"", "it is damaged"),
        (lambda content: content[:4], "it is damaged"),
        (lambda content: struct.pack("<Q", 2**60) + content[8:], "it is damaged"),
        (lambda content: content * 200, "at most [0-9,]+ are read"),
        (flipped, "its checksum differs"),
        (with_other_value("original/prediction"), "its checksum differs"),
        (with_other_value("original/label"), "its checksum differs"),
        (with_other_value("original/index"), "its checksum differs"),
        (with_type("original/label", "int64"), "its checksum differs"),
        (with_type("original/loss", "float16"), "its checksum differs"),
        (without("original/loss"), "other columns"),
        (without("resize-0.5+jpeg-50/index"), "other columns"),
        (lambda content: other_metadata(content, subject="0"), "it belongs to another run"),
        (lambda content: other_metadata(content, sha256="0"), "its checksum differs"),
        (lambda content: save(load(content)), "it is damaged"),
    ],
)  # fmt: skip
def test_a_shard_that_is_not_as_it_was_written_costs_its_images_only(journal, damage, reason):
    journal.append(outcomes([1]))
    [whole] = journal.folder.glob("*.safetensors")
    Journal(journal.folder).append(outcomes([2]))
    [other] = set(journal.folder.glob("*.safetensors")) - {whole}
    other.write_bytes(damage(other.read_bytes()))
    with pytest.warns(UserWarning, match=f"{other.name} is not used .*{reason}.*: its images are classified again"):
        assert_equal(Journal(journal.folder).read(), outcomes([1]))


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("index", [9, 1], "images that the data have not"),
        ("index", [-1, 1], "images that the data have not"),
        ("label", [3, 0], "original/label is out of range"),
        ("prediction", [0, 3], "prediction is out of range"),
        ("runner_up", [-2, 1], "runner_up is out of range"),
        ("rank", [0, 3], "rank is out of range"),
        ("rank", [0], "rank has another type or length"),
    ],
)
def test_a_shard_with_a_right_checksum_and_impossible_values_is_not_used(journal, name, value, reason):
    made = outcomes([1, 2])
    for rows in made.values() if name in ("index", "label") else [made[VIEWS[0]]]:
        setattr(rows, name, torch.tensor(value, dtype=torch.int32))
    journal.append(made)
    with pytest.warns(UserWarning, match=reason):
        assert Journal(journal.folder).read() is None


def test_views_of_a_shard_have_the_same_images(journal):
    made = outcomes([1, 2])
    made[VIEWS[1]].index = torch.tensor([2, 1], dtype=torch.int32)
    journal.append(made)
    with pytest.warns(UserWarning, match="index is not that of original"):
        assert Journal(journal.folder).read() is None


@pytest.mark.parametrize("what", ["folder", "pipe", "device", "nothing", "another shard"])
def test_a_shard_that_is_no_regular_file_is_not_opened(journal, tmp_path, what):
    journal.append(outcomes([1]))
    [whole] = journal.folder.glob("*.safetensors")
    odd = journal.folder / "odd.safetensors"
    if what == "folder":
        odd.mkdir()
    elif what == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to({"device": "/dev/zero", "nothing": "nowhere", "another shard": whole}[what])
    with pytest.warns(UserWarning, match="odd.safetensors is not used .it is not a regular file"):
        assert_equal(Journal(journal.folder).read(), outcomes([1]))
    assert whole.exists()


def test_a_journal_of_another_subject_has_nothing_to_say(journal):
    journal.append(outcomes([1]))
    content = json.loads(journal.subject_file.read_text())
    journal.subject_file.write_text(json.dumps({**content, "model": {"encoder": "b"}}))
    with pytest.warns(UserWarning, match="belongs to another run"):
        assert Journal(journal.folder).read() is None


@pytest.mark.parametrize("content", ["", '{"model"', "[" * 100_000, "null", '"\\ud800"', "pipe", "link", "folder"])
def test_a_damaged_subject_is_none(journal, content):
    journal.subject_file.unlink()
    if content == "pipe":
        os.mkfifo(journal.subject_file)
    elif content == "folder":
        journal.subject_file.mkdir()
    elif content == "link":
        journal.subject_file.symlink_to("/dev/zero")
    else:
        journal.subject_file.write_text(content)
    assert journal.subject() is None


def test_every_quantity_is_kept(journal):
    journal.append(outcomes([1]))
    [shard] = journal.folder.glob("*.safetensors")
    columns = load(shard.read_bytes())
    assert {name: column.dtype.name for name, column in columns.items()} == {
        f"{view}/{quantity.name}": quantity.dtype for view in VIEWS for quantity in QUANTITIES
    }


@pytest.mark.parametrize("what", ["folder", "pipe", "link to nothing", "link to a file"])
def test_a_lock_that_is_no_regular_file_is_refused(tmp_path, what):
    journal = Journal(tmp_path)
    if what == "folder":
        journal.lock.mkdir()
    elif what == "pipe":
        os.mkfifo(journal.lock)
    else:
        journal.lock.symlink_to(tmp_path / "elsewhere")
    if what == "link to a file":
        (tmp_path / "elsewhere").write_text("precious")
    assert not journal.is_at_work()
    with pytest.raises(FileError, match="not a regular file: delete it"):
        journal.acquire()
    assert (tmp_path / "elsewhere").exists() == (what == "link to a file")
