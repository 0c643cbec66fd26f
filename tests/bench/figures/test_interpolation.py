"""Points of the way between two encoders, read back from Matplotlib."""

from bench.figures.interpolation import Step, interpolation_curves
from bench.figures.style import MOST_COLOURS, to_pixels


def test_lines_lead_from_the_star_over_the_measured_precisions():
    steps = [Step(0, 0.9, 0.5), Step(0.5, 0.91, 0.6), Step(1, 0.88, 0.7)]
    figure = interpolation_curves({"$\\bad{$": steps, "_hidden": steps[:1], "empty": []}, "mean precision")
    (axes,) = figure.axes
    line, star, *_ = axes.get_lines()
    assert list(zip(line.get_xdata(), line.get_ydata(), strict=True)) == [(0.9, 0.5), (0.91, 0.6), (0.88, 0.7)]
    assert (star.get_marker(), star.get_xdata(), star.get_ydata()) == ("*", [0.9], [0.5])
    assert [text.get_text() for text in axes.texts] == ["0", "0.5", "1", "0"]
    assert axes.get_ylabel() == "mean precision"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["$\\bad{$", "_hidden"]
    assert figure.get_supxlabel() == "From the star on, alpha of the tuned weights: 0, 0.5, 1."
    assert to_pixels(figure).std() > 10


def test_of_many_lines_the_coloured_are_named_and_the_rest_are_counted():
    figure = interpolation_curves({f"view {n}": [Step(0, 0.9, float("nan"))] for n in range(MOST_COLOURS + 2)}, "")
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [*(f"view {n}" for n in range(MOST_COLOURS)), "2 more"]
    assert not figure.axes[0].texts


def test_nothing_measured_is_said():
    said = interpolation_curves({"empty": []}, "").texts[0].get_text()
    assert said == "nothing was measured between the original and the tuned weights"
