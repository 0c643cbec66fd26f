"""Bars of the recovered shares, read back from Matplotlib."""

import pytest

from bench.figures.curves import Measured
from bench.figures.recovery import recovered_shares
from bench.figures.style import MOST_COLOURS, to_pixels


def test_bars_stand_at_their_view_with_their_interval():
    shares = {
        "$\\bad{$": {"jpeg-50": Measured(0.5, 0.25, 0.75), "webp-50": Measured(float("nan"))},
        "_hidden": {"webp-50": Measured(-0.25, -0.5, 0.0)},
    }
    figure = recovered_shares(shares, ["jpeg-50", "webp-50"])
    (axes,) = figure.axes
    first, second = axes.patches
    assert (first.get_x() + first.get_width() / 2, first.get_height()) == (pytest.approx(-0.2), 0.5)
    assert (second.get_x() + second.get_width() / 2, second.get_height()) == (pytest.approx(1.2), -0.25)
    ends = [path.vertices[:, 1].tolist() for bars in axes.collections for path in bars.get_paths()]
    assert ends == [[0.25, 0.75], [-0.5, 0.0]]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["jpeg-50", "webp-50"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["$\\bad{$", "_hidden"]
    assert to_pixels(figure).std() > 10


def test_a_share_far_below_nothing_leaves_room_for_the_others():
    shares = {"one": {"jpeg-90": Measured(-2.34, -4.09, -1.51), "jpeg-25": Measured(0.5, 0.4, 0.6)}}
    (axes,) = recovered_shares(shares, ["jpeg-90", "jpeg-25"]).axes
    assert axes.get_ylim()[0] == -1
    assert [(text.get_position()[1], text.get_text()) for text in axes.texts] == [(-1, "−2.3")]


def test_of_many_the_first_are_drawn_and_that_is_said():
    figure = recovered_shares({f"{n}": {} for n in range(MOST_COLOURS + 1)}, [f"jpeg-{n}" for n in range(1, 26)])
    assert figure.get_supxlabel() == "The first 9 of 10 encoders. The first 24 of 25 views."


def test_nothing_recovered_is_said():
    assert recovered_shares({}, ["jpeg-50"]).texts[0].get_text() == "no share was recovered"
