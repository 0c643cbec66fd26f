"""What the gallery of flips shows."""

import numpy as np

from bench.figures.flips import Flip, flip_gallery, largest_change
from bench.figures.style import mark_colour, to_pixels

RED = np.broadcast_to(np.array([255, 0, 0], np.uint8)[:, None, None], (3, 15, 20))
BLUE = RED[::-1]


def titles(figure):
    return [axes.get_title() for axes in figure.axes]


def test_pairs_show_both_images_and_whether_each_prediction_is_right():
    flips = [
        Flip(3, RED, BLUE, "$a$", "$a$", "c_d", (0.5, 0.75)),
        Flip(7, RED, BLUE[:, :5], None, "飞" * 50, "c_d", (0.5, float("nan"))),
    ]
    figure = flip_gallery(flips, "$\\bad{$", "2 of 9 predictions changed")
    assert figure.get_suptitle() == "original | $\\bad{$\n2 of 9 predictions changed"
    assert titles(figure)[:2] == ["✓ $a$ 0.50", "✗ c_d 0.75"]
    assert titles(figure)[3] == "c_d nan"  # without a label neither right nor wrong
    right, wrong, unknown, _ = (axes.title for axes in figure.axes)
    assert [one.get_color() for one in (right, wrong, unknown)] == [mark_colour(True), mark_colour(False), "black"]
    assert wrong.get_fontweight() == "bold"
    assert [text.get_text() for text in figure.axes[0].texts] == ["#3, true: $a$"]
    for axes, pixels in zip(figure.axes, (RED, BLUE, RED, BLUE[:, :5]), strict=True):
        np.testing.assert_array_equal(axes.get_images()[0].get_array(), pixels.transpose(1, 2, 0))
    assert to_pixels(figure).std() > 10


def test_a_photograph_has_what_changed_most_enlarged_below():
    original = np.random.default_rng(0).integers(0, 200, (3, 200, 320), dtype=np.uint8)
    degraded = original.copy()
    degraded[:, 120:170, 30:80] += 50
    degraded[0, 0, 0] = 255
    assert largest_change(original, degraded) == (120, 30, 50)
    figure = flip_gallery([Flip(1, original, degraded, "a", "a", "b", (0.9, 0.8))], "jpeg-5")
    crops = [axes.get_images()[0].get_array() for axes in figure.axes[2:]]
    for crop, whole in zip(crops, (original, degraded), strict=True):
        np.testing.assert_array_equal(crop, whole[:, 120:170, 30:80].transpose(1, 2, 0))


def test_text_is_legible_at_230_pixels():
    figure = flip_gallery([Flip(1, RED, BLUE, "a", "a", "b" * 60, (0.9, 0.8))], "jpeg-5")
    sizes = [axes.title.get_fontsize() for axes in figure.axes]
    assert min(sizes) / 72 * 230 / figure.get_figwidth() >= 8  # pixels


def test_no_flip_is_said():
    assert flip_gallery([], "jpeg-75").texts[0].get_text() == "jpeg-75: no prediction changed"
