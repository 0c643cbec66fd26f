"""The search on made-up images, whose bytes and distortion are formulas."""

import json
import math
from functools import partial

import numpy as np
import pytest

from bench.tables.journal import TablesJournal
from bench.tables.measuring import Measured
from bench.tables.search import POPULATION, Workplace, search, trials
from bench.tables.shapes import COARSEST, Kind, power_law, shaped, within_bytes
from datamodules.errors import UserError

SENSITIVITY = np.concatenate([np.geomspace(4.0, 0.01, 64), np.geomspace(3.0, 0.01, 64)])
WEIGHTS = SENSITIVITY * np.exp(3 * (np.arange(128) % 8) / 7)  # no power of it


class MadeUp:
    """Bits fall with the logarithm of the steps, and the distortion is the weighted sum of their squares."""

    def __init__(self, lasts=math.inf):
        self.lasts, self.measurements = lasts, 0

    def encoded_bytes(self, tables):
        steps = np.array([*tables.luma, *tables.chroma])
        return 100 + 69 * (tables.luma != tables.chroma) + float(np.log2(256 / steps).sum())

    def measure(self, tables):
        if self.measurements == self.lasts:
            raise KeyboardInterrupt
        self.measurements += 1
        steps = np.array([*tables.luma, *tables.chroma])
        return Measured(self.encoded_bytes(tables), float(WEIGHTS @ steps**2), 0.5)


def found(folder, images=None, before=None, seed=0, generations=3):
    images = images or MadeUp()
    journal = TablesJournal(folder / "journal", {"a": 1})
    work = Workplace(images, MadeUp(), {"4:2:0": SENSITIVITY}, journal, seed=seed)
    return search(work, 50, 500.0, generations, before)


def same(one, other):
    return one.tables == other.tables and one.measured == other.measured


def test_a_search_stays_within_the_bytes_and_is_never_worse_than_its_start(tmp_path):
    result = found(tmp_path)
    assert result.best.measured.distortion < result.law.measured.distortion
    for candidate in (result.law, result.best):
        assert 0.98 * 500 < candidate.measured.encoded_bytes <= 500
        steps = [*candidate.tables.luma, *candidate.tables.chroma]
        assert (min(steps) >= 1, max(steps) <= 255) == (True, True)


def test_no_generation_leaves_the_power_law(tmp_path):
    result = found(tmp_path, generations=0)
    assert same(result.best, result.law)


def test_one_table_for_luma_and_chroma_is_chosen_where_its_bytes_are_worth_more(tmp_path):
    assert found(tmp_path, generations=0).law.kind.shared
    work = Workplace(MadeUp(), MadeUp(), {"4:2:0": SENSITIVITY}, TablesJournal(tmp_path / "other", {}), shared=False)
    assert not search(work, 50, 500.0, 0).law.kind.shared


def test_a_better_shape_of_another_scale_is_the_start(tmp_path):
    before = found(tmp_path).best
    (tmp_path / "next").mkdir()
    result = found(tmp_path / "next", before=before, generations=0)
    assert same(result.best, before)


def test_a_search_that_was_stopped_ends_as_one_that_was_not(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir(), parts.mkdir()
    images = MadeUp()
    expected = found(whole, images)
    for lasts in (2, 9):
        with pytest.raises(KeyboardInterrupt):
            found(parts, MadeUp(lasts))
    with (parts / "journal").open("a") as file:
        file.write('\n{"question": "50/1')  # as a kill leaves it
    rest = MadeUp()
    result = found(parts, rest)
    assert same(result.best, expected.best)
    assert same(result.law, expected.law)
    assert rest.measurements == images.measurements - 11
    assert images.measurements < trials(["4:2:0"], True, 1, 3) >= 3 * POPULATION


def test_the_seed_decides(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    assert not same(found(tmp_path / "a", seed=1).best, found(tmp_path / "b", seed=2).best)


def test_a_journal_of_other_settings_is_not_taken_up(tmp_path):
    TablesJournal(tmp_path / "journal", {"a": 1}).ask("question", 1, lambda: [1.5])
    assert TablesJournal(tmp_path / "journal", {"a": 1}).ask("question", 1, list) == [1.5]
    with pytest.raises(UserError, match="journal of a search with other settings: delete it"):
        TablesJournal(tmp_path / "journal", {"a": 2})


@pytest.mark.parametrize("content", [b"", b"\xff\n\xff", b"[" * 9999, b"[]", b'{"question": "a", "answer": 1}'])
def test_what_is_no_journal_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "journal").write_bytes(content)
    with pytest.raises(UserError) as error:
        TablesJournal(tmp_path / "journal", {})
    assert len(str(error.value).splitlines()) == 1


def test_a_power_law_is_one():
    kind = Kind("4:4:4", shared=False)
    sensitivity = np.array([4.0, *[1.0] * 63, *[0.25] * 64])
    tables = shaped(kind, sensitivity, power_law(kind, 0.5, chroma=1.5), 60)
    base = 60 * math.exp(0.5 * math.log(4) / 64)
    assert tables.luma == (round(base / 2), *[round(base)] * 63)
    assert set(tables.chroma) == {round(base * 2 * 1.5)}
    assert tables.subsampling == "4:4:4"
    flat = shaped(Kind("4:2:0", shared=True), sensitivity, np.zeros(5), 30)
    assert set(flat.luma + flat.chroma) == {30}


@pytest.mark.parametrize("guess", [0.1, 30.0, 5000.0])
def test_tables_are_as_fine_as_the_bytes_allow(guess):
    kind = Kind("4:2:0", shared=True)
    make = partial(shaped, kind, SENSITIVITY, np.zeros(5))
    tables, factor = within_bytes(make, lambda tables: 1000 / tables.luma[0], 1000 / 23.5, guess)
    assert set(tables.luma) == {24}
    assert 23.5 <= factor < 24.5
    assert within_bytes(make, lambda _: 10.0, 5.0, guess) == (make(COARSEST), COARSEST)


def test_answers_that_are_none_are_measured_again(tmp_path):
    journal = TablesJournal(tmp_path / "journal", {})
    assert journal.ask("a", 2, lambda: [1, 2.5]) == [1.0, 2.5]
    lines = (tmp_path / "journal").read_text().splitlines()
    assert json.loads(lines[1]) == {"question": "a", "answer": [1.0, 2.5]}
    for number, odd in enumerate(("NaN", "1e999", '"x"', "true", "[1]", "1e16", "null")):
        question = f"q{number}"
        (tmp_path / "journal").write_text("\n".join([*lines, f'{{"question": "{question}", "answer": [{odd}]}}']))
        assert TablesJournal(tmp_path / "journal", {}).ask(question, 1, lambda: [7.0]) == [7.0]
    assert TablesJournal(tmp_path / "journal", {}).ask("a", 1, lambda: [8.0]) == [8.0]  # another length
    journal.delete()
    assert not (tmp_path / "journal").exists()


def test_a_journal_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "journal").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="not a regular file but a link"):
        TablesJournal(tmp_path / "journal", {})
