"""What a picture of an attribution looks like has the sign of its sum."""

import numpy as np
import pytest

from bench.attribution.overlay import LOWERED, RAISED, SignedOverlay, shared_end, smoothing, threshold
from bench.attribution.paper_overlay import PaperOverlay
from datamodules.errors import UserError

SIDE = 64


def photo(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (3, SIDE, SIDE), dtype=np.uint8)


def balance(picture):
    """What the colours of a picture sum to, in units of a pixel of full colour; its grey counts nothing."""
    red, _, blue = picture.astype(int)
    return (red - blue).sum() / 255


def specks(total, mass, seed=0, tail=1.0):
    """A map of heavy-tailed pixels whose sum and mass, in nats, are the given ones."""
    drawn = np.random.default_rng(seed)
    sizes = drawn.lognormal(sigma=tail, size=SIDE * SIDE)
    raised = drawn.random(SIDE * SIDE) < 0.5
    values = np.where(raised, sizes / sizes[raised].sum(), 0) * (mass + total) / 2
    values -= np.where(raised, 0, sizes / sizes[~raised].sum()) * (mass - total) / 2
    return np.stack([values.reshape(SIDE, SIDE) / 3] * 3)


def one_against_many():
    """One pixel raised the loss by 10, all others lowered it by 9 together: cut off at 1% of the mass it is blue."""
    values = np.full((SIDE, SIDE), -9 / (SIDE**2 - 1))
    values[:32, 0] += 10 / 32
    return np.stack([values / 3] * 3)


def one_that_decides():
    """Without its strongest pixel, 0.95% of a mass of 200, the sum of +0.5 would be -1.4."""
    attribution = specks(-1.4, 198.1, seed=3, tail=0.3)
    attribution[:, 0, 0] += 1.9 / 3
    return attribution


MAPS = {
    "+14.5 of +102.8 and -88.3": specks(14.5, 191.1),
    "-14.5 of +88.3 and -102.8": specks(-14.5, 191.1, seed=1),
    "a heavy tail": specks(14.5, 191.1, seed=2, tail=2.5),
    "a few against many": one_against_many(),
    "many against a few": -one_against_many(),
    "one that decides": one_that_decides(),
    "one sign": np.abs(specks(1.0, 2.0)),
}


@pytest.mark.parametrize("name", MAPS)
def test_colours_of_the_drawn_pixels_sum_to_the_sign_of_the_number(name):
    attribution = MAPS[name]
    for layer in SignedOverlay().layers([photo()], [attribution], 4.0):
        assert np.sign(balance(layer.pictures[0])) == np.sign(attribution.sum())


def test_views_of_one_scale_keep_their_signs_and_their_order():
    totals = [-20.0, -1.0, 2.5, 14.5]
    maps = [specks(total, 12 * abs(total), seed) for seed, total in enumerate(totals)]
    for layer in SignedOverlay().layers([photo(seed) for seed in range(4)], maps, 4.0):
        drawn = [balance(picture) * layer.end for picture in layer.pictures]
        assert np.sign(drawn).tolist() == np.sign(totals).tolist()
        assert drawn == sorted(drawn)


def test_the_papers_recipe_can_contradict_its_number():
    """Raised by few strong pixels, lowered by many weak ones: green prevails though the loss rose."""
    raised, green, _ = PaperOverlay().draw(np.zeros((3, SIDE, SIDE), np.uint8), one_against_many()).astype(int)
    assert one_against_many().sum() > 0 > (raised - green).sum()


def test_scale_ends_where_the_strongest_pixels_of_all_views_hold_the_share():
    weak, strong = np.full((2, 2), 1.0), np.array([[96.0, 0.0], [0.0, 0.0]])
    assert shared_end([weak, strong], 0.96) == 96
    assert shared_end([weak, strong], 0.97) == 1
    assert shared_end([strong, -weak], 0.97) == 1  # both keep their signs
    decided = one_that_decides().sum(0)
    assert decided.clip(-threshold(np.abs(decided)), threshold(np.abs(decided))).sum() < 0 < decided.sum()
    assert decided.clip(-shared_end([decided]), shared_end([decided])).sum() > 0
    opposed = np.array([[4.0, -1.0], [-1.0, -1.0]])  # sums to 1; cut off at 1 it would sum to -2
    assert threshold(np.abs(opposed), 0.9) == 1
    assert 3 < shared_end([opposed], 0.9) <= 4
    assert shared_end([np.zeros((2, 2))]) == shared_end([]) == 0


def test_pixels_are_between_grey_and_the_colour_of_their_sign():
    values = np.array([[3.0, 1.5], [-3.0, 0.0]])
    (layer, _) = SignedOverlay(grey=0.5).layers([np.full((3, 2, 2), 100, np.uint8)], [np.stack([values / 3] * 3)], 1.0)
    (drawn,) = layer.pictures
    assert layer.end == pytest.approx(3)
    assert drawn[:, 0, 0].tolist() == list(RAISED)
    assert drawn[:, 1, 0].tolist() == list(LOWERED)
    assert drawn[:, 0, 1].tolist() == [152, 78, 25]  # half of 50 and half of the colour, to even
    assert drawn[:, 1, 1].tolist() == [50, 50, 50]


def test_channels_of_a_pixel_are_added_up():
    cancelled = np.zeros((3, 1, 2))
    cancelled[:, 0, 0], cancelled[0, 0, 1] = [1.0, -0.5, -0.5], 1.0
    drawn = SignedOverlay().draw(np.zeros((3, 1, 2), np.uint8), cancelled)
    assert drawn[:, 0, 0].tolist() == [0, 0, 0]
    assert drawn[:, 0, 1].tolist() == list(RAISED)


def test_both_colours_are_equally_bright_and_cancel():
    def luminance(colour):  # of sRGB, IEC 61966-2-1
        linear = [((part / 255 + 0.055) / 1.055) ** 2.4 if part > 10 else 0 for part in colour]
        return np.dot([0.2126, 0.7152, 0.0722], linear)

    assert luminance(RAISED) == pytest.approx(luminance(LOWERED), rel=0.02)
    assert RAISED[0] - RAISED[2] == LOWERED[2] - LOWERED[0] == 255


def test_smoothing_keeps_the_sum_at_every_edge():
    corner = np.zeros((3, SIDE, SIDE))
    corner[0, 0, 0] = 7.0
    _, smoothed = SignedOverlay(mass=1e-9).layers([np.zeros((3, SIDE, SIDE), np.uint8)], [corner], 6.0)
    # the end is the strongest pixel, so that nothing is cut off; rounding to 8 bits is what remains
    assert balance(smoothed.pictures[0]) * smoothed.end == pytest.approx(7.0, rel=0.01)
    assert "sigma 6 pixels" in smoothed.name


def test_sigma_is_half_a_patch_and_never_wider_than_that_of_vit_b_32():
    assert smoothing(224, 14) == 7  # ViT-L/14
    assert smoothing(288, 32) == 16  # RN50x4
    assert smoothing(64, 32) == pytest.approx(64 / 14)  # the demo's ResNet
    assert smoothing(224, None) == 8


def test_a_map_of_zeros_is_the_grey_image_without_a_scale():
    for layer in SignedOverlay(grey=0.5).layers([np.full((3, 2, 2), 200, np.uint8)], [np.zeros((3, 2, 2))], 1.0):
        assert layer.end == 0
        assert (layer.pictures[0] == 100).all()


@pytest.mark.parametrize(("options", "says"), [({"mass": 0}, "mass=0"), ({"grey": 1.5}, "grey=1.5")])
def test_an_option_out_of_range_is_a_users_mistake(options, says):
    with pytest.raises(UserError, match=says):
        SignedOverlay(**options)


def test_wrong_maps_are_refused():
    with pytest.raises(ValueError, match="uint8"):
        SignedOverlay().draw(photo(), np.zeros((3, 2, 2)))
    with pytest.raises(ValueError, match="undefined"):
        SignedOverlay().draw(photo(), np.full((3, SIDE, SIDE), np.inf))
