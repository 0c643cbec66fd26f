"""Tests between encoders against counting by hand and statsmodels."""

import os

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from bench.report.inputs import Choices
from bench.report.sections import encoders
from bench.runs import images
from bench.runs.folder import load_run
from bench.runs.images import read_correctness
from tests.support import made_up
from tests.support.reports import frame, groups_of, tables, terms, texts

LABELS = np.arange(103) % 10  # no multiple of eight


def predictions(seed, views=("original", "jpeg-50")):
    random = np.random.default_rng(seed)
    return {view: np.where(random.random(103) < 0.7, LABELS, (LABELS + 1) % 10) for view in views}


@pytest.fixture
def section(tmp_path):
    """The section about runs of some encoders with these predictions; None is a run without per-image table."""

    def build(**runs):
        for encoder, rows in runs.items():
            content = made_up.run_record(rows or predictions(9), encoder=encoder)
            made_up.write_run(tmp_path / encoder, content, rows)
        return encoders.section(groups_of(tmp_path)[0], Choices())

    return build


def test_differences_equal_statsmodels_image_by_image(section):
    rows = {name: predictions(seed) for seed, name in enumerate(["RN50", "RN101", "zeta"])}
    found = frame(section(**rows), "encoders.csv")
    assert len(found) == 6
    p_values = []
    for one in found:
        first, second = (rows[one[name]][one["view"]] == LABELS for name in ("first", "second"))
        assert (one["only_first"], one["only_second"]) == ((first & ~second).sum(), (second & ~first).sum())
        table = [[(first & second).sum(), one["only_first"]], [one["only_second"], (~first & ~second).sum()]]
        p_values.append(mcnemar(table, exact=True).pvalue)
    assert [one["p"] for one in found] == pytest.approx(p_values)
    assert [one["p_holm"] for one in found] == pytest.approx(multipletests(p_values, method="holm")[1])


def test_views_that_only_one_encoder_has_are_not_tested(section):
    found = frame(section(RN50=predictions(0), RN101=predictions(1, ("original", "webp-50"))), "encoders.csv")
    assert [one["view"] for one in found] == ["original"]


def test_runs_without_table_or_with_another_ones_are_left_out_and_named(section, tmp_path):
    made_up.write_run(tmp_path / "odd", made_up.run_record(predictions(3), encoder="odd"), predictions(4))
    made_up.write_run(tmp_path / "damaged", made_up.run_record(predictions(3), encoder="damaged"))
    (tmp_path / "damaged" / "images.csv").write_text("index,label\n0,1\n")
    made_up.write_run(tmp_path / "huge", made_up.run_record(predictions(3), encoder="huge"), predictions(3))
    huge = tmp_path / "huge" / "images.csv"
    huge.write_text(huge.read_text().replace("\n0,", f"\n{'9' * 100_000},"))
    made_up.write_run(tmp_path / "pipe", made_up.run_record(predictions(3), encoder="pipe"))
    os.mkfifo(tmp_path / "pipe" / "images.csv")
    shifted = made_up.write_run(
        tmp_path / "shifted", made_up.run_record(predictions(5), encoder="shifted"), predictions(5)
    )
    table = shifted.with_name("images.csv")
    head, *lines = table.read_text().splitlines()
    table.write_text("\n".join([head, *(f"9{line}" for line in lines)]) + "\n")
    built = section(RN50=predictions(0), RN101=predictions(1), bare=None)
    assert {(one["first"], one["second"]) for one in frame(built, "encoders.csv")} == {("RN50", "RN101")}
    reasons = {path.split("/")[-2]: reason for path, reason in terms(built).items()}
    assert reasons["bare"] == "no images.csv beside it"
    assert "images right in" in reasons["odd"]
    assert "prediction" in reasons["damaged"]
    assert "too many digits" in reasons["huge"]
    assert "not a regular file" in reasons["pipe"]
    assert "other indices or labels" in reasons["shifted"]


def test_one_encoder_has_no_such_section_and_two_without_tables_say_so(section, tmp_path):
    assert section(RN50=predictions(0)) is None
    (tmp_path / "RN50" / "images.csv").unlink()
    assert "No two encoders" in section(RN101=None).blocks[0]


def test_many_encoders_are_all_tested_but_shown_against_the_best_only(section):
    built = section(**{f"enc{seed}": predictions(seed) for seed in range(12)})
    assert len(frame(built, "encoders.csv")) == 66 * 2
    assert len(texts(tables(built)["encoders"])) == 11
    assert "all 66 are in encoders.csv" in tables(built)["encoders"].note


def test_reading_in_blocks_changes_nothing(tmp_path, monkeypatch):
    made_up.write_run(tmp_path / "run", made_up.run_record(predictions(0)), predictions(0))
    run = load_run(tmp_path / "run")
    whole = read_correctness(run)
    monkeypatch.setattr(images, "_ROWS_AT_ONCE", 7)
    pieces = read_correctness(run)
    assert pieces.fingerprint == whole.fingerprint
    assert {view: bits.tolist() for view, bits in pieces.bits.items()} == {
        view: np.packbits(rows == LABELS).tolist() for view, rows in predictions(0).items()
    }
