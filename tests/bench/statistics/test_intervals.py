"""Intervals and tests against statsmodels, scipy, plain resampling and cases worked by hand."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import mcnemar

from bench.statistics.intervals import (
    Interval,
    holm,
    mcnemar_exact,
    paired_bootstrap,
    pairwise_discordance,
    relative_drop,
    whole_count,
    wilson,
)


@given(st.integers(1, 1_000_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_float32_share_gives_back_its_count(counts):
    count, n = counts
    assert whole_count(float(np.float32(count / n)), n) == count


@pytest.mark.parametrize("share", [0.12345, -0.1, 1.1, math.nan, math.inf])
def test_a_share_that_is_no_whole_number_is_refused(share):
    with pytest.raises(ValueError, match="not a whole number of 1000 images"):
        whole_count(share, 1000)


def test_wilson_equals_scipy_and_its_formula():
    for successes, n in [(0, 10), (7, 10), (9541, 10_000), (10, 10)]:
        ours = wilson(successes, n)
        scipys = binomtest(successes, n).proportion_ci(0.95, method="wilson")
        assert (ours.low, ours.high) == pytest.approx((scipys.low, scipys.high), abs=1e-12)
    z, p, n = 1.959963984540054, 0.7, 10
    middle, half = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert wilson(7, 10).low == pytest.approx((middle - half) / (1 + z**2 / n), abs=1e-12)


def test_interval_includes_its_ends():
    assert 0.5 in Interval(0.5, 0.6)
    assert 0.61 not in Interval(0.5, 0.6)


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


@pytest.mark.parametrize(("broken", "repaired"), [(0, 0), (9, 3), (3, 9), (5, 5), (0, 6), (1000, 900)])
def test_mcnemar_equals_statsmodels(broken, repaired):
    theirs = mcnemar([[7, broken], [repaired, 7]], exact=True).pvalue
    assert mcnemar_exact(broken, repaired) == pytest.approx(theirs, rel=1e-9)


def test_mcnemar_by_hand():
    assert mcnemar_exact(6, 0) == pytest.approx(2 / 2**6)


def test_holm_by_hand_and_of_nothing():
    assert holm([0.01, 0.02, 0.9, 0.03]) == pytest.approx([0.04, 0.06, 0.9, 0.06])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert holm([]).tolist() == []


def test_relative_drop_is_one_at_guessing_and_undefined_below():
    assert relative_drop(0.8, 0.1, 10) == pytest.approx(1)
    assert relative_drop(0.8, 0.8, 10) == 0
    assert math.isnan(relative_drop(0.1, 0.05, 10))


def test_pairwise_discordance_equals_counting_image_by_image():
    flags = np.random.default_rng(0).random((5, 37)) < 0.6
    first, second = pairwise_discordance(np.packbits(flags, axis=1))
    pairs = list(combinations(flags, 2))
    assert first.tolist() == [int((a & ~b).sum()) for a, b in pairs]
    assert second.tolist() == [int((b & ~a).sum()) for a, b in pairs]
