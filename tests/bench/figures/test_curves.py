"""What stands on the axes of curves, read back from Matplotlib."""

import numpy as np
import pytest

from bench.figures import curves
from bench.figures.curves import Line, Measured, Panel, quality_card, quality_curves, rate_card, rate_curves
from bench.figures.style import COLOURS, GREY, MOST_COLOURS, codec_looks, look, to_pixels

HOSTILE = ["$\\bad{$", "_hidden", "\ud83d \n飞", "x" * 300]


def measured(*values):
    return [Measured(value, value - 0.1, value + 0.1) for value in values]


def line(label, points, original=None, place=0, **style):
    xs, values = points.keys(), measured(*points.values())
    end = None if original is None else measured(original)[0]
    return Line(label, list(zip(xs, values, strict=True)), end, {**look(place), **style})


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
    (bars,) = axes.collections
    ends = [[(x, value - 0.1), (x, value + 0.1)] for x, value in zip(curve.get_xdata(), curve.get_ydata(), strict=True)]
    assert np.array([bar.vertices for bar in bars.get_paths()]) == pytest.approx(np.array(ends))


def test_an_encoder_looks_alike_in_all_panels_and_the_legend_is_ordered_by_the_originals():
    first, second = line("RN50", {50: 0.7}, 0.9), line("RN101", {50: 0.8}, 0.95, place=1)
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


def test_rates_are_a_line_per_codec_over_bits_and_the_original_is_dotted():
    looks = codec_looks(["webp", "jpeg"])
    lines = [line("webp", {2: 0.8, 4: 0.89, 8: 0.9}, **looks["webp"]), line("jpeg", {4: 0.7}, **looks["jpeg"])]
    panel = Panel("RN50", lines, original=Measured(0.9))
    other = line("jpeg", {4: 0.6, 16: 0.7}, **codec_looks(["jpeg"], 1)["jpeg"])
    figure = rate_curves([panel, Panel("RN101", [other])])
    first, second = (drawn(axes) for axes in figure.axes)
    assert first["webp"].get_xdata().tolist() == [2, 4, 8]
    assert first["webp"].get_ydata().tolist() == [0.8, 0.89, 0.9]
    assert first["jpeg"].get_color() == second["jpeg"].get_color()
    assert first["jpeg"].get_marker() != second["jpeg"].get_marker()
    (dotted,) = [one for one in figure.axes[0].get_lines() if one.get_linestyle() == ":"]
    assert dotted.get_ydata() == [0.9, 0.9]
    assert legend(figure) == ["webp", "jpeg", "original"]
    assert {axes.get_xscale() for axes in figure.axes} == {"log"}
    _, bar = figure.axes[0].collections
    assert bar.get_paths()[0].vertices.tolist() == [[4, pytest.approx(0.6)], [4, pytest.approx(0.8)]]


@pytest.mark.parametrize("bits", [[0.5, 1.5, 5], [0.27, 0.3, 0.47], [1.1]])
def test_bits_are_labelled_at_the_measured_settings(bits):
    (axes,) = rate_curves([Panel("RN50", [line("jpeg", dict.fromkeys(bits, 0.5))])]).axes
    assert ticks(axes.xaxis) == [f"{value:g}" for value in bits]


def test_where_settings_are_too_many_to_be_labelled_all_are_marked():
    bits = [1 + place / 50 for place in range(100)]
    (axes,) = rate_curves([Panel("RN50", [line("jpeg", dict.fromkeys(bits, 0.5))])]).axes
    assert (ticks(axes.xaxis)[0], ticks(axes.xaxis)[-1]) == ("1", "2.98")
    assert len(ticks(axes.xaxis)) <= 9
    assert len({*axes.xaxis.get_ticklocs(), *axes.xaxis.get_minorticklocs()}) == len(bits)


def test_what_stands_beside_points_and_published_curves_are_drawn():
    panel = Panel("RN50", [Line("jpeg", [(2.0, Measured(0.5, name="25")), (4.0, Measured(0.6))], look=look(0))])
    assert [text.get_text() for text in rate_curves([panel]).axes[0].texts] == ["25"]
    printed = [(75, 0.65), (float("inf"), 0.8)]
    panel = Panel("cifar10/test", [line("RN50", {25: 0.5, 75: 0.6}, 0.7)], published=[printed])
    figure = quality_curves([panel])
    own, published = drawn(figure.axes[0]).values()
    assert published.get_ydata().tolist() == [0.65, 0.8]
    assert published.get_xdata().tolist() == own.get_xdata().tolist()[1:]
    assert legend(figure) == ["RN50", "published"]


def test_lines_beyond_the_colours_are_grey_and_named_together():
    encoders = [
        line(f"encoder {number}", {50: number / 100}, number / 50, number) for number in range(MOST_COLOURS + 3)
    ]
    figure = quality_curves([Panel("jpeg", encoders)])
    assert legend(figure) == [*(f"encoder {number}" for number in reversed(range(MOST_COLOURS))), "3 more"]
    assert [one.get_color() for one in drawn(figure.axes[0]).values()] == [*COLOURS, *[GREY] * 3]


def test_many_panels_and_many_settings_stay_legible_and_what_is_left_out_is_said(monkeypatch):
    monkeypatch.setattr(curves, "MOST_PANELS", 2)
    many = {quality: 0.5 for quality in range(1, 101)}
    figure = quality_curves([Panel(f"codec {number}", [line("RN50", many)]) for number in range(3)])
    assert len([axes for axes in figure.axes if axes.get_title()]) == 2
    assert figure.get_supxlabel() == "The first 2 of 3 panels."
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


def test_cards_draw_what_the_panels_draw_and_are_legible_at_230_pixels():
    panel = Panel("jpeg", [line("RN50", {25: 0.4, 50: 0.7, 75: 0.8}, 0.9)], "precision", measured(0.9)[0])
    card, whole = quality_card(panel, "a statement of $one$ figure " * 3), quality_curves([panel])
    rates, whole_rates = rate_card(panel, "rates"), rate_curves([panel])
    for one, other in [(card, whole), (rates, whole_rates)]:
        for drawn_here, drawn_there in zip(one.axes[0].get_lines(), other.axes[0].get_lines(), strict=True):
            np.testing.assert_array_equal(drawn_here.get_xydata(), drawn_there.get_xydata())
        bars, expected = (figure.axes[0].collections[0].get_segments() for figure in (one, other))
        np.testing.assert_array_equal(bars, expected)
        texts = [one._suptitle, *one.axes[0].get_xticklabels(), one.axes[0].xaxis.label]
        assert min(text.get_fontsize() for text in texts) / 72 * 230 / one.get_figwidth() >= 9  # pixels
        assert to_pixels(one).shape[1] == 690
    assert ticks(card.axes[0].xaxis) == ["25", "50", "75", "original"]
    assert card.axes[0].get_ylabel() == "precision"
    assert all(len(row) <= 38 for row in card.get_suptitle().split("\n"))
