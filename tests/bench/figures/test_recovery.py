"""Points of the recovered shares, read back from Matplotlib."""

import pytest

from bench.figures.curves import Measured
from bench.figures.recovery import MOST_ROWS, recovered_shares
from bench.figures.style import to_pixels


def points(axes):
    """Position of each point and triangle: (row, share)."""
    return [(line.get_ydata()[0], line.get_xdata()[0]) for line in axes.lines if line.get_marker() in ("o", "<", ">")]


def intervals(axes):
    return [path.vertices[:, 0].tolist() for lines in axes.collections for path in lines.get_paths()]


def test_points_stand_in_their_row_and_panel_with_their_interval_best_first():
    shares = {
        "$\\bad{$": {"jpeg-50": Measured(0.25, 0.0, 0.5), "webp-50": Measured(float("nan"))},
        "_best": {"jpeg-50": Measured(0.5, 0.25, 0.75), "webp-50": Measured(0.75, 0.5, 1.0)},
        "never tested": {},
    }
    figure = recovered_shares(shares, ["jpeg-50", "webp-50"])
    jpeg, webp = figure.axes
    assert [jpeg.get_title(), webp.get_title()] == ["jpeg-50", "webp-50"]
    assert [label.get_text() for label in jpeg.get_yticklabels()] == ["_best", "$\\bad{$"]
    assert (points(jpeg), intervals(jpeg)) == ([(0, 0.5), (1, 0.25)], [[0.25, 0.75], [0.0, 0.5]])
    assert (points(webp), intervals(webp)) == ([(0, 0.75)], [[0.5, 1.0]])
    assert jpeg.get_ylim() == (1.5, -0.5)  # the first is on top
    assert to_pixels(figure).std() > 10


@pytest.mark.parametrize(
    ("far", "place", "said", "line"),
    [
        (Measured(-2.34, -4.09, -1.51), -0.5, "\N{MINUS SIGN}2.3", []),
        (Measured(-2.34, -4.09, 0.25), -0.5, "\N{MINUS SIGN}2.3", [[-0.5, 0.25]]),
        (Measured(1.75, 0.75, 13.2), 1.5, "1.8", [[0.75, 1.5]]),
    ],
)
def test_a_share_far_from_the_others_leaves_room_for_them_and_shows_its_interval(far, place, said, line):
    shares = {"one": {"jpeg-90": far, "jpeg-25": Measured(0.5, -0.9, 0.6)}}
    figure = recovered_shares(shares, ["jpeg-90", "jpeg-25"])
    cut, kept = figure.axes
    assert points(cut) == [(0, place)]
    assert [text.get_text().strip() for text in cut.texts] == [said]
    assert intervals(cut) == line
    assert intervals(kept) == [[-0.5, 0.6]]
    assert -0.6 < cut.get_xlim()[0] < -0.5
    assert cut.get_xlim()[1] < 1.6
    assert "Intervals are cut at \N{MINUS SIGN}0.5 and 1.5." in figure.get_supxlabel().replace("\n", " ")


def test_of_many_the_best_are_drawn_and_that_is_said():
    views = [f"jpeg-{n}" for n in range(1, 26)]
    shares = {f"{n}": {"jpeg-1": Measured(n / 100)} for n in range(MOST_ROWS + 1)}
    figure = recovered_shares(shares, views)
    assert figure.get_supxlabel().endswith("The first 40 of 41 encoders. The first 24 of 25 views.")
    assert figure.axes[0].get_yticklabels()[-1].get_text() == "1"


def test_nothing_recovered_is_said():
    assert recovered_shares({}, ["jpeg-50"]).texts[0].get_text() == "no share was recovered"
