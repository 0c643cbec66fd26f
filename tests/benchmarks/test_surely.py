"""What the simulations of the report's claims are made of."""

import numpy as np
import pytest

from bench.statistics.paired import TAIL
from benchmarks.coverage import _crossing_intervals
from benchmarks.surely import _bootstrap, _exact, _said, correlated_counts


def test_correlated_views_have_the_drops_they_are_asked_for_and_hang_together():
    random = np.random.default_rng(0)
    broken, repaired = correlated_counts(random, 4000, 500, (0.05, 0.02), share=0.01, correlation=0.6)
    assert (broken - repaired).mean(0) / 500 == pytest.approx([0.05, 0.02], abs=0.001)
    assert repaired.mean(0) / 500 == pytest.approx([0.01, 0.01], abs=0.0005)
    assert np.corrcoef(broken.T)[0, 1] > 0.2


def test_enumeration_finds_the_bootstrap_wrong_where_too_few_images_change_and_the_exact_test_not():
    assert _said(_bootstrap, 20, 0.0, 0.01) == pytest.approx(0.99**20, abs=1e-3)  # right only if an image changes
    assert max(_said(_exact, 50, share, 0.01) for share in (0, 0.01, 0.05)) <= TAIL


def test_bytes_at_the_limit_of_a_flat_curve_are_held_by_their_interval():
    low, high, truth = _crossing_intervals(300, (0.016, 0.0135, 0.0115, 0.0095, 0.008, 0.007), 300)
    assert np.mean((low <= truth) & (truth <= high)) > 0.95
