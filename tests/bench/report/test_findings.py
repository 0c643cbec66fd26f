"""What a page opens with: sentences from the numbers, each linked to the section that has them."""

import re
from dataclasses import replace

import pytest

from bench.report.answers import answers_of
from bench.report.contents import compose
from bench.report.document import Findings
from bench.report.inputs import Choices, read_inputs
from bench.report.rates import CodecPair
from bench.report.sections import classes, drop, overview, precision
from bench.report.size_findings import size_findings
from bench.statistics.intervals import Estimate, Interval
from tests.support import made_up
from tests.support.reports import groups_of

SIZES = {"jpeg-75": 900, "jpeg-25": 500}


def write(folder, counts, images=1000, **options):
    predictions = made_up.nested(counts, images)
    sizes = {view: SIZES[view] for view in counts if view in SIZES}
    record = made_up.run_record(predictions, sizes=sizes, **options)
    name = "-".join([record.model.encoder, record.data.split])
    made_up.write_run(folder / name, record, predictions, sizes)


@pytest.fixture
def one(tmp_path):
    write(tmp_path / "one", {"original": 900, "jpeg-75": 897, "jpeg-25": 600})
    (group,) = groups_of(tmp_path / "one")
    return group


@pytest.fixture
def two(tmp_path):
    write(tmp_path / "two", {"original": 900, "jpeg-75": 897, "jpeg-25": 600})
    write(tmp_path / "two", {"original": 800, "jpeg-75": 700, "jpeg-25": 400}, encoder="RN101")
    (group,) = groups_of(tmp_path / "two")
    return group


def test_what_the_worst_and_the_mildest_view_cost_is_said_first(one, two):
    (first, second) = drop.section(one, Choices()).findings
    assert first.startswith("Largest drop, at jpeg-25: 30.0 points [27.2, 32.9] (RN50, 0.9000 to 0.6000). ")
    assert first.endswith("Smallest, at jpeg-75: 0.3 points [\N{MINUS SIGN}0.1, 0.9] (RN50, 0.9000 to 0.8970).")
    assert second.startswith("1 of 2 drops cannot be told from chance")
    assert second.endswith(": RN50 at jpeg-75.")
    (first, *_) = drop.section(two, Choices()).findings
    assert first.startswith("Largest mean drop, at jpeg-25: 30.0 points [")
    assert " and 40.0 points [37.0, 43.1] (RN101, 0.8000 to 0.4000). Smallest" in first


def test_views_are_ranked_over_the_same_encoders(tmp_path):
    write(tmp_path, {"original": 900, "jpeg-75": 700, "jpeg-25": 780})
    write(tmp_path, {"original": 900, "jpeg-75": 880, "jpeg-25": 780, "jpeg-10": 0}, encoder="RN101")
    (group,) = groups_of(tmp_path)
    (first, *_) = drop.section(group, Choices()).findings
    assert first.startswith("Largest mean drop, at jpeg-25: 12.0 points [")
    assert "Smallest, at jpeg-75: 2.0 points [" in first


def test_the_largest_drops_of_classes_are_named_where_there_are_enough_images(one, tmp_path):
    (sentence,) = classes.section(one, Choices()).findings
    assert sentence.startswith("On jpeg-25, the largest drops measured with RN50 are those of class 0 (30.0 points of")
    assert ". That they lose is shown; that no other class loses more is not; the confusion" in sentence  # all lose 30
    assert re.search(
        r"; the confusion that grew most: class \d taken for class \d [\d,]+ times, [\d,]+ on the", sentence
    )
    write(tmp_path / "few", {"original": 90, "jpeg-25": 60}, 100)
    (few,) = groups_of(tmp_path / "few")
    assert classes.section(few, Choices()).findings == ()


def test_classes_that_may_have_lost_by_chance_are_not_said_to_lose_most(tmp_path):
    write(tmp_path, {"original": 900, "jpeg-25": 875})
    (sentence,) = classes.section(*groups_of(tmp_path), Choices()).findings
    assert sentence == (
        "On jpeg-25, the largest drops measured with RN50 are those of class 5 (3.0 points of recall), class 6 (3.0 "
        "points of recall) and class 7 (3.0 points of recall). Which classes these are may be chance: of 10, none "
        "alone is shown to lose."
    )


def test_the_smallest_setting_and_how_sure_it_is(one, two):
    (sentence,) = size_findings(answers_of(one, 1), [])
    assert "a measured drop under 1 point are those of jpeg-75 (900 bytes per image), which drops by 0.30" in sentence
    assert sentence.endswith("; that it stays under 1 point is shown (2.5% risk of error).")
    (sentence,) = size_findings([answer for answer in answers_of(two, 1) if answer.label == "RN50"], [])
    assert sentence.endswith("(2.5% risk of error).")
    assert size_findings(answers_of(two, 1), [])[0].endswith("(2.5% risk of error for each encoder).")
    assert size_findings(answers_of(two, 0.1), []) == (
        "For RN50 and RN101 no measured setting has a drop under 0.1 points.",
    )
    (sentence,) = size_findings(answers_of(one, 0.4), [])
    assert "those of jpeg-75" in sentence
    assert re.search(r"; these 1,000 images do not show a drop under 0.4 points; about [\d,]+ that change as", sentence)


def test_near_chance_comes_before_any_answer(tmp_path):
    write(tmp_path, {"original": 100, "jpeg-75": 100})
    (group,) = groups_of(tmp_path)
    (sentence,) = size_findings(answers_of(group, 1), [])
    assert sentence.startswith("RN50: near chance: the originals' 0.1000 [0.0829, 0.1202] is not shown to be above")


def test_codecs_are_told_apart_only_where_their_joint_interval_excludes_zero():
    bits = Interval(1.0, 2.0)
    none = Estimate(float("nan"), Interval(float("nan"), float("nan")))
    pair = CodecPair("RN50", "jpeg", "webp", bits, Estimate(-4.2, Interval(-5.3, -3.1)), "", none, "no")
    unsure = replace(pair, second="avif", difference=Estimate(-9.0, Interval(-20.0, 2.0)))
    assert size_findings([], [unsure, pair]) == (
        "At equal bits webp keeps 4.2 points [3.1, 5.3] more than jpeg (RN50).",
    )
    half = replace(unsure, rate=Estimate(100.0, Interval(25.0, 300.0)))
    assert size_findings([], [half]) == ("At equal precision avif needs 50% [20, 75] fewer bytes than jpeg (RN50).",)
    (sentence,) = size_findings([], [half, half])
    assert sentence.endswith("fewer bytes than jpeg (RN50) (each interval by itself).")
    turned = replace(half, first="avif", second="jpeg", rate=Estimate(-50.0, Interval(-75.0, -20.0)))
    assert size_findings([], [turned]) == size_findings([], [half])


def test_findings_lead_to_the_sections_that_have_their_numbers(tmp_path):
    write(tmp_path, {"original": 900, "jpeg-75": 897, "jpeg-25": 600})
    write(tmp_path, {"original": 900, "jpeg-75": 890, "jpeg-25": 700}, split="train")
    report, groups = compose("title", read_inputs([tmp_path]), Choices())
    opening, *chapters = report.chapters
    assert [section.title for section in opening.sections] == [*(group.title for group in groups), "Overview"]
    places = {chapter.anchor(section) for chapter in chapters for section in chapter.sections}
    sentences = [line for section in opening.sections for line in section.blocks if isinstance(line, Findings)]
    anchors = [anchor for block in sentences for _, _, anchor in block.sentences]
    assert len(anchors) == 7  # one of four sentences less where every drop is beyond chance
    assert set(anchors) < places
    codec, panels = overview.overview_panels(groups)
    assert (codec, [panel.title for panel in panels]) == ("jpeg", [group.title for group in groups])
    own = precision.quality_panel(groups[0], codec, "", groups[0].places)
    assert panels[0].lines[0].look == panels[1].lines[0].look == own.lines[0].look


def test_views_that_change_nothing_are_not_the_mildest(tmp_path):
    write(tmp_path / "some", {"original": 900, "webp-lossless": 900, "jpeg-75": 890, "jpeg-25": 600})
    (sentence, *_) = drop.section(*groups_of(tmp_path / "some"), Choices()).findings
    assert "Smallest where a prediction changes, at jpeg-75" in sentence
    write(tmp_path / "none", {"original": 900, "webp-lossless": 900})
    (sentence,) = drop.section(*groups_of(tmp_path / "none"), Choices()).findings
    assert sentence == "No view changes a prediction."
