"""What stands on the axes of curves, read back from Matplotlib."""

import numpy as np
import pytest

from bench.figures import curves
from bench.figures.curves import Line, Measured, Panel, quality_curves, rate_curves
from bench.figures.style import COLOURS, GREY, MOST_COLOURS, to_pixels

HOSTILE = ["$\\bad{$", "_hidden", "\ud83d \n飞", "x" * 300]


def measured(*values):
    return [Measured(value, value - 0.1, value + 0.1) for value in values]


def line(label, points, original=None):
    xs, values = points.keys(), measured(*points.values())
    return Line(label, list(zip(xs, values, strict=True)), None if original is None else measured(original)[0])


def drawn(axes):
    return {one.get_label(): one for one in axes.get_lines() if one.get_marker() != "None"}


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def legend(figure):
    (found,) = figure.legends
    return [text.get_text() for text in found.get_texts()]


@pytest.mark.parametrize(
    ("points", "labels"),
    [({25: 0.4, 50: 0.7, 75: 0.8}, ["25", "50", "75", "original"]), ({50: 0.7}, ["50", "original"])],
)
def test_lines_rise_over_the_measured_qualities_to_the_original_at_the_right(points, labels):
    (axes,) = quality_curves([Panel("jpeg", [line("RN50", points, 0.9)])]).axes
    (curve,) = drawn(axes).values()
    assert curve.get_ydata().tolist() == [*points.values(), 0.9]
    assert (np.diff(curve.get_xdata()) > 0).all()
    assert ticks(axes.xaxis) == labels
    (band,) = axes.collections
    ends = band.get_paths()[0].vertices[:, 1]
    assert (ends.min(), ends.max()) == pytest.approx((min(points.values()) - 0.1, 1.0))


def test_an_encoder_looks_alike_in_all_panels_and_the_legend_is_ordered_by_the_originals():
    first, second = line("RN50", {50: 0.7}, 0.9), line("RN101", {50: 0.8}, 0.95)
    figure = quality_curves([Panel("jpeg", [first]), Panel("webp", [second, first]), Panel("gif", [])])
    assert [axes.get_title() for axes in figure.axes] == ["jpeg", "webp"]
    assert legend(figure) == ["RN101", "RN50"]
    jpeg, webp = (drawn(axes) for axes in figure.axes)
    assert jpeg["RN50"].get_color() == webp["RN50"].get_color() != webp["RN101"].get_color()
    assert jpeg["RN50"].get_marker() == webp["RN50"].get_marker() != webp["RN101"].get_marker()


def test_quantities_begin_a_row_and_share_their_scale():
    panels = [
        Panel("jpeg", [line("RN50", {50: 0.5, 75: value})], quantity)
        for quantity, values in {"precision": (0.6, 0.9), "loss (nats)": (5.0, 9.0)}.items()
        for value in values
    ]
    grid = np.array(quality_curves(panels).axes).reshape(2, 2)
    assert [axes.get_ylabel() for axes in grid[:, 0]] == ["precision", "loss (nats)"]
    assert [len({axes.get_ylim() for axes in row}) for row in grid] == [1, 1]
    assert grid[0, 0].get_ylim()[1] < 1.1 < 9 < grid[1, 0].get_ylim()[1]


def test_rates_are_a_line_per_codec_over_bits_and_the_original_is_dashed():
    panel = Panel("RN50", [line("webp", {2: 0.8, 4: 0.89, 8: 0.9}), line("jpeg", {4: 0.7})], original=Measured(0.9))
    figure = rate_curves([panel, Panel("RN101", [line("jpeg", {4: 0.6, 16: 0.7})])])
    first, second = (drawn(axes) for axes in figure.axes)
    assert first["webp"].get_xdata().tolist() == [2, 4, 8]
    assert first["webp"].get_ydata().tolist() == [0.8, 0.89, 0.9]
    assert first["jpeg"].get_color() == second["jpeg"].get_color()
    (dashed,) = [one for one in figure.axes[0].get_lines() if one.get_linestyle() == "--"]
    assert dashed.get_ydata() == [0.9, 0.9]
    assert legend(figure) == ["webp", "jpeg", "original"]
    assert {axes.get_xscale() for axes in figure.axes} == {"log"}
    _, bar = figure.axes[0].collections  # a band would have no width where there is one point
    assert bar.get_paths()[0].vertices.tolist() == [[4, pytest.approx(0.6)], [4, pytest.approx(0.8)]]


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        ([0.5, 1.5, 5], ["0.5", "1", "2", "4"]),
        ([0.27, 0.3, 0.47], ["0.27", "0.3", "0.47"]),  # no power of two between
        ([0.9, 1.1, 1.3], ["0.9", "1.1", "1.3"]),  # a single power says no scale
        ([1.1], ["1.1"]),
    ],
)
def test_bits_are_labelled_by_powers_of_two_or_else_by_the_measured_settings(bits, expected):
    (axes,) = rate_curves([Panel("RN50", [line("jpeg", dict.fromkeys(bits, 0.5))])]).axes
    assert ticks(axes.xaxis) == expected
    assert not axes.xaxis.get_minorticklocs().size


def test_lines_beyond_the_colours_are_grey_and_named_together():
    encoders = [line(f"encoder {number}", {50: number / 100}, number / 50) for number in range(MOST_COLOURS + 3)]
    figure = quality_curves([Panel("jpeg", encoders)])
    assert legend(figure) == [*(f"encoder {number}" for number in reversed(range(MOST_COLOURS))), "3 more"]
    assert [one.get_color() for one in drawn(figure.axes[0]).values()] == [*COLOURS, *[GREY] * 3]


def test_many_panels_and_many_settings_stay_legible_and_what_is_left_out_is_said(monkeypatch):
    monkeypatch.setattr(curves, "MOST_PANELS", 2)
    many = {quality: 0.5 for quality in range(1, 101)}
    figure = quality_curves([Panel(f"codec {number}", [line("RN50", many)]) for number in range(3)])
    assert len([axes for axes in figure.axes if axes.get_title()]) == 2
    assert figure.get_supxlabel() == "The first 2 of 3 codecs."
    labels = ticks(figure.axes[0].xaxis)
    assert (labels[0], labels[-2:]) == ("1", ["100", "original"])
    assert len(labels) <= 21


def test_hostile_names_and_missing_values_are_drawn():
    nan = float("nan")
    points = [(1.0, Measured(nan)), (2.0, Measured(0.5, nan, nan)), (nan, Measured(0.5)), (0.0, Measured(0.4))]
    panels = [Panel(HOSTILE[0], [Line(name, points, Measured(nan)) for name in HOSTILE], original=Measured(nan))]
    for figure in (rate_curves(panels), quality_curves(panels)):
        assert legend(figure)[:3] == ["$\\bad{$", "_hidden", "\\ud83d \\u000a\\u98de"]
        assert to_pixels(figure).std() > 10
    for empty in ([], [Panel("jpeg", [])], [Panel("jpeg", [Line("RN50", [(nan, Measured(nan))])])]):
        assert rate_curves(empty).texts[0].get_text() == "no view was encoded"
        assert quality_curves(empty).texts[0].get_text() == "no view has a quality"
