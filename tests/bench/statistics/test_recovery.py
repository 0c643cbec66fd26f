"""Shares worked by hand, and intervals against a plain bootstrap."""

import numpy as np
import pytest

from bench.statistics.bootstrap import resampled_sums
from bench.statistics.intervals import Interval
from bench.statistics.paired import drop_interval
from bench.statistics.recovery import recover

RANDOM = np.random.default_rng(0)
N = 400


def right(share):
    """Which of N images a model has right: the first ones."""
    return (np.arange(N) < share * N).astype(float)


def recovered(original, clean, tuned, controls):
    """The recovery of models that are rows of images."""
    sums = iter(resampled_sums(np.stack([original, clean, *tuned.values(), *controls.values()], axis=1))[0].T)
    rows = next(sums), next(sums), {seed: next(sums) for seed in tuned}, {seed: next(sums) for seed in controls}
    return recover(*rows, images=N)


def test_shares_are_those_of_a_case_worked_by_hand():
    # the original model: 0.8 clean, 0.6 degraded; tuned 0.7 and 0.74; the control 0.62 and 0.64
    found = recovered(right(0.6), right(0.8), {0: right(0.7), 1: right(0.74)}, {0: right(0.62), 1: right(0.64)})
    assert found.drop.value == pytest.approx(0.2)
    assert found.gain.value == pytest.approx(0.12)
    assert found.control.value == pytest.approx(0.03)
    assert found.net.value == pytest.approx(0.09)
    assert found.left.value == pytest.approx(0.11)
    assert found.share.value == pytest.approx(0.6)
    assert found.control_share.value == pytest.approx(0.15)
    assert found.net_share.value == pytest.approx(0.45)


def test_without_a_control_nothing_is_subtracted():
    found = recovered(right(0.6), right(0.8), {0: right(0.7)}, {})
    assert (found.control.value, found.net.value) == (0, pytest.approx(0.1))
    assert found.net_share.value == pytest.approx(0.5)


def test_tuning_that_only_does_what_its_control_does_recovers_nothing_as_surely_as_that_many_images_can_tell():
    same = {0: right(0.7), 1: right(0.75)}
    found = recovered(right(0.6), right(0.8), same, same)
    assert found.share.value > 0.5
    assert (found.net.value, found.net_share.value) == (0, 0)
    no_change = drop_interval(0, 0, N)
    assert vars(found.net.interval) == pytest.approx(vars(no_change), rel=0.02)
    assert found.net_share.interval.high == pytest.approx(no_change.high / 0.2, rel=0.02)


@pytest.mark.parametrize("images", [1, 20, 200])
def test_no_interval_is_a_point(images):
    original, clean, tuned = np.zeros(images), np.ones(images), np.ones(images)
    rows = resampled_sums(np.stack([original, clean, tuned], axis=1))[0].T
    found = recover(rows[0], rows[1], {0: rows[2]}, {}, images)
    assert (found.gain.value, found.share.value, found.left.value) == (1, 1, 0)
    assert found.control.interval == found.control_share.interval == Interval(0, 0)  # there is none
    for name in ("drop", "gain", "net", "left", "share", "net_share"):
        interval = getattr(found, name).interval
        assert interval.high - interval.low > 2 / images


@pytest.mark.parametrize("images", [20, 50, 200, 1000])
def test_a_change_covers_the_truth_where_few_images_change(images):
    random, held = np.random.default_rng(0), []
    for broken in random.binomial(images, 0.01, size=300):
        samples = np.concatenate([[broken], random.binomial(images, broken / images, size=400)]).astype(float)
        clean = np.full_like(samples, images)
        held.append(-0.01 in recover(clean, clean, {0: clean - samples}, {}, images).gain.interval)
    assert np.mean(held) > 0.92


def test_the_original_view_has_a_change_of_precision_and_no_share():
    found = recovered(right(0.8), right(0.8), {0: right(0.79)}, {0: right(0.81)})
    assert found.gain.value == pytest.approx(-0.01)
    assert found.net.value == pytest.approx(-0.02)
    assert np.isnan(found.share.value)
    assert np.isnan(found.net_share.interval.low)


def test_a_drop_that_may_be_none_has_no_share():
    noise = RANDOM.permutation(right(0.8))
    found = recovered(noise, right(0.805), {0: right(0.9)}, {})
    assert found.drop.value == pytest.approx(0.005)
    assert np.isnan(found.share.value)


def test_intervals_over_images_are_those_of_a_plain_paired_bootstrap():
    rows = [RANDOM.permutation(right(share)) for share in (0.5, 0.8, 0.7, 0.55)]
    found = recovered(rows[0], rows[1], {0: rows[2]}, {0: rows[3]})
    draws = np.random.default_rng(1)
    shares = []
    for _ in range(4000):
        chosen = draws.integers(N, size=N)
        original, clean, tuned, control = (row[chosen].mean() for row in rows)
        shares.append((tuned - control) / (clean - original))
    low, high = np.quantile(shares, [0.025, 0.975])
    assert found.net_share.interval.low == pytest.approx(low, abs=0.03)  # 2,000 and 4,000 resamples
    assert found.net_share.interval.high == pytest.approx(high, abs=0.03)


def test_seeds_that_differ_widen_the_interval():
    alike = {seed: right(0.7) for seed in range(3)}
    apart = {seed: right(share) for seed, share in enumerate((0.65, 0.7, 0.75))}
    one, other = (recovered(right(0.6), right(0.8), tuned, {}).gain.interval for tuned in (alike, apart))
    assert other.high - other.low > 1.5 * (one.high - one.low)


def test_equal_seeds_of_tuned_and_control_are_drawn_together():
    tuned = {seed: right(share) for seed, share in enumerate((0.5, 0.7, 0.9))}
    control = {seed: right(share) for seed, share in enumerate((0.4, 0.6, 0.8))}
    paired = recovered(right(0.3), right(0.9), tuned, control).net.interval
    other = recovered(right(0.3), right(0.9), tuned, {seed + 1: row for seed, row in control.items()}).net.interval
    assert other.high - other.low > 2 * (paired.high - paired.low)


def test_a_share_covers_the_truth_whenever_its_drop_is_significant():
    n, share = 250, 0.8
    broken, repaired, kept = 0.12, 0.05, 0.6  # shares of images by (clean, degraded): (1, 0), (0, 1), (1, 1)
    again = (share * (broken - repaired) + 0.3 * repaired) / broken  # of the broken that tuning gets right
    patterns = {  # clean, degraded, tuned
        (1, 0, 1): broken * again,
        (1, 0, 0): broken * (1 - again),
        (0, 1, 1): repaired * 0.7,
        (0, 1, 0): repaired * 0.3,
        (1, 1, 1): kept,
        (0, 0, 0): 1 - broken - repaired - kept,
    }
    rows, shares = np.array(list(patterns)), list(patterns.values())
    random, found = np.random.default_rng(0), []
    for counts in random.multinomial(n, shares, size=200):
        samples = random.multinomial(n, counts / n, size=2000)
        clean, degraded, tuned = (np.concatenate([counts[None], samples]) @ rows).T.astype(float)
        found.append((clean - degraded, recover(degraded, clean, {0: tuned}, {}, images=n)))
    significant = [(drop, one) for drop, one in found if one.drop.interval.low > 0]
    assert len(significant) > 120
    assert sum((drop <= 0).any() for drop, _ in significant) > 60  # which once cost the interval
    assert np.isfinite([[one.share.interval.low, one.share.interval.high] for _, one in significant]).all()
    assert 0.92 < np.mean([share in one.share.interval for _, one in significant]) < 0.98
