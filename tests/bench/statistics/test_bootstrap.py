"""Resampling written out, and the normal approximation."""

import math

import numpy as np
import pytest

from bench.statistics.bootstrap import paired_bootstrap, percentiles, resampled_sums
from bench.statistics.intervals import Interval


def test_bootstrap_from_counts_equals_resampling_images():
    broken, repaired, n = 60, 20, 500
    changes = np.repeat([1, -1, 0], [broken, repaired, n - broken - repaired])
    plain = np.random.default_rng(1).choice(changes, size=(20_000, n)).mean(1)
    ours = paired_bootstrap(broken, repaired, n, resamples=20_000)
    assert (ours.low, ours.high) == pytest.approx(np.quantile(plain, [0.025, 0.975]), abs=1.01 / n)  # the grid is 1 / n


def test_bootstrap_agrees_with_the_normal_interval_of_a_mean_for_many_images():
    broken, repaired, n = 700, 300, 10_000
    drop = (broken - repaired) / n
    half = 1.959964 * math.sqrt(((broken + repaired) / n - drop**2) / n)
    ours = paired_bootstrap(broken, repaired, n)
    assert (ours.low, ours.high) == pytest.approx((drop - half, drop + half), abs=3e-4)  # noise of 10,000 draws


def test_bootstrap_is_seeded_by_its_arguments_and_a_point_where_nothing_changed():
    counts = 7_000, 3_000, 1_000_000
    assert paired_bootstrap(*counts) == paired_bootstrap(*counts)
    assert paired_bootstrap(*counts, seed=1) != paired_bootstrap(*counts)
    assert paired_bootstrap(0, 0, 100) == Interval(0, 0)
    assert paired_bootstrap(100, 0, 100) == Interval(1, 1)


def test_resampled_sums_equal_a_bootstrap_written_out():
    values = np.random.default_rng(1).uniform(size=(30, 4)).astype(np.float32)
    found = resampled_sums(values, resamples=70, seed=5)
    random = np.random.default_rng([5, 30])
    expected = [values.sum(0), *(values[random.integers(30, size=30)].sum(0) for _ in range(70))]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_percentiles_of_means_agree_with_the_normal_approximation():
    values = np.random.default_rng(2).normal(size=(4000, 1))
    interval = percentiles(resampled_sums(values)[1:, 0] / 4000)
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
