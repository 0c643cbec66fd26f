"""What the gallery of flips shows."""

import numpy as np
import pytest

from bench.figures.flips import Flip, flip_gallery, largest_change
from bench.figures.style import mark_colour, to_pixels

RED = np.broadcast_to(np.array([255, 0, 0], np.uint8)[:, None, None], (3, 15, 20))
BLUE = RED[::-1]


def images(figure):
    return figure.findobj(lambda artist: hasattr(artist, "pixels"))


def said(figure):
    """Above and below the images, in order; the first is the title."""
    return figure.texts[1:]


def shown(figure, pixels, image):
    """The mean colour of what is drawn where an image lies, and the colour just outside of it."""
    left, bottom, right, top = (round(figure.dpi * side) for side in image.box)
    rows = slice(len(pixels) - top, len(pixels) - bottom)
    return pixels[rows, left:right].mean((0, 1)).tolist(), pixels[rows, right + 1].mean(0).tolist()


def test_pairs_show_both_images_and_whether_each_prediction_is_right():
    flips = [
        Flip(3, RED, BLUE, "$a$", "$a$", "c_d", (0.5, 0.75)),
        Flip(7, RED, BLUE[:, :5], None, "飞" * 50, "c_d", (0.5, float("nan"))),
    ]
    figure = flip_gallery(flips, "$\\bad{$", "2 of 9 predictions changed")
    assert figure.get_suptitle() == "original | $\\bad{$\n2 of 9 predictions changed"
    right, truth, wrong, unknown, number, last, *_ = said(figure)
    assert [text.get_text() for text in (right, truth, wrong)] == ["✓ $a$ 0.50", "#3, true: $a$", "✗ c_d 0.75"]
    assert [text.get_text() for text in (number, last)] == ["#7", "c_d nan"]  # without a label neither right nor wrong
    assert [text.get_color() for text in (right, wrong, unknown)] == [mark_colour(True), mark_colour(False), "black"]
    assert wrong.get_fontweight() == "bold"
    pixels = to_pixels(figure)
    for image, colour in zip(images(figure), ([255, 0, 0], [0, 0, 255]) * 2, strict=True):
        assert shown(figure, pixels, image) == (colour, [255, 255, 255])
    wide, _, _, flat = (np.subtract(image.box[2:], image.box[:2]) for image in images(figure))
    assert [wide[1] / wide[0], flat[1] / flat[0]] == pytest.approx([15 / 20, 5 / 20])


def test_an_image_is_drawn_upright_and_as_it_is():
    rows = np.repeat(np.arange(10, dtype=np.uint8)[None, :, None], 3, axis=0) * np.ones((1, 1, 10), np.uint8)
    figure = flip_gallery([Flip(3, rows, rows, "a", "a", "b", (0.5, 0.75))], "jpeg-50")
    left, bottom, right, top = (round(figure.dpi * side) for side in images(figure)[0].box)
    pixels = to_pixels(figure)
    drawn = pixels[len(pixels) - top : len(pixels) - bottom, (left + right) // 2, 0]
    assert sorted(drawn.tolist()) == drawn.tolist()
    assert set(drawn.tolist()) == set(range(10))


def test_a_photograph_has_what_changed_most_enlarged_below():
    original = np.random.default_rng(0).integers(0, 200, (3, 200, 320), dtype=np.uint8)
    degraded = original.copy()
    degraded[:, 120:170, 30:80] += 50
    degraded[0, 0, 0] = 255
    assert largest_change(original, degraded) == (120, 30, 50)
    figure = flip_gallery([Flip(1, original, degraded, "a", "a", "b", (0.9, 0.8))], "jpeg-5")
    for crop, whole in zip(images(figure)[2:], (original, degraded), strict=True):
        np.testing.assert_array_equal(crop.pixels, whole[:, 120:170, 30:80])


def test_text_is_legible_at_230_pixels():
    figure = flip_gallery([Flip(1, RED, BLUE, "a", "a", "b" * 60, (0.9, 0.8))], "jpeg-5")
    sizes = [text.get_fontsize() for text in said(figure) if not text.get_text().startswith("#")]
    assert min(sizes) / 72 * 230 / figure.get_figwidth() >= 8  # pixels


def test_no_flip_is_said():
    assert flip_gallery([], "jpeg-75").texts[0].get_text() == "jpeg-75: no prediction changed"
