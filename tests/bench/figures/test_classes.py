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
def test_of_many_classes_those_that_lose_most_are_drawn_and_of_many_views_the_first_and_that_is_said(drops):
    rng = np.random.default_rng(0)
    lost = rng.permutation(50) / 50
    lost[7] = np.nan  # not measured, so not the worst
    values = np.repeat(lost[:, None], MOST_VIEWS + 1, axis=1)
    if not drops:  # what is left of different shares in the first view
        values = rng.random(50)[:, None] - values
        values[:, 0] += lost
    names = [f"class {number}" for number in range(50)]
    views = [f"view {number}" for number in range(MOST_VIEWS + 1)]
    figure = class_maps([ClassPanel("", values)], names, views, "", drops=drops)
    written = [text.get_text() for text in figure.axes[0].texts]
    assert written == [names[row] for row in np.argsort(-lost)[:MOST_CLASSES]] + views[:MOST_VIEWS]
    assert cells(figure.axes[0]).shape == (MOST_CLASSES, MOST_VIEWS)
    kind = "lose most" if drops else "fall most from view 0"
    assert figure.get_supxlabel() == f"The 40 of 50 classes that {kind} on average. The first 24 of 25 views."


def test_nothing_measured_is_said():
    assert class_maps([], NAMES, VIEWS, "", drops=True).texts[0].get_text() == "no recall per class was measured"
    blank = class_maps([ClassPanel("", np.full((3, 2), np.nan))], NAMES, VIEWS, "", drops=False)
    assert cells(blank.axes[0]).mask.all()


def test_titles_that_differ_at_their_end_differ_in_the_picture():
    titles = [f"tiny-rn-64 (augment), clean-only control, Augment, seed {seed}" for seed in (0, 1)]
    panels = [ClassPanel(title, np.zeros((3, 2))) for title in titles]
    figure = class_maps(panels, NAMES, VIEWS, "", drops=True)
    assert [axes.get_title().replace("\n", " ") for axes in figure.axes[:2]] == titles
