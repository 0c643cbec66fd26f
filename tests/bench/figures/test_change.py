"""Attributions before and after tuning, read back from Matplotlib."""

import numpy as np

from bench.figures.change import Change, change_scatter
from bench.figures.style import to_pixels


def test_each_encoder_has_a_name_of_its_own_within_the_picture():
    labels = [
        f"small-vit-64 (consistency), Consistency, LoRA, trained_parameters 79872, seed {seed}" for seed in range(6)
    ]
    values = np.arange(3.0)
    figure = change_scatter([Change(label, "jpeg-25", "IG", values, values / 2) for label in labels])
    (axes,) = figure.axes
    assert [points.get_offsets()[2].tolist() for points in axes.collections] == [[2.0, 1.0]] * 6
    assert [text.get_text().replace("\n", " ") for text in figure.legends[0].get_texts()] == labels
    to_pixels(figure)
    box, page = figure.legends[0].get_window_extent(), figure.bbox
    assert page.x0 <= box.x0
    assert box.x1 <= page.x1
