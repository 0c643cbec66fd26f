"""Intervals of means and ratios against SciPy's tests, and how often they hold."""

import numpy as np
import pytest
from scipy import stats

from bench.statistics.means import mean_estimate, mean_intervals, ratio_of_means


@pytest.fixture
def values():
    return np.random.default_rng(0).lognormal(size=(30, 2))


def test_intervals_are_scipys(values):
    means, low, high = mean_intervals(values, level=0.9)
    np.testing.assert_allclose(means, values.mean(0))
    for column in range(2):
        expected = stats.ttest_1samp(values[:, column], 0).confidence_interval(0.9)
        np.testing.assert_allclose([low[column], high[column]], expected)
    assert mean_estimate(values[:, 1], level=0.9).interval.low == pytest.approx(low[1])


def test_of_one_image_nothing_is_known_but_the_mean():
    means, low, high = mean_intervals(np.array([[3.0, 4.0]]))
    assert means.tolist() == [3.0, 4.0]
    assert np.isnan([low, high]).all()
    assert np.isnan(ratio_of_means(np.array([3.0]), np.array([4.0])).value)


def test_at_the_ends_of_a_ratio_students_test_has_the_level_as_its_p_value(values):
    above, below = values.T
    found = ratio_of_means(above, below)
    assert found.value == pytest.approx(above.mean() / below.mean())
    for end in (found.interval.low, found.interval.high):
        assert stats.ttest_1samp(above - end * below, 0).pvalue == pytest.approx(0.05)
    assert found.value in found.interval


def test_a_ratio_to_what_may_be_0_is_not_known(values):
    above, below = values[:, 0], values[:, 1] - values[:, 1].mean() + 0.01
    assert 0 in mean_estimate(below).interval
    assert np.isnan(ratio_of_means(above, below).interval.high)


@pytest.mark.parametrize("images", [10, 50])
def test_intervals_hold_as_often_as_they_say_where_tails_are_heavy(images):
    # three degrees of freedom: kurtosis without bound, as that of nats of single frequencies looks
    draws = np.random.default_rng(1).standard_t(3, size=(images, 4000))
    _, low, high = mean_intervals(draws)
    assert 0.94 < ((low <= 0) & (high >= 0)).mean() < 0.97
