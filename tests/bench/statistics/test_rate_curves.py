"""Curves worked by hand, and numpy.interp."""

import numpy as np
import pytest

from bench.statistics.rate_curves import (
    codec_curves,
    common_range,
    crossing,
    crossing_interval,
    images_of,
    least_x_under,
    mean_on_range,
)

X = np.array([0.0, 1.0, 3.0])
Y = np.array([0.2, 0.6, 0.8])


@pytest.mark.parametrize(
    ("low", "high", "mean"),
    [
        (0, 1, 0.4),
        (0, 3, (0.4 + 2 * 0.7) / 3),
        (0.5, 2, (0.5 * 0.5 + 1 * 0.65) / 1.5),
        (2, 3, 0.75),
    ],
)
def test_mean_on_a_range_equals_the_area_worked_by_hand(low, high, mean):
    assert mean_on_range(X, Y, np.array(low), np.array(high)) == pytest.approx(mean)
    assert mean_on_range(X[::-1], Y[::-1], np.array(low), np.array(high)) == pytest.approx(mean)


def test_mean_equals_a_fine_sum_over_numpys_interpolation():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 4, (5, 7)), rng.uniform(0, 1, (5, 7))
    low, high = x.min(1) + 0.1, x.max(1) - 0.1
    for row, found in enumerate(mean_on_range(x, y, low, high)):
        order = np.argsort(x[row])
        places = np.linspace(low[row], high[row], 400_001)
        assert found == pytest.approx(np.interp(places, x[row][order], y[row][order]).mean(), abs=1e-5)


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (2, 4), (1, 1), (2, 1)])
def test_beyond_its_points_a_curve_has_no_mean(low, high):
    assert np.isnan(mean_on_range(X, Y, np.array(low), np.array(high)))


def test_settings_of_equal_size_do_not_break_a_curve():
    x, y = np.array([0.0, 1.0, 1.0, 2.0]), np.array([0.0, 0.0, 1.0, 1.0])
    assert mean_on_range(x, y, np.array(0.0), np.array(2.0)) == pytest.approx(0.5)


def test_a_common_range_is_that_of_the_shortest_overlap_and_may_be_empty():
    low, high = common_range([np.array([0.0, 5.0]), np.array([4.0, 2.0, 3.0])])
    assert (low, high) == (2, 4)
    low, high = common_range([np.array([0.0, 1.0]), np.array([2.0, 3.0])])
    assert low > high
    assert np.isnan(mean_on_range(np.array([0.0, 1.0]), np.ones(2), low, high))


@pytest.mark.parametrize(
    ("drops", "limit", "place"),
    [
        ([0.5, 0.3, 0.1], 0.2, 2),  # half-way between 1 and 3
        ([0.5, 0.3, 0.1], 0.3, 1),  # reached at a setting
        ([0.5, 0.3, 0.1], 0.1, np.inf),  # reached at the largest
        ([0.5, 0.3, 0.1], 0.6, -np.inf),  # never
        ([0.1, 0.3, 0.1], 0.2, 2),  # under the limit again further down, which does not count
        ([0.3, 0.1, 0.3], 0.2, np.inf),  # the largest is over, whatever is below it
    ],
)
def test_where_a_drop_reaches_its_limit_coming_from_the_largest(drops, limit, place):
    assert least_x_under(X, np.array(drops), limit) == pytest.approx(place)


def test_one_setting_is_above_or_below_the_limit_and_has_no_mean():
    one = np.array([1.0])
    assert least_x_under(one, np.array([0.1]), 0.2) == -np.inf
    assert least_x_under(one, np.array([0.3]), 0.2) == np.inf
    assert np.isnan(mean_on_range(one, one, np.array(1.0), np.array(1.0)))


@pytest.mark.parametrize(
    ("drops", "place"),
    [
        ([9, 5, 1, 0], 1.75),  # one crossing: that of the line
        ([9, 0, 3, 0, 0], 7 / 9),  # 0 and 3 pool to 3/2
        ([3, 3, 3, 3], np.inf),
        ([1, 1, 3, 0], -np.inf),  # 1, 1 and 3 pool to 5/3, which is under the limit
        ([9, 9, 0, 2], 1 + 7 / 9),  # 0 and 2 pool to 1: the largest is no reason to say "above all settings"
    ],
)
def test_noise_on_a_flat_curve_is_no_crossing(drops, place):
    assert crossing(np.arange(float(len(drops))), np.array(drops, dtype=float), 2.0) == pytest.approx(place)


def test_rows_are_treated_one_by_one():
    drops = np.array([[0.5, 0.3, 0.1], [0.3, 0.1, 0.3], [0.1, 0.1, 0.1]])
    x = np.stack([X, X, X])
    assert least_x_under(x, drops, 0.2).tolist() == pytest.approx([2, np.inf, -np.inf])


def test_curves_are_those_of_the_last_codec_and_of_views_that_are_specifications():
    bits = {
        "jpeg-75-x5": 3.0,
        "resize-0.5+webp-50": 0.5,
        "webp-50": 1.0,
        "webp-10": 0.3,
        "jp2-psnr-30": 2.0,
        "odd": 1.0,
    }
    assert codec_curves(bits | {"jpeg-50+blur-1": 1.0, "webp-lossless": 9.0}) == {
        "webp": ["webp-10", "webp-50"],
        "resize-0.5+webp": ["resize-0.5+webp-50"],
        "jp2-psnr": ["jp2-psnr-30"],
        "jpeg-x5": ["jpeg-75-x5"],
    }


@pytest.mark.parametrize("points", [0.1, 0.3, 0.7, 1, 1.1, 2.3, 5])
def test_a_drop_of_just_the_limit_is_one_at_every_precision(points):
    n = 10_000
    limit = images_of(points, n)
    assert limit == round(points * 100)
    original = np.arange(3_000, n, 7, dtype=np.float64)
    drops = np.stack([original - (original - limit), original - (original - limit + 1)], axis=-1)
    # the larger setting is one image under the limit: the crossing is exactly at the smaller one, which is just at it
    x = np.broadcast_to([1.0, 2.0], drops.shape)
    assert (least_x_under(x, drops, limit) == 1).all()
    assert (least_x_under(-x, drops, limit) == np.inf).all()


def test_the_interval_of_a_crossing_is_where_the_ends_of_the_drops_reach_the_limit():
    x, low, high = np.arange(4.0), np.array([6.0, 2.0, -1.0, -2.0]), np.array([12.0, 8.0, 3.0, 1.0])
    exact = crossing_interval(x, np.zeros(4), low, high, 2.0)
    assert (exact.low, exact.high) == pytest.approx((1.0, 2.5))
    moved = crossing_interval(x, np.full(4, 0.25), low, high, 2.0)
    assert (moved.low, moved.high) == pytest.approx((0.75, 2.75))
    none, all_of_it = (
        crossing_interval(x, np.zeros(4), low, high, 20.0),
        crossing_interval(x, np.zeros(4), low, high, 0.5),
    )
    assert (none.low, none.high) == (-np.inf, -np.inf)  # every drop is surely less
    assert (all_of_it.low, all_of_it.high) == (pytest.approx(1.5), np.inf)  # that of the largest may be more
    assert crossing_interval(x, np.zeros(4), low, high, -3.0).low == np.inf  # every drop is surely more
    assert np.isnan(crossing_interval(x, np.full(4, np.nan), low, high, 2.0).low)


def test_a_crossing_lies_in_its_interval():
    rng = np.random.default_rng(3)
    for _ in range(300):
        drop = rng.integers(0, 10, 6).astype(float)
        half = rng.uniform(0.1, 3, 6)
        assert crossing(np.arange(6.0), drop, 4.0) in crossing_interval(
            np.arange(6.0), np.zeros(6), drop - half, drop + half, 4.0
        )
