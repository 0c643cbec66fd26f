"""The paper's recipe on pictures small enough to work out by hand."""

import numpy as np
import pytest

from bench.attribution.overlay import threshold
from bench.attribution.paper_overlay import POLARITIES, PaperOverlay, brightness
from datamodules.errors import UserError

RED, GREEN, BLUE = range(3)


def grey(value=100, size=2):
    return np.full((3, size, size), value, dtype=np.uint8)


def signed():
    """One pixel raised the loss by 3, one by 1.5, one lowered it by 6, one did nothing; equal in all channels."""
    return np.stack([np.array([[3.0, 1.5], [-6.0, 0.0]])] * 3)


def test_threshold_is_where_the_largest_values_have_accumulated_the_share():
    values = np.arange(1.0, 101.0).reshape(10, 10)  # total 5050: 1% is 50.5, reached by the largest value alone
    assert threshold(values) == 100
    assert threshold(values, 0.03) == 99  # 151.5 of 100 + 99 = 199
    assert threshold(values, 1.0) == 1


def test_threshold_reached_exactly_is_reached():
    assert threshold(np.array([[4.0, 4.0], [1.0, 1.0]]), 0.4) == 4
    assert threshold(np.array([[4.0, 3.0], [2.0, 1.0]]), 0.7) == 3


def test_brightness_is_linear_from_zero_and_clipped_at_the_threshold():
    side = np.array([[8.0, 4.0], [2.0, 0.0]])
    np.testing.assert_allclose(brightness(side, 0.6), [[1, 1], [0.5, 0]])  # 8 alone is 57%, so 4 is the threshold
    np.testing.assert_allclose(brightness(side), [[1, 0.5], [0.25, 0]])


def test_positive_polarity_is_red_by_the_papers_recipe():
    drawn = PaperOverlay(attribution_weight=0.5).draw(grey(), signed(), "positive")
    assert drawn.dtype == np.uint8
    # 0.7 * 100 + 0.5 * 255 * (1, 0.5, 0, 0), rounded half to even
    assert drawn[RED].tolist() == [[198, 134], [70, 70]]
    assert drawn[GREEN].tolist() == drawn[BLUE].tolist() == [[70, 70], [70, 70]]


def test_negative_polarity_is_green_on_its_own_scale():
    drawn = PaperOverlay(attribution_weight=0.5).draw(grey(), signed(), "negative")
    assert drawn[GREEN].tolist() == [[70, 70], [198, 70]]
    assert (drawn[[RED, BLUE]] == 70).all()


def test_both_polarities_are_the_two_added():
    recipe = PaperOverlay(attribution_weight=0.5)
    both, positive, negative = (recipe.draw(grey(), signed(), p) for p in ("both", "positive", "negative"))
    assert (both.astype(int) - 70 == (positive.astype(int) - 70) + (negative.astype(int) - 70)).all()


def test_default_weights_saturate_at_255():
    drawn = PaperOverlay().draw(grey(255), signed())
    assert drawn[RED, 0].tolist() == [255, 255]
    assert drawn[BLUE].tolist() == [[178, 178], [178, 178]]  # 178.5 to even


def test_channels_are_averaged_after_the_signs_are_split():
    attribution = np.zeros((3, 1, 2))
    attribution[0, 0, 0], attribution[1, 0, 0] = 1.0, -1.0  # would cancel if averaged first
    drawn = PaperOverlay().draw(np.zeros((3, 1, 2), dtype=np.uint8), attribution)
    assert drawn[:, 0, 0].tolist() == [255, 255, 0]
    assert drawn[:, 0, 1].tolist() == [0, 0, 0]


@pytest.mark.parametrize("polarity", POLARITIES)
def test_zero_attribution_is_the_dimmed_image(polarity):
    assert (PaperOverlay().draw(grey(200), np.zeros((3, 2, 2)), polarity) == 140).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_the_empty_side_of_a_single_signed_map_is_the_dimmed_image(sign):
    attribution = sign * np.abs(signed())
    full, empty = ("positive", "negative") if sign > 0 else ("negative", "positive")
    assert (PaperOverlay().draw(grey(), attribution, empty) == 70).all()
    np.testing.assert_array_equal(
        PaperOverlay().draw(grey(), attribution, full), PaperOverlay().draw(grey(), attribution)
    )


def test_scale_of_the_attribution_does_not_matter():
    np.testing.assert_array_equal(PaperOverlay().draw(grey(), signed()), PaperOverlay().draw(grey(), signed() * 1e-9))


def test_released_code_colours_the_other_way_round():
    released = PaperOverlay(raised="green", lowered="red")
    np.testing.assert_array_equal(
        released.draw(grey(), signed()), PaperOverlay().draw(grey(), signed())[[GREEN, RED, BLUE]]
    )
    assert released.legend() == "green: compression raised the loss; red: compression lowered the loss"


def test_caption_says_that_brightness_cannot_be_compared():
    # the second view's attributions are a thousandth of the first's, and are drawn as bright
    pictures = PaperOverlay().layers([grey(), grey()], [signed(), signed() / 1000], 1.0)[2].pictures
    np.testing.assert_array_equal(*pictures)
    assert "cannot be compared between colours or columns" in PaperOverlay().caption()


def test_legend_says_what_each_colour_means():
    assert PaperOverlay().legend("positive") == "red: compression raised the loss"
    assert PaperOverlay().legend("negative") == "green: compression lowered the loss"
    assert PaperOverlay().legend() == "red: compression raised the loss; green: compression lowered the loss"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"image_weight": -1}, "image_weight=-1"),
        ({"attribution_weight": float("nan")}, "attribution_weight=nan"),
        ({"mass": 0}, "mass=0"),
        ({"mass": 1.5}, "mass=1.5"),
        ({"raised": "pink"}, "raised='pink'"),
        ({"raised": "green"}, "two different colours"),
    ],
)
def test_an_option_out_of_range_is_a_users_mistake(options, says):
    with pytest.raises(UserError, match=says):
        PaperOverlay(**options)


def test_wrong_pictures_are_refused():
    with pytest.raises(ValueError, match="uint8"):
        PaperOverlay().draw(np.zeros((3, 2, 2)), np.zeros((3, 2, 2)))
    with pytest.raises(ValueError, match="uint8"):
        PaperOverlay().draw(grey(), np.zeros((3, 2, 3)))
    with pytest.raises(ValueError, match="undefined"):
        PaperOverlay().draw(grey(), np.full((3, 2, 2), np.nan))
    with pytest.raises(UserError, match="polarity 'neutral'"):
        PaperOverlay().draw(grey(), signed(), "neutral")
