"""Proportions and their intervals against statsmodels, scipy and cases worked by hand."""

import math

import pytest
from scipy.stats import binomtest
from statsmodels.stats.proportion import proportion_confint

from bench.statistics.intervals import Interval, relative_drop, wilson


def test_wilson_equals_scipy_statsmodels_and_its_formula():
    for successes, n in [(0, 10), (7, 10), (9541, 10_000), (10, 10), (1, 1)]:
        ours = wilson(successes, n)
        scipys = binomtest(successes, n).proportion_ci(0.95, method="wilson")
        assert (ours.low, ours.high) == pytest.approx((scipys.low, scipys.high), abs=1e-12)
        assert (ours.low, ours.high) == pytest.approx(proportion_confint(successes, n, method="wilson"), abs=1e-12)
    z, p, n = 1.959963984540054, 0.7, 10
    middle, half = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert wilson(7, 10).low == pytest.approx((middle - half) / (1 + z**2 / n), abs=1e-12)


def test_interval_includes_its_ends():
    assert 0.5 in Interval(0.5, 0.6)
    assert 0.61 not in Interval(0.5, 0.6)


def test_relative_drop_is_one_at_guessing_and_undefined_below():
    assert relative_drop(0.8, 0.1, 10) == pytest.approx(1)
    assert relative_drop(0.8, 0.8, 10) == 0
    assert math.isnan(relative_drop(0.1, 0.05, 10))
