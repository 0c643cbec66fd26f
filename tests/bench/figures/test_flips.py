"""What the gallery of flips shows."""

import numpy as np

from bench.figures.flips import Flip, flip_gallery, side_by_side
from bench.figures.style import to_pixels

RED = np.broadcast_to(np.array([255, 0, 0], np.uint8)[:, None, None], (3, 15, 250))
BLUE = RED[::-1]


def test_pairs_show_both_images_and_both_predictions():
    flips = [
        Flip(3, RED, BLUE, "$a$", "$a$ and $b", "c_d", (0.5, 0.75)),
        Flip(7, RED, BLUE, None, "飞" * 50, "c_d", (0.5, float("nan"))),
    ]
    figure = flip_gallery(flips, "$\\bad{$")
    assert figure.get_suptitle() == "original | $\\bad{$: predictions that changed"
    first, second = figure.axes
    assert first.get_title() == "#3 true: $a$\n$a$ and $b 0.50 → c_d 0.75"
    assert second.get_title().startswith("#7\n")
    np.testing.assert_array_equal(first.get_images()[0].get_array(), side_by_side(RED, BLUE))
    assert to_pixels(figure).std() > 10


def test_images_of_any_size_become_tiles_side_by_side():
    pair = side_by_side(RED, BLUE[:, :, :15])
    assert pair.shape == (192, 392, 3)
    assert pair[96, 96].tolist() == [255, 0, 0]
    assert pair[0, 96].tolist() == [255, 255, 255]  # a wide image leaves its tile's top free
    assert (pair[:, 200:] == [0, 0, 255]).all()


def test_no_flip_is_said():
    assert flip_gallery([], "jpeg-75").texts[0].get_text() == "jpeg-75: no prediction changed"
