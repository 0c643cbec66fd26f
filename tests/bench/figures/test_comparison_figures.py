"""What the figures draw, read back from Matplotlib."""

import numpy as np
import pytest

from bench.figures.comparison import class_drops, precision_curves
from bench.report.groups import group_runs
from bench.report.runs import read_runs
from tests.support import made_up


@pytest.fixture
def group(tmp_path):
    """The group of some runs with these counts by encoder."""

    def build(**encoders):
        for encoder, counts in encoders.items():
            made_up.write(tmp_path / encoder, made_up.record(made_up.nested(counts, 100), encoder=encoder))
        return group_runs(read_runs([tmp_path])[0])[0][0]

    return build


@pytest.mark.parametrize(
    ("counts", "ticks", "values"),
    [
        ({"original": 90, "jpeg-75": 80, "jpeg-25": 40, "jpeg-50": 70}, ["25", "50", "75"], [0.4, 0.7, 0.8, 0.9]),
        ({"original": 90, "jpeg-50": 70}, ["50"], [0.7, 0.9]),
    ],
)
def test_curves_rise_to_the_original_at_the_right(group, counts, ticks, values):
    (axes,) = precision_curves(group(RN50=counts)).axes
    (line,) = [one for one in axes.get_lines() if len(one.get_xdata()) == len(values) and one.get_marker() == "o"]
    assert line.get_ydata() == pytest.approx(values)
    assert (np.diff(line.get_xdata()) > 0).all()
    assert [label.get_text() for label in axes.get_xticklabels()] == [*ticks, "original"]


def test_a_panel_per_codec_and_a_line_per_encoder_ordered_by_the_originals(group):
    counts = {"original": 90, "jpeg-50": 70, "webp-50": 60}
    figure = precision_curves(group(RN50=counts, RN101={"original": 95, "webp-50": 80}))
    assert [axes.get_title() for axes in figure.axes if axes.get_title()] == ["jpeg", "webp"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["RN101", "RN50"]


def test_heat_map_shows_the_drop_of_each_class_and_leaves_out_what_was_not_measured(group):
    built = group(RN50={"original": 90, "jpeg-50": 45}, RN101={"original": 90, "webp-50": 90})
    figure = class_drops(built, built.entries)
    first, second = (axes.get_images()[0].get_array() for axes in figure.axes[:2])
    assert built.degraded == ("jpeg-50", "webp-50")
    assert first[:, 0].tolist() == pytest.approx(
        [0.4] * 5 + [0.5] * 5
    )  # 45 of 100 right: five in classes 0 to 4, else four
    assert first.mask[:, 1].all()
    assert second[:, 1].tolist() == pytest.approx([0] * 10)
