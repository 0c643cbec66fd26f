"""Cells of confusion matrices, read back from Matplotlib."""

import numpy as np
import pytest

from bench.figures import confusion
from bench.figures.confusion import MOST_CLASSES, confusion_matrices
from bench.figures.style import to_pixels

NAMES = ["$a$ and $b", "c_d", "飞机"]


def test_rows_are_shares_of_the_true_class():
    counts = np.array([[3, 1, 0], [0, 0, 0], [1, 1, 998]])
    figure = confusion_matrices({"original": counts, "$\\bad{$": counts.T}, NAMES)
    first, second, _ = figure.axes
    assert first.get_images()[0].get_array().filled(9).tolist() == [[0.75, 0.25, 0], [9, 9, 9], [0.001, 0.001, 0.998]]
    assert [axes.get_title() for axes in (first, second)] == ["original", "$\\bad{$"]
    assert [text.get_text() for text in first.texts] == ["0.75", "0.25", "1.00"]  # a share below 0.005 would read 0.00
    assert [label.get_text() for label in first.get_yticklabels()][:2] == NAMES[:2]
    assert figure.get_supxlabel().startswith("Rows: true classes; columns: predicted. Blank rows: no image.")
    assert to_pixels(figure).std() > 10


def test_of_many_classes_those_taken_for_one_another_are_drawn_and_of_many_views_the_first(monkeypatch):
    monkeypatch.setattr(confusion, "MOST_VIEWS", 1)
    counts = np.diag(np.full(MOST_CLASSES + 20, 10))
    counts[20:, 20:] += 5 * np.eye(MOST_CLASSES, k=1, dtype=int)
    counts[59, 19] = 2
    counts[:, 3] += 4 - 4 * (np.arange(60) == 3)  # most confusions in all, but none of two classes is frequent
    names = [f"class {number}" for number in range(MOST_CLASSES + 20)]
    figure = confusion_matrices({"original": counts, "jpeg-50": counts}, names)
    assert [axes.get_title() for axes in figure.axes[:-1]] == ["original"]
    assert [text.get_text() for text in figure.axes[0].texts] == 2 * names[20:]
    matrix = figure.axes[0].get_images()[0].get_array()
    assert np.diagonal(matrix)[:-1].tolist() == pytest.approx([10 / 19] * (MOST_CLASSES - 1))
    assert matrix[-1].sum() == pytest.approx(10 / 16)  # what is missing is with classes that are not drawn
    caption = figure.get_supxlabel().replace("\n", " ")
    assert caption.endswith("The 40 of 60 classes of the most frequent confusions. The first 1 of 2 views.")


def test_nothing_measured_is_said():
    assert confusion_matrices({}, NAMES).texts[0].get_text() == "no confusion matrix"
