"""The score interval against printed examples and brute force, the exact test against complete enumeration."""

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import binom, multinomial

from bench.statistics.paired import TAIL, drop_interval, images_to_show, p_under, score
from tests.support.scores import score_by_brute_force


@pytest.mark.parametrize(
    ("broken", "repaired", "n", "level", "low", "high"),
    [
        (9, 3, 32, 0.95, -0.027, 0.390),  # Tango (1998)
        (0, 1, 44, 0.90, -0.096, 0.037),  # Tango (1998)
        (16, 8, 86, 0.95, -0.020, 0.207),  # Agresti and Min (2005)
        (3, 1, 14, 0.95, -0.167, 0.433),  # Tang, Ling, Ling and Tian (2010)
        (1, 7, 21, 0.95, -0.517, -0.026),  # Fagerland, Lydersen and Laake (2014)
    ],
)
def test_interval_of_a_drop_equals_printed_examples(broken, repaired, n, level, low, high):
    interval = drop_interval(broken, repaired, n, level)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.00051)


@pytest.mark.parametrize("counts", [(9, 3, 32), (0, 1, 44), (5, 0, 20), (300, 250, 5000), (0, 40, 60)])
def test_ends_of_the_interval_are_where_the_score_test_just_rejects(counts):
    interval = drop_interval(*counts)
    for end, sign in ((interval.low, 1), (interval.high, -1)):
        assert score_by_brute_force(*counts, end) == pytest.approx(sign * ndtri(0.975), abs=2e-4)


def test_interval_is_no_point_where_nothing_changed_and_stays_inside_where_all_did():
    nothing, everything = drop_interval(0, 0, 20), drop_interval(20, 0, 20)
    assert nothing.high == -nothing.low == pytest.approx(ndtri(0.975) ** 2 / (20 + ndtri(0.975) ** 2))
    assert (everything.high, drop_interval(0, 20, 20).low) == (1, -1)
    assert 0.6 < everything.low < 1


def test_score_rises_with_broken_and_falls_with_repaired_images():
    n = 60
    broken, repaired = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    for limit in (0.01, 0.2):
        scores = np.where(broken + repaired <= n, score(broken, repaired, n, limit), np.nan)
        for axis, sign in ((0, 1), (1, -1)):
            steps = sign * np.diff(scores, axis=axis)
            assert (steps[~np.isnan(steps)] > -1e-9).all()


@pytest.mark.parametrize(("broken", "repaired", "n", "limit"), [(0, 2, 12, 0.2), (1, 3, 15, 0.15), (0, 0, 10, 0.3)])
def test_p_value_equals_complete_enumeration_up_to_what_is_added(broken, repaired, n, limit):
    samples = np.array([(b, r) for b in range(n + 1) for r in range(n + 1 - b)])
    extreme = samples[score(*samples.T, n, limit) <= score(broken, repaired, n, limit) + 1e-9]
    shares = np.linspace(0, (1 - limit) / 2, 400)
    chances = np.stack([shares + limit, shares, np.maximum(1 - 2 * shares - limit, 0)], axis=1)
    counts = np.column_stack([extreme, n - extreme.sum(1)])
    greatest = max(multinomial.pmf(counts, n, chance).sum() for chance in chances)
    assert greatest < p_under(broken, repaired, n, limit) + 1e-4
    assert p_under(broken, repaired, n, limit) < greatest + 2e-4


@pytest.mark.parametrize("n", [20, 60])
def test_exact_level_is_held_by_complete_enumeration_with_any_share_of_repaired_images(n):
    """Of all samples those count that are rejected; the score alone rejects up to 3.6% instead of 2.5%."""
    limit = 0.05
    largest = [
        max((b for b in range(n + 1 - r) if b - r < n * limit and p_under(b, r, n, limit) <= TAIL), default=-1)
        for r in range(n // 2)
    ]
    for share in np.append(0, np.geomspace(1e-4, 0.2, 40)):
        repaired = np.arange(n // 2)
        below = binom.cdf(largest, n - repaired, (share + limit) / (1 - share))
        rejected = (binom.pmf(repaired, n, share) * below).sum()
        assert rejected <= TAIL


def test_nothing_can_be_shown_by_images_that_are_too_few():
    assert p_under(0, 0, 35, 0.01) > 0.7
    assert p_under(0, 0, 367, 0.01) > TAIL  # 0.99^367 is 0.025
    assert p_under(0, 0, 371, 0.01) < TAIL
    assert p_under(30, 22, 10_000, 0.01) < 1e-4
    assert p_under(90, 0, 10_000, 0.01) > 0.1


def test_images_that_show_a_drop_do_so_in_the_test_itself():
    for counts in ((0, 0, 35), (3, 2, 1000), (40, 38, 5000)):
        needed = images_to_show(*counts, 0.01)
        broken, repaired = -(-counts[0] * needed // counts[2]), counts[1] * needed // counts[2]
        assert p_under(broken, repaired, needed, 0.01) <= TAIL
        assert p_under(int(broken * 0.8), int(repaired * 0.8), int(needed * 0.8), 0.01) > TAIL
    assert images_to_show(10, 0, 1000, 0.01) is None
