"""What stands on a card of changes."""

from bench.figures.ranking import Change, ranking_card
from bench.figures.style import to_pixels


def test_card_draws_a_ring_before_and_a_dot_after():
    figure = ranking_card("$a$ statement", [Change("$x", 0.75, 0.25), Change("飞", 0.5, 0.125)], "recall")
    (axes,) = figure.axes
    places = [collection.get_offsets().tolist() for collection in axes.collections]
    assert places == [[[0.75, 0]], [[0.25, 0]], [[0.5, -1]], [[0.125, -1]]]
    assert axes.texts[0].get_text() == "$x"
    assert figure.get_suptitle() == "$a$ statement"
    assert to_pixels(figure).shape[1] == 690
