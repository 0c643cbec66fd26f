"""Resampling written out, and the normal approximation."""

import numpy as np
import pytest

from bench.statistics import bootstrap
from bench.statistics.bootstrap import joint_estimates, percentiles, resampled_sums


@pytest.mark.parametrize("counts_at_once", [2**23, 100, 1])
def test_resampled_sums_equal_a_bootstrap_written_out(monkeypatch, counts_at_once):
    monkeypatch.setattr(bootstrap, "_COUNTS_AT_ONCE", counts_at_once)
    values = np.random.default_rng(1).uniform(size=(30, 4)).astype(np.float32)
    (found,) = resampled_sums(values, resamples=70, seed=5)
    random = np.random.default_rng([5, 30])
    expected = [values.sum(0), *(values[random.integers(30, size=30)].sum(0) for _ in range(70))]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_percentiles_of_means_agree_with_the_normal_approximation():
    values = np.random.default_rng(2).normal(size=(4000, 1))
    interval = percentiles(resampled_sums(values)[0][1:, 0] / 4000)
    half = 1.96 * values.std() / np.sqrt(4000)
    assert (interval.low, interval.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_intervals_may_be_open():
    interval = percentiles(np.array([-np.inf] * 10 + [1.0] * 80 + [np.inf] * 10))
    assert (interval.low, interval.high) == (-np.inf, np.inf)


def test_few_undefined_resamples_widen_an_interval_and_many_leave_none():
    values = np.arange(1000.0)
    whole, widened = percentiles(values), percentiles(np.where(values % 50 == 7, np.nan, values))  # 2% of them
    assert (whole.low, whole.high) == (24, 975)
    assert (widened.low, widened.high) == (4, 995)  # 20 of the 24 values below the end may lie at either side
    for undefined in (np.where(values % 30 == 7, np.nan, values), np.array([])):
        assert np.isnan(percentiles(undefined).low)
        assert np.isnan(percentiles(undefined).high)


def test_joint_intervals_of_many_are_wider_than_of_one_and_no_points():
    rng = np.random.default_rng(4)
    values = rng.choice([-1, 0, 1], p=[0.1, 0.7, 0.2], size=(2000, 8))
    means = resampled_sums(values)[0].T / 2000
    alone, *_ = joint_estimates(means[:1], 2000)
    together, *_ = joint_estimates(means, 2000)
    deviation = values[:, 0].std() / np.sqrt(2000)
    half = (alone.interval.high - alone.interval.low) / 2
    assert half == pytest.approx(1.96 * deviation, rel=0.05)
    wide = (together.interval.high - together.interval.low) / 2
    assert wide == pytest.approx(2.73 * deviation, rel=0.05)  # 1 - 0.05 / 8, two-sided
    (nothing,) = joint_estimates(np.zeros((1, 2001)), 100)
    assert nothing.interval.high == -nothing.interval.low == pytest.approx(1.96**2 / 100, rel=1e-3)
