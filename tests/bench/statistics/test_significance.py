"""Tests against statsmodels and cases worked by hand."""

from itertools import combinations

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from bench.statistics.significance import holm, mcnemar_bound, mcnemar_exact, pairwise_discordance


@pytest.mark.parametrize(("broken", "repaired"), [(0, 0), (9, 3), (3, 9), (5, 5), (0, 6), (1000, 900)])
def test_mcnemar_equals_statsmodels(broken, repaired):
    theirs = mcnemar([[7, broken], [repaired, 7]], exact=True).pvalue
    assert mcnemar_exact(broken, repaired) == pytest.approx(theirs, rel=1e-9)


def test_mcnemar_by_hand():
    assert mcnemar_exact(6, 0) == pytest.approx(2 / 2**6)


def test_the_bound_is_the_largest_p_value_among_all_ways_to_get_from_one_count_to_the_other():
    images = 9
    for before in range(images + 1):
        for after in range(images + 1):
            broken = [b for b in range(before + 1) if 0 <= b - (before - after) <= images - before]
            values = [mcnemar_exact(b, b - (before - after)) for b in broken]
            assert mcnemar_bound(before, after, images) == pytest.approx(max(values), rel=1e-12)


def test_holm_equals_statsmodels():
    values = np.random.default_rng(0).uniform(size=50) ** 4
    assert holm(values) == pytest.approx(multipletests(values, method="holm")[1], abs=1e-15)


def test_holm_by_hand_and_of_nothing():
    assert holm([0.01, 0.02, 0.9, 0.03]) == pytest.approx([0.04, 0.06, 0.9, 0.06])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert holm([]).tolist() == []


def test_pairwise_discordance_equals_counting_image_by_image():
    flags = np.random.default_rng(0).random((5, 37)) < 0.6
    first, second = pairwise_discordance(np.packbits(flags, axis=1))
    pairs = list(combinations(flags, 2))
    assert first.tolist() == [int((a & ~b).sum()) for a, b in pairs]
    assert second.tolist() == [int((b & ~a).sum()) for a, b in pairs]
