"""Damaged journals and records: each is used as it was written, or not used with one line; never otherwise, never long.

The truth is what was written: an image that is read from a journal has to be equal to what went into it, bit for bit,
and so has a record. One of schema 1, which has no checksum, may differ in what nothing else in it speaks about, such as
a name or a mean; its counts have to agree with each other.
"""

import copy
import json
import os
import random
import struct
import time
import warnings
from collections import Counter

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save

from bench.outcomes import QUANTITIES, Outcomes
from bench.runs.files import FileError
from bench.runs.finetuning_record import FineTuningRecord
from bench.runs.journal import Journal
from bench.runs.json_values import sealed
from bench.runs.record import RunRecord
from tests.bench.runs.test_record import FIRST_SCHEMA, FIT
from tests.support import made_up

VIEWS = ["original", "jpeg-50"]
SUBJECT = {"data": {"views": VIEWS, "class_names": ["cat", "dog", "hen"], "images_in_split": 50}}
RECORD = made_up.run_record(made_up.nested({"original": 90, "jpeg-50": 70, "webp-5": 40}, 100), limit=100)
LONGEST_SECONDS = 20  # of one, on a machine that has much else to do
JUNK = [
    None, True, -1, 0, 1, 2**70, 10**400, -0.5, 0.905, 1e308, "", "\x00", "\ud800", "../..", "a" * 5000, "$\\bad{$", [],
    [[]], [None], {}, {"": ""}, "NaN", [0] * 10, [1e308] * 10, "\x1b[31m", "\u202e", [[0, 1, 0, 1]],
]  # fmt: skip


def outcomes(indices):
    index = torch.tensor(indices)
    logits = torch.randn(len(index), 3, generator=torch.Generator().manual_seed(int(index.sum())))
    return {view: Outcomes.from_logits(logits * factor, index % 3, index) for factor, view in enumerate(VIEWS, 1)}


def rows(found):
    """What was measured of each image, to the bit."""
    if not found:
        return {}
    columns = [getattr(found[view], quantity.name).numpy() for view in VIEWS for quantity in QUANTITIES]
    return {
        int(index): b"".join(column[place : place + 1].tobytes() for column in columns)
        for place, index in enumerate(found[VIEWS[0]].index.tolist())
    }


def damage_bytes(content, chance):
    data = bytearray(content)
    match chance.randrange(5):
        case 0:
            return bytes(data[: chance.randrange(len(data))])
        case 1:
            for _ in range(chance.randint(1, 20)):
                data[chance.randrange(len(data))] = chance.randrange(256)
        case 2:
            place = chance.randrange(len(data))
            data[place] ^= 1 << chance.randrange(8)
        case 3:
            start = chance.randrange(len(data))
            del data[start : start + chance.randint(1, 100)]
        case _:
            start = chance.randrange(len(data))
            data[start:start] = chance.randbytes(chance.randint(1, 100))
    return bytes(data)


def damage_columns(content, chance):
    """A shard that is well made, with columns that are not as they were."""
    (length,) = struct.unpack("<Q", content[:8])
    about = json.loads(content[8 : 8 + length])["__metadata__"]
    columns = {name: column.copy() for name, column in load(content).items()}
    name = chance.choice(sorted(columns))
    match chance.randrange(6):
        case 0:
            del columns[name]
        case 1:
            with np.errstate(all="ignore"):
                columns[name] = columns[name].astype(chance.choice(["int64", "float64", "uint8", "bool", "float16"]))
        case 2:
            column = columns[name]
            place = chance.randrange(len(column))
            column[place] = 2 if column[place] != 2 else 1
        case 3:
            columns[name] = columns[name][: chance.randrange(len(columns[name]))]
        case 4:
            columns[name + "x"] = columns[name]
        case _:
            about[chance.choice(sorted(about))] = chance.choice(["", "0", "\x00", "ü"])
    return save(columns, about)


def damage_journal(folder, chance):
    """Do something to one file of a journal; what it was."""
    file = chance.choice(sorted(folder.iterdir()))
    kind = chance.choice(["bytes", "bytes", "columns", "columns", "place", "junk", "copy"])
    if kind == "columns" and file.suffix != ".safetensors":
        kind = "bytes"
    content = file.read_bytes()
    if kind == "bytes" and content:
        file.write_bytes(damage_bytes(content, chance))
    elif kind == "columns":
        file.write_bytes(damage_columns(content, chance))
    elif kind == "copy":
        (folder / "copy.safetensors").write_bytes(content)
    elif kind == "place":
        file.unlink()
        match chance.randrange(4):
            case 0:
                file.mkdir()
            case 1:
                os.mkfifo(file)
            case 2:
                file.symlink_to("/dev/zero")
            case _:
                file.symlink_to("nowhere")
    else:
        file.write_bytes(chance.choice([b"", b"[" * 100_000, b"\x00" * 100_000, b"{}", b"null", b"\xff" * 9]))
    return kind


@pytest.fixture
def fuzz_journals(tmp_path):
    def fuzz_journals(number, seed):
        chance, tally = random.Random(seed), Counter()
        for turn in range(number):
            journal = Journal(tmp_path / str(turn))
            journal.folder.mkdir()
            assert journal.acquire()
            journal.begin(SUBJECT)
            parts = [outcomes(range(start, start + chance.randint(1, 9))) for start in (0, 10, 20)]
            for part in parts:
                Journal(journal.folder).append(part)
            journal.close(forget=False)
            truth = {index: row for part in parts for index, row in rows(part).items()}
            kind = damage_journal(journal.folder, chance)
            started, line = time.monotonic(), ""
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                again, found, refused = Journal(journal.folder), {}, False
                try:
                    again.acquire()
                    if again.subject() == SUBJECT:  # else the run is not taken up, or refused, by `RunFolder`
                        found = rows(again.read())
                    else:
                        refused = True
                except FileError as error:
                    line, refused = str(error), True
            again.close()
            assert "\n" not in line
            assert time.monotonic() - started < LONGEST_SECONDS, kind
            assert found.items() <= truth.items(), kind
            assert refused or said or len(found) == len(truth), kind
            whole = "whole" if len(found) == len(truth) else "partly used, with a warning"
            tally["refused" if refused else whole] += 1
        return tally

    return fuzz_journals


def test_damaged_journals_give_what_was_measured_or_nothing(fuzz_journals):
    assert sum(fuzz_journals(40, seed=1).values()) == 40


@pytest.mark.slow
def test_500_damaged_journals(fuzz_journals, capsys):
    tally = fuzz_journals(600, seed=2)
    with capsys.disabled():
        print(f"\n600 damaged journals: {dict(tally)}; 0 tracebacks, 0 hangs, 0 wrong rows")


def ways(value, way=()):
    """Where anything is in nested mappings and lists."""
    if way:
        yield way
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from ways(inner, (*way, key))


def damage_json(text, chance):
    if chance.random() < 0.3:
        return damage_bytes(text.encode(), chance)
    content = json.loads(text)
    for _ in range(chance.randint(1, 2)):
        way = chance.choice(list(ways(content)))
        parent = content
        for key in way[:-1]:
            parent = parent[key]
        old = parent[way[-1]]
        kind = chance.choice(["junk", "junk", "near", "near", "remove", "rename", "deep"])
        if kind == "remove":
            del parent[way[-1]]
        elif kind == "rename" and isinstance(parent, dict):
            parent[chance.choice(["bogus", "", "original", "images"])] = parent.pop(way[-1])
        elif kind == "deep":
            parent[way[-1]] = None
            return json.dumps(content).replace("null", "[" * 5000 + "]" * 5000).encode()
        elif kind == "near" and type(old) in (int, float) and abs(old) < 1e300:
            parent[way[-1]] = chance.choice([old + 1, old - 1, old * 2, -old, float(old), old + 0.01])
        else:
            parent[way[-1]] = copy.deepcopy(chance.choice(JUNK))
        if not content:
            break
    return json.dumps(content).encode()


def consistent(record):
    """Whether every result follows from the counts, worked out here once more."""
    original = record.views["original"]
    for view in record.views.values():
        if view.classes is None:
            continue
        right, n = sum(view.classes.correct), record.images
        expected = {
            "precision": right / n,
            "drop": (view.broken - view.repaired) / n,
            "flip_rate": view.flipped / n,
            "broken": view.broken / n,
            "repaired": view.repaired / n,
        }
        assert sum(record.class_images) == sum(view.classes.predicted) == n
        assert original.correct - view.broken + view.repaired == right
        for name, value in expected.items():
            assert view.metrics.get(name, value) == pytest.approx(value, abs=1e-6)
    return True


@pytest.fixture
def fuzz_records(tmp_path):
    def fuzz_records(number, seed):
        chance, tally = random.Random(seed), Counter()
        texts = [
            (RunRecord, json.dumps(sealed(RECORD.to_json())), RECORD),
            (RunRecord, FIRST_SCHEMA, None),
            (FineTuningRecord, json.dumps(sealed(FIT.to_json())), FIT),
        ]
        for _ in range(number):
            kind, text, truth = chance.choice(texts)
            file = tmp_path / "record.json"
            file.write_bytes(damage_json(text, chance))
            started, line = time.monotonic(), ""
            try:
                found = kind.read(file)
            except FileError as error:
                line = str(error)
                tally["refused"] += 1
            else:
                tally["read as it was" if truth else "of schema 1, read with counts that agree"] += 1
                assert found == truth if truth else consistent(found)
                found.write(tmp_path)  # what is read can be written, and read again
                assert kind.read(tmp_path) == found
            assert "\n" not in line
            assert len(line) < 700
            assert time.monotonic() - started < LONGEST_SECONDS
        return tally

    return fuzz_records


def test_damaged_records_are_refused_in_one_line_or_consistent(fuzz_records):
    tally = fuzz_records(150, seed=1)
    assert tally["refused"] > 50
    assert tally.total() == 150


@pytest.mark.slow
def test_1000_damaged_records(fuzz_records, capsys):
    tally = fuzz_records(1000, seed=2)
    with capsys.disabled():
        print(f"\n1000 damaged records: {dict(tally)}; 0 tracebacks, 0 hangs, 0 wrong")
