"""Cells of the heat maps of classes, read back from Matplotlib."""

import numpy as np
import pytest

from bench.figures.classes import MOST_CLASSES, MOST_VIEWS, ClassPanel, class_maps
from bench.figures.style import to_pixels

NAMES = ["$\\bad{$", "c_d", "飞机"]
VIEWS = ["jpeg-50", "$x"]


def cells(axes):
    return axes.get_images()[0].get_array()


def test_drops_are_drawn_class_by_view_with_their_numbers_and_gaps():
    values = np.array([[40, np.nan], [-20, 0.0], [50, 12.3]])
    figure = class_maps([ClassPanel("RN50", values), ClassPanel("RN101", values / 2)], NAMES, VIEWS, "drop", drops=True)
    first, second, bar = figure.axes
    assert cells(first).filled(9).tolist() == [[40, 9], [-20, 0], [50, 12.3]]
    assert cells(second).filled(9)[2].tolist() == [25, 6.15]
    assert first.get_images()[0].get_clim() == second.get_images()[0].get_clim() == (-50, 50)
    assert [text.get_text() for text in first.texts] == ["40.0", "-20.0", "0.0", "50.0", "12.3"]
    assert [label.get_text() for label in first.get_xticklabels()] == VIEWS
    assert [label.get_text() for label in first.get_yticklabels()][:2] == NAMES[:2]
    assert bar.get_ylabel() == "drop"
    assert figure.get_supxlabel().startswith("Blank cells: not measured.")
    assert to_pixels(figure).std() > 10


@pytest.mark.parametrize("drops", [True, False])
def test_of_many_classes_the_worst_are_drawn_and_of_many_views_the_first_and_that_is_said(drops):
    rng = np.random.default_rng(0)
    values = rng.permutation(50)[:, None] / 50 + np.zeros((50, MOST_VIEWS + 1))
    values[7] = np.nan  # not measured, so not the worst
    names = [f"class {number}" for number in range(50)]
    figure = class_maps([ClassPanel("", values)], names, ["view"] * (MOST_VIEWS + 1), "", drops=drops)
    expected = np.argsort(np.where(np.isnan(values[:, 0]), np.inf, -values[:, 0] if drops else values[:, 0]))
    named = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert named == [names[row] for row in expected[:MOST_CLASSES]]
    assert cells(figure.axes[0]).shape == (MOST_CLASSES, MOST_VIEWS)
    kind = "largest drops" if drops else "smallest shares"
    assert figure.get_supxlabel() == f"The 40 of 50 classes of the {kind} on average. The first 24 of 25 views."
    assert not figure.axes[0].texts


def test_nothing_measured_is_said():
    assert class_maps([], NAMES, VIEWS, "", drops=True).texts[0].get_text() == "no recall per class was measured"
    blank = class_maps([ClassPanel("", np.full((3, 2), np.nan))], NAMES, VIEWS, "", drops=False)
    assert cells(blank.axes[0]).mask.all()
