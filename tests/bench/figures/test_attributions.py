"""What is where on the pictures of one image."""

import numpy as np
import pytest

from bench.attribution.overlay import SignedOverlay
from bench.attribution.paper_overlay import PaperOverlay
from bench.figures import attributions
from bench.figures.attributions import AttributedView, attribution_cards, attribution_picture
from bench.figures.style import to_pixels

BREED = "a dog of a breed with a name far too long for any title of a column"
VIEWS = ("original", "jpeg-100", "jpeg-25")
SIGMA = 1.5


@pytest.fixture(scope="module")
def views():
    """Views original, jpeg-100 (the baseline) and jpeg-25, which alone has a map and is classified wrong."""
    rng = np.random.default_rng(0)
    images = {view: rng.integers(0, 256, (3, 8, 8), dtype=np.uint8) for view in VIEWS}
    attribution = rng.normal(size=(3, 8, 8)).astype(np.float32)
    columns = [AttributedView(view, image, "cat", True, 0.25) for view, image in images.items()]
    total = float(attribution.sum())
    columns[2] = AttributedView("jpeg-25", images["jpeg-25"], BREED, False, 0.25, total, attribution)
    return columns


@pytest.fixture(scope="module")
def figure(views):
    return attribution_picture("image 7, true class: a $cat$", views, SignedOverlay(), "jpeg-100", SIGMA)


def grid(figure, rows):
    return np.array(figure.axes[: 3 * rows]).reshape(rows, 3)


@pytest.mark.parametrize("overlay", [SignedOverlay(), PaperOverlay()])
def test_first_row_shows_the_views_and_the_others_a_layer_each(views, overlay):
    figure = attribution_picture("", views, overlay, "jpeg-100", SIGMA)
    layers = overlay.layers([views[2].image], [views[2].attribution], SIGMA)
    tiles = grid(figure, 1 + len(layers))
    for axes, view in zip(tiles[0], views, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), view.image.transpose(1, 2, 0))
    for axes, layer in zip(tiles[1:, 2], layers, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), layer.pictures[0].transpose(1, 2, 0))
    assert not any(axes.images for axes in tiles[1:, :2].flat)
    for axes, layer in zip(tiles[1:, 1], layers, strict=True):
        assert layer.meaning.replace("; ", "\n\n").replace(": ", ":\n") in axes.texts[0].get_text()
    assert " ".join(figure.get_supxlabel().split()).endswith(overlay.caption())


def test_every_layer_has_a_colour_bar_in_nats_that_ends_with_its_scale(views, figure):
    layers = SignedOverlay().layers([views[2].image], [views[2].attribution], SIGMA)
    bars = [child for axes in grid(figure, 3)[1:, 2] for child in axes.child_axes]
    assert [bar.get_ylabel() for bar in bars] == ["nats per pixel"] * 2
    assert [bar.get_ylim() for bar in bars] == [pytest.approx((-layer.end, layer.end)) for layer in layers]


def test_titles_say_raised_lowered_and_sum_and_what_is_wrong_stands_out_without_its_colour(views, figure):
    right, wrong = figure.axes[1], figure.axes[2]
    lines = wrong.get_title().split("\n")
    signed = views[2].attribution.astype(np.float64).sum(0)
    assert lines[0] == "jpeg-25"
    assert lines[1].startswith("✗ predicted: a dog of a breed")
    assert len(lines[1]) <= 40
    assert lines[2:4] == ["score 0.2500", f"sum {signed.sum():+.4f} nats"]
    assert lines[4] == f"raised {signed[signed > 0].sum():+.2f}, lowered {signed[signed < 0].sum():+.2f}"
    assert right.get_title().split("\n") == ["jpeg-100", "✓ predicted: cat", "score 0.2500"]
    assert [axes.title.get_fontweight() for axes in (right, wrong)] == ["normal", "bold"]
    assert [axes.spines["left"].get_visible() for axes in (right, wrong)] == [False, True]
    assert figure.get_suptitle() == "image 7, true class: a $cat$"
    assert to_pixels(figure).std() > 10


def test_cards_have_the_scales_of_the_whole_picture_and_are_legible_at_230_pixels(views):
    strong = AttributedView("jpeg-10", views[2].image, "cat", True, 0.5, 1.0, 3 * views[2].attribution)
    cards = dict(attribution_cards("image 7", [*views, strong], SignedOverlay(), "jpeg-100", SIGMA))
    assert list(cards) == ["jpeg-25", "jpeg-10"]
    layers = SignedOverlay().layers([views[2].image] * 2, [views[2].attribution, strong.attribution], SIGMA)
    for place, card in enumerate(cards.values()):
        shown = [axes.images[0].get_array() for axes in card.axes]
        np.testing.assert_array_equal(shown[0], views[1].image.transpose(1, 2, 0))
        for picture, layer in zip(shown[2:], layers, strict=True):
            np.testing.assert_array_equal(picture, layer.pictures[place].transpose(1, 2, 0))
        smallest = min(text.get_fontsize() for text in [card._suptitle, *(axes.title for axes in card.axes)])
        assert smallest / 72 * 230 / card.get_figwidth() >= 7  # pixels
    title = cards["jpeg-25"].get_suptitle().split("\n")
    assert title[0] == "image 7, jpeg-25:"
    assert title[1].startswith("✗ a dog of a breed")
    assert title[2].startswith(f"{views[2].total:+.1f} nats = +")


def test_a_map_that_is_not_finite_is_said_and_so_is_a_view_too_many(monkeypatch):
    monkeypatch.setattr(attributions, "MOST_VIEWS", 1)
    image = np.zeros((3, 2, 2), np.uint8)
    broken = AttributedView("$\\bad{$", image, "飞机", False, float("nan"), float("nan"), np.full((3, 2, 2), np.nan))
    figure = attribution_picture("", [broken] * 2, SignedOverlay(), "original", SIGMA)
    assert len(figure.axes) == 3
    assert [text.get_text() for text in figure.axes[1].texts] == ["the attribution\nis not finite"]
    assert "The first 1 of 2 views." in figure.get_supxlabel().replace("\n", " ")
    assert list(attribution_cards("", [broken], SignedOverlay(), "original", SIGMA)) == []
    nothing = attribution_picture("image 7", [], SignedOverlay(), "original", SIGMA)
    assert nothing.texts[0].get_text() == "image 7: no view"


def test_many_views_stand_in_blocks_below_each_other(views, monkeypatch):
    monkeypatch.setattr(attributions, "_MOST_ACROSS", 2)
    figure = attribution_picture("", views, SignedOverlay(), "jpeg-100", SIGMA)
    tiles = np.array(figure.axes[:12]).reshape(2, 3, 2)  # blocks, rows, columns
    names = [[axes.get_title().split("\n")[0] for axes in block[0]] for block in tiles]
    assert names == [["original", "jpeg-100"], ["jpeg-25", ""]]
    assert [len(axes.images) for axes in tiles[1, :, 0]] == [1, 1, 1]
    assert not any(axes.axison for axes in tiles[1, :, 1])
    bars = [[len(axes.child_axes) for axes in block[:, 1]] for block in tiles]
    assert bars == [[0, 1, 1], [0, 1, 1]]
