"""Front ends of made-up runs, against counting by hand."""

from dataclasses import replace

import pytest

from bench.report.sections import front_ends
from bench.report.tables import lay_out
from tests.support import made_up
from tests.support.reports import choices, frame, groups_of, tables

IMAGES = 200
BEFORE = {"original": 160, "jpeg-25": 100}


def measured(folder, counts, psnr, **model):
    """A test run whose first images are right and whose degraded view has a PSNR."""
    predictions = made_up.nested(counts, IMAGES)
    record = made_up.run_record(predictions, model=model)
    view = record.views["jpeg-25"]
    views = {**record.views, "jpeg-25": replace(view, metrics={**view.metrics, **psnr})}
    made_up.write_run(folder / str(len([*folder.iterdir()])), replace(record, views=views), predictions)


def section_of(folder):
    return front_ends.section(groups_of(folder)[0], choices(folder))


def test_a_front_end_is_held_against_the_same_encoder_without_one(tmp_path):
    measured(tmp_path, BEFORE, {"psnr": 26.0})
    measured(tmp_path, {"original": 150, "jpeg-25": 130}, {"psnr": 27.5}, restoration="deblock-25")
    original, degraded = frame(section_of(tmp_path), "front_ends.csv")
    assert (original["before"], original["precision"], original["gain_points"]) == (0.8, 0.75, pytest.approx(-5.0))
    assert original["gain_points_high"] < 0
    assert (degraded["share"], degraded["gain_points"]) == (0.5, pytest.approx(15.0))  # 30 of 60 lost
    assert degraded["share_low"] < 0.5 < degraded["share_high"]
    (row,) = lay_out(tables(section_of(tmp_path))["front-ends"]).rows
    assert row[0].text == "RN50 behind deblock-25"
    assert [len(cell.details) for cell in row[1:]] == [2, 4]  # originals have no drop, and here no PSNR
    assert row[2].details[-1] == "PSNR 27.50 dB, 26.00 without"


def test_pixels_and_precision_that_contradict_each_other_are_a_finding(tmp_path):
    measured(tmp_path, BEFORE, {"psnr": 26.0})
    measured(tmp_path, {"original": 150, "jpeg-25": 70}, {"psnr": 27.5}, restoration="deblock-25")
    assert section_of(tmp_path).findings == ("Better PSNR and worse precision: RN50 behind deblock-25 at jpeg-25.",)


def test_of_many_front_ends_those_are_no_finding_that_chance_explains(tmp_path):
    measured(tmp_path, BEFORE, {"psnr": 26.0})
    for worse in range(8):  # 7 by themselves have a p-value of 0.016
        quality = {"restoration": f"deblock-{10 + worse}"}
        measured(tmp_path, {"original": 160, "jpeg-25": 100 - worse}, {"psnr": 27.5}, **quality)
    assert section_of(tmp_path).findings == ()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda table: table.unlink(), "No such file"),
        (lambda table: table.write_text("index\n"), "Usecols do not match"),
        (lambda table: table.write_text(table.read_text().replace("\n0,", "\n999,")), "other indices or labels"),
    ],
    ids=["missing", "of another kind", "other images"],
)
def test_a_front_end_whose_table_cannot_be_used_is_named_and_the_others_stay(tmp_path, harm, said):
    measured(tmp_path, BEFORE, {})
    for name in ("deblock-25", "deblock-50"):
        measured(tmp_path, {"original": 150, "jpeg-25": 130}, {}, restoration=name)
    harm(tmp_path / "2" / "images.csv")
    section = section_of(tmp_path)
    assert {row["front_end"] for row in frame(section, "front_ends.csv")} == {"RN50 behind deblock-25"}
    [problem] = [block for block in section.blocks if isinstance(block, str)]
    assert problem.startswith("RN50 behind deblock-50 and RN50 cannot be compared: ")
    assert said in problem
    harm(tmp_path / "1" / "images.csv")
    assert all(isinstance(block, str) for block in section_of(tmp_path).blocks)


@pytest.mark.parametrize(
    "model",
    [
        {"adapter": "a.safetensors", "adapter_sha256": "a"},
        {"restoration": "deblock-25", "precision": "bf16-mixed"},
        {"restoration": "deblock-25", "templates": ["{}"]},
    ],
    ids=["an adapter", "other precision", "other prompts"],
)
def test_nothing_else_is_taken_for_a_front_end_of_it(tmp_path, model):
    measured(tmp_path, BEFORE, {})
    measured(tmp_path, BEFORE, {}, **model)
    assert section_of(tmp_path) is None
