"""Curves of repair: read back from the picture."""

from bench.figures.repair import MOST_MAPS, repair_curves

CURVES = {"IG": ([3.0, 1.0, 0.5], [3.0, 3.5, 0.5]), "|error|": ([3.0, 2.0, 0.5], [3.0, 2.0, 0.5])}


def test_each_map_has_its_panel_with_both_curves_on_one_scale():
    figure = repair_curves(CURVES)
    for axes, (name, curves) in zip(figure.axes, CURVES.items(), strict=False):
        assert axes.get_title() == name
        assert [line.get_ydata().tolist() for line in axes.get_lines()] == [list(curve) for curve in curves]
        assert axes.get_lines()[0].get_xdata().tolist() == [0, 50, 100]
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["most first", "least first"]


def test_says_what_is_left_out_and_that_there_is_nothing():
    many = repair_curves({f"map {number}": CURVES["IG"] for number in range(MOST_MAPS + 1)})
    assert sum(axes.get_title() != "" for axes in many.axes) == MOST_MAPS
    assert any("first 12 of 13 maps" in text.get_text() for text in many.texts)
    assert any("no image" in text.get_text() for text in repair_curves({}).texts)
