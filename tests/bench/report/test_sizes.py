"""Answers, curves and differences against runs worked by hand."""

from dataclasses import replace

import numpy as np
import pytest

from bench.metrics import NOISE
from bench.report.answers import answers_of
from bench.report.inputs import Choices
from bench.report.sections import sizes
from bench.report.size_findings import size_findings
from bench.report.tables import MISSING, lay_out
from datamodules.errors import UserError
from tests.support import made_up
from tests.support.reports import Written, frame, groups_of, tables, terms, texts

COUNTS = {
    "original": 900,
    "jpeg-25": 700,
    "jpeg-50": 880,
    "jpeg-75": 900,
    "webp-25": 800,
    "webp-50": 890,
    "webp-75": 900,
}
SIZES = {"jpeg-25": 512, "jpeg-50": 1024, "jpeg-75": 2048, "webp-25": 256, "webp-50": 512, "webp-75": 1024}


@pytest.fixture
def group(tmp_path):
    """The group of runs by encoder: counts of right images, and sizes; `tables=False` leaves out the images."""

    def build(counts=COUNTS, sizes=SIZES, *, tables=True, encoders=("RN50",), images=1000, **changes):
        rows = made_up.nested(counts, images)
        sizes = {view: size for view, size in sizes.items() if view in counts}
        for encoder in encoders:
            record = made_up.run_record(rows, encoder=encoder, sizes=sizes, **changes)
            made_up.write_run(tmp_path / encoder, record, rows if tables else None, sizes)
        return groups_of(tmp_path)[0]

    return build


def answers(group, points):
    return size_findings(answers_of(group, points), [])


def curves_of(group, points=1):
    return frame(section_of(group, points), "rate_curves.csv")


def pairs_of(group):
    return frame(section_of(group, 1), "codec_pairs.csv")


def section_of(group, points):
    return sizes.section(group, Choices(points))


class TestAnswer:
    def test_smallest_setting_under_the_limit_and_surely_under_it(self, group):
        built = group()
        (line,) = answers(built, 2)
        assert "those of webp-50 (512 bytes per image), which drops by 1.00 points [0.54, 1.83]; that" in line
        assert line.endswith("that it stays under 2 points is shown (2.5% risk of error).")
        (line,) = answers(built, 1.2)
        assert "webp-50 (512 bytes per image), which drops by 1.00 points" in line
        assert line.endswith("(2.5% risk of error): webp-75 (1,024 bytes per image), and nothing smaller.")

    def test_a_drop_of_just_the_limit_is_not_under_it(self, group):
        assert "1 point are those of webp-75 (1,024 bytes per image), which drops by 0.00" in answers(group(), 1)[0]

    def test_none_of_the_settings(self, group):
        built = group({"original": 900, "jpeg-50": 700}, {"jpeg-50": 800})
        assert answers(built, 1) == ("For RN50 no measured setting has a drop under 1 point.",)
        table = tables(section_of(built, 1))["smallest"]
        assert texts(table) == []
        assert table.note.endswith("Encoders of which no setting that was measured is: all 1.")

    def test_what_few_images_cannot_show_and_how_many_could(self, group):
        counts = {view: 35 for view in ("original", "jpeg-50", "jpeg-75", "webp-50")}
        built = group(counts, {"jpeg-50": 300, "jpeg-75": 500, "webp-50": 400}, images=35)
        (answer,) = answers_of(built, 1)
        assert (answer.smallest.view, answer.surely, answer.possible) == ("jpeg-50", None, False)
        said = "35 images of which a view repairs none cannot show a drop under 1 point; about 490 can."
        assert answers(built, 1)[0].endswith(f"; {said}")
        # two codecs, so 1.25% each, for which 0.99^437 would do if no image could be repaired
        assert answer.images_needed == 490
        assert answer.chance == 4 / 35  # classes 0 to 4 have four images, the others three
        assert terms(section_of(built, 1)) == {
            "RN50": said,
        }
        assert answers_of(built, 50)[0].surely.view == "jpeg-50"

    def test_a_codec_that_fails_does_not_stop_another_one(self, group):
        counts = {"original": 9000, "jpeg-50": 7000, "jpeg-75": 8000, "webp-50": 8900, "webp-75": 8990}
        weights = {"jpeg-50": 1000, "jpeg-75": 2000, "webp-50": 500, "webp-75": 700}
        (answer,) = answers_of(group(counts, weights, images=10_000, tables=False), 1.5)
        assert answer.shown == ("webp-50", "webp-75")
        assert (answer.surely.view, answer.surely.drop_points.value) == ("webp-50", 1)

    def test_near_chance_is_said_first(self, group):
        built = group({"original": 120, "jpeg-50": 118}, {"jpeg-50": 300})
        (line,) = answers(built, 1)
        assert "near chance" not in line
        low = group({"original": 118, "jpeg-50": 118}, {"jpeg-50": 300}, encoders=("low",))
        line = next(line for line in answers(low, 1) if line.startswith("low"))
        assert line.startswith("low: near chance: the originals' 0.1180 [")
        assert "is not shown to be above the 0.1000 of always naming the largest class" in line
        section = section_of(low, 1)
        assert section.blocks[0] == "Read this first:"
        assert set(section.blocks[1]) == {"low"}

    def test_views_without_a_codec_are_no_answer(self, group):
        built = group({"original": 900, "blur-1": 900}, {})
        assert answers(built, 1) == ()
        assert section_of(built, 1) is None


class TestCurves:
    def test_values_equal_those_worked_by_hand(self, group):
        curves = {one["codec"]: one for one in curves_of(group(), 2)}
        # 512 to 1024 bytes are common: 4 to 8 bits per pixel
        assert curves["jpeg"]["mean_precision"] == pytest.approx((0.70 + 0.88) / 2)
        assert curves["webp"]["mean_precision"] == pytest.approx((0.89 + 0.90) / 2)
        assert curves["jpeg"]["bytes"] == pytest.approx(1024)
        assert curves["webp"]["bytes"] == pytest.approx(512 * 2 ** (-1 / 9))  # 2 is a ninth of the way from 1 to 10
        for one in curves.values():
            assert one["mean_precision_low"] < one["mean_precision"] < one["mean_precision_high"]
            assert one["bytes_low"] < one["bytes"] < one["bytes_high"]

    @pytest.mark.parametrize(("points", "expected"), [(50, "below all settings"), (1, "above all settings")])
    def test_a_limit_that_lies_beyond_the_settings_is_said_in_words(self, group, points, expected):
        section = section_of(group(COUNTS | {"original": 910}), points)
        assert [row[-1] for row in texts(tables(section)["rate-curves"])] == [expected] * 2

    def test_interval_of_the_mean_agrees_with_the_normal_approximation(self, group):
        (one,) = curves_of(group({"original": 900, "jpeg-50": 600, "jpeg-75": 600}), 1)
        half = 1.96 * np.sqrt(0.6 * 0.4 / 1000)
        assert one["mean_precision_low"] == pytest.approx(0.6 - half, abs=0.15 * half)
        assert one["mean_precision_high"] == pytest.approx(0.6 + half, abs=0.15 * half)

    def test_bytes_are_resampled_with_their_images(self, group):
        heavy = np.where(np.arange(1000) < 500, 100, 1900)
        built = group({"original": 900, "jpeg-25": 500, "jpeg-75": 900}, {"jpeg-25": 500, "jpeg-75": heavy})
        (one,) = curves_of(built, 1)
        assert one["bytes_high"] - one["bytes_low"] > 80  # of 1000 bytes plus or minus 56 at the upper end

    def test_curves_without_common_bits_have_no_mean_but_bytes(self, group):
        section = section_of(group(sizes=SIZES | {"webp-25": 10, "webp-50": 20, "webp-75": 30}), 2)
        curves = frame(section, "rate_curves.csv")
        assert all(np.isnan(one["mean_precision"]) for one in curves)
        assert all(one["bytes"] > 0 for one in curves)
        (pair,) = frame(section, "codec_pairs.csv")
        assert pair["not_at_equal_bits"] == "no bits in common"
        assert np.isnan(pair["difference_points"])
        assert "no bits in common" in lay_out(tables(section)["codec-pairs"]).rows[0][5].details

    def test_single_settings_are_answers_but_no_curves(self, group):
        built = group({"original": 900, "jpeg-50": 895, "webp-50": 880}, {"jpeg-50": 900, "webp-50": 500})
        section = section_of(built, 1)
        assert not frame(section, "rate_curves.csv")
        assert "1 point are those of jpeg-50 (900 bytes" in answers(built, 1)[0]


class TestEqualBits:
    def test_difference_equals_that_worked_by_hand_and_its_interval_is_paired(self, group):
        (one,) = pairs_of(group())
        assert (one["first"], one["second"], one["bits_low"], one["bits_high"]) == ("webp", "jpeg", 4, 8)
        assert one["difference_points"] == pytest.approx(100 * ((0.89 + 0.90) / 2 - (0.70 + 0.88) / 2))
        # per image half of (webp-50 - jpeg-25) + (webp-75 - jpeg-50): 1/2 for 190 images and for 20 others, 0 otherwise
        parts = np.repeat([0.5, 0.0], [210, 790])
        half = 100 * 1.96 * parts.std() / np.sqrt(1000)
        assert one["difference_points_low"] == pytest.approx(one["difference_points"] - half, abs=0.15 * half)
        assert one["difference_points_high"] == pytest.approx(one["difference_points"] + half, abs=0.15 * half)

    def test_equal_codecs_differ_by_nothing_as_surely_as_the_number_of_images_allows(self, group):
        counts = {"original": 900} | {f"{codec}-{q}": 700 + q for codec in ("jpeg", "webp") for q in (25, 50)}
        (one,) = pairs_of(group(counts, {view: 400 if view.endswith("25") else 800 for view in counts if "-" in view}))
        assert one["difference_points"] == 0
        assert (
            one["difference_points_high"] == -one["difference_points_low"] == pytest.approx(100 * 3.84 / 1000, abs=1e-3)
        )


class TestEqualPrecision:
    @pytest.fixture
    def section(self, group):
        counts = {"original": 950, "jpeg-25": 500, "jpeg-50": 700, "jpeg-75": 900, "webp-25": 600, "webp-75": 800}
        sizes = {"jpeg-25": 400, "jpeg-50": 800, "jpeg-75": 1600, "webp-25": 300, "webp-75": 600}
        return lambda counted=(), weighed=(): section_of(group(counts | dict(counted), sizes | dict(weighed)), 1)

    def test_percent_of_bytes_equals_that_worked_by_hand(self, section):
        (pair,) = frame(section(), "codec_pairs.csv")
        # both double with every 0.2 of precision: 300 bytes at 0.6 against 400 * sqrt(2)
        assert pair["rate_percent"] == pytest.approx(100 * (300 / (400 * 2**0.5) - 1))
        assert pair["rate_percent_low"] < pair["rate_percent"] < pair["rate_percent_high"] < 0

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"webp-75": 600}, "precision does not rise from the smallest setting of webp to the next"),
            ({"webp-25": 920, "webp-75": 940}, "no precision in common"),
            ({"webp-25": 100, "webp-75": 600}, "only 25% of the narrower curve's precision in common"),
            ({"webp-25": 600, "webp-75": 602}, "within the noise"),
        ],
    )
    def test_where_it_is_refused_the_reason_is_said(self, section, changes, reason):
        section = section(changes)
        (pair,) = frame(section, "codec_pairs.csv")
        assert np.isnan(pair["rate_percent"])
        assert reason in pair["not_at_equal_precision"]
        assert reason in lay_out(tables(section)["codec-pairs"]).rows[0][-1].details[0]

    def test_a_narrow_range_of_common_bits_is_refused(self, section):
        (pair,) = frame(section({}, {"webp-25": 100, "webp-75": 440}), "codec_pairs.csv")
        assert pair["not_at_equal_bits"] == "bits in common differ by a factor of 1.10 only"
        assert np.isnan(pair["difference_points"])


class TestWithoutImages:
    def test_values_stay_and_intervals_are_missing_with_the_reason(self, group):
        section = section_of(group(tables=False), 2)
        curves = frame(section, "rate_curves.csv")
        assert all(np.isnan(one["mean_precision_low"]) and one["mean_precision"] > 0 for one in curves)
        (pair,) = frame(section, "codec_pairs.csv")
        assert pair["difference_points"] == pytest.approx(10.5)
        assert np.isnan(pair["difference_points_low"])
        assert all(np.isnan(one["bytes_low"]) and one["bytes"] > 0 for one in curves)
        assert terms(section) == {"RN50": "no images.csv beside a result file"}

    def test_views_from_two_runs_of_the_same_images_are_paired(self, group, tmp_path):
        group()
        rows = made_up.nested({"original": 900, "avif-50": 850, "avif-75": 900}, 1000)
        weights = {"avif-50": 300, "avif-75": 1100}
        made_up.write_run(tmp_path / "second", made_up.run_record(rows, sizes=weights), rows, weights)
        (built,) = groups_of(tmp_path)
        found = pairs_of(built)
        assert {(one["first"], one["second"]) for one in found} == {
            ("webp", "avif"),
            ("webp", "jpeg"),
            ("avif", "jpeg"),
        }
        given = [one for one in found if not one["not_at_equal_bits"]]
        assert len(given) == 3
        for one in given:
            assert one["difference_points_low"] < one["difference_points"] < one["difference_points_high"]
        table = tmp_path / "second" / "images.csv"
        table.write_text(table.read_text().replace("\n0,", "\n5000,"))
        assert all(np.isnan(one["difference_points_low"]) for one in pairs_of(built))


def test_figure_has_a_panel_per_encoder_and_one_colour_per_codec(group):
    built = group(encoders=("RN50", "RN101"))
    (plot,) = [block for block in section_of(built, 1).blocks if hasattr(block, "draw")]
    panels = plot.draw().axes
    assert [axes.get_title() for axes in panels] == ["RN50", "RN101"]
    for axes in panels:
        lines = {line.get_label(): line for line in axes.get_lines()}
        assert list(lines) == ["webp", "jpeg", "original"]
        assert lines["webp"].get_xdata().tolist() == [2, 4, 8]
        assert lines["webp"].get_ydata().tolist() == [0.8, 0.89, 0.9]
    assert len({line.get_color() for axes in panels for line in axes.get_lines()[:2]}) == 2


def test_times_are_shown_where_runs_have_them_and_said_to_be_noisy(tmp_path):
    rows = made_up.nested({"original": 900, "jpeg-25": 700, "webp-25": 800}, 1000)
    for encoder, time in {"older": {}, "RN50": {"encode_ms": 0.25}, "RN101": {"encode_ms": 0.5}}.items():
        record = made_up.run_record(rows, encoder=encoder, sizes={"jpeg-25": 512, "webp-25": 256})
        views = dict(record.views)
        views["jpeg-25"] = replace(views["jpeg-25"], metrics={**views["jpeg-25"].metrics, **time})
        made_up.write_run(tmp_path / encoder / "run", replace(record, views=views))
    [group] = groups_of(tmp_path)
    table = tables(section_of(group, 1))["views"]
    assert lay_out(table).heads[-1] == "encode (ms)"
    assert {view: cells[-1] for view, *cells in texts(table)} == {"jpeg-25": "0.375", "webp-25": MISSING}
    assert table.note.startswith(NOISE)
    kept = group.cells.set_index(["encoder", "view"])["encode_ms"]
    assert kept["RN101", "jpeg-25"] == 0.5
    assert np.isnan([kept["older", "jpeg-25"], kept["RN50", "original"]]).all()
    older = tables(section_of(groups_of(tmp_path / "older")[0], 1))["views"]
    assert (lay_out(older).heads, older.note) == (["view", "bytes per image", "bits per pixel"], "")


def test_lossy_sources_are_said_beside_the_answer(group):
    section = section_of(group(lossy_source_formats=["JPEG"]), 1)
    assert "JPEG" in section.blocks[0]
    assert "biased, mostly down" in section.blocks[0]


def test_drops_of_just_the_limit_are_not_under_it_at_any_precision(group):
    for points in (0.7, 1.1, 2.3, 5):
        drop = round(points * 10)
        built = group({"original": 917, "jpeg-50": 917 - drop, "jpeg-75": 918 - drop}, encoders=(f"at {points}",))
        answer = next(one for one in answers_of(built, points) if one.label == f"at {points}")
        assert answer.smallest.view == "jpeg-75"
        curve = next(one for one in curves_of(built, points) if one["encoder"] == f"at {points}")
        assert curve["bytes"] == pytest.approx(1024)


@pytest.mark.parametrize("drop", ["0", "-1", "101", "nan", "much"])
def test_a_drop_that_is_none_is_refused_in_one_line(tmp_path, capsys, drop):
    with pytest.raises((SystemExit, UserError)):
        Written(tmp_path / "report", tmp_path, f"--drop={drop}")
    (line,) = capsys.readouterr().err.splitlines()
    assert f"'{drop}' is no drop in percentage points" in line
