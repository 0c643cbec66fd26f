"""What is where on the picture of one image."""

import numpy as np
import pytest

from bench.attribution.overlay import POLARITIES, Overlay
from bench.figures import attributions
from bench.figures.attributions import AttributedView, attribution_picture
from bench.figures.style import to_pixels

BREED = "a dog of a breed with a name far too long for any title of a column"


@pytest.fixture(scope="module")
def picture():
    """Views original, jpeg-100 (the baseline) and jpeg-25; gives the figure, the images and the one map."""
    rng = np.random.default_rng(0)
    images = {view: rng.integers(0, 256, (3, 8, 8), dtype=np.uint8) for view in ("original", "jpeg-100", "jpeg-25")}
    attribution = rng.normal(size=(3, 8, 8)).astype(np.float32)
    views = [AttributedView(view, image, BREED, 0.25) for view, image in images.items()]
    views[2] = AttributedView("jpeg-25", images["jpeg-25"], BREED, 0.25, -0.5, attribution)
    return attribution_picture("image 7, true class: a $cat$", views, Overlay(), "jpeg-100"), images, attribution


def test_first_row_shows_the_views_and_the_others_one_polarity_each(picture):
    figure, images, attribution = picture
    grid = np.array(figure.axes).reshape(4, 3)
    for axes, image in zip(grid[0], images.values(), strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), image.transpose(1, 2, 0))
    for axes, polarity in zip(grid[1:, 2], POLARITIES, strict=True):
        expected = Overlay().draw(images["jpeg-25"], attribution, polarity).transpose(1, 2, 0)
        np.testing.assert_array_equal(axes.images[0].get_array(), expected)
    assert not any(axes.images for axes in grid[1:, :2].flat)


def test_baselines_column_says_what_the_colours_mean(picture):
    figure, _, _ = picture
    said = ["\n".join(text.get_text() for text in axes.texts) for axes in np.array(figure.axes).reshape(4, 3)[1:, 1]]
    assert [text.split("\n")[0] for text in said] == list(POLARITIES)
    raised, lowered = "red:\ncompression raised the loss", "green:\ncompression lowered the loss"
    assert [(raised in text, lowered in text) for text in said] == [(False, True), (True, False), (True, True)]


def test_titles_hold_prediction_score_and_sum(picture):
    figure, _, _ = picture
    title = figure.axes[2].get_title().split("\n")
    assert title[0] == "jpeg-25"
    assert title[1].startswith("predicted: a dog of a breed")
    assert len(title[1]) <= 40
    assert title[2:] == ["score 0.2500", "IG -0.5000"]
    assert "IG" not in figure.axes[1].get_title()
    assert figure.get_suptitle() == "image 7, true class: a $cat$"
    assert to_pixels(figure).std() > 10


def test_a_map_that_is_not_finite_is_said_and_so_is_a_view_too_many(monkeypatch):
    monkeypatch.setattr(attributions, "MOST_VIEWS", 1)
    image = np.zeros((3, 2, 2), np.uint8)
    broken = AttributedView("$\\bad{$", image, "飞机", float("nan"), float("nan"), np.full((3, 2, 2), np.nan))
    figure = attribution_picture("", [broken] * 2, Overlay(), "original")
    assert len(figure.axes) == 4
    assert [text.get_text() for text in figure.axes[1].texts] == ["the attribution\nis not finite"]
    assert "The first 1 of 2 views." in figure.get_supxlabel().replace("\n", " ")
    assert attribution_picture("image 7", [], Overlay(), "original").texts[0].get_text() == "image 7: no view"
