"""Bjøntegaard's rate against the package of that name, and scipy's PCHIP."""

import bjontegaard
import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

from bench.statistics.bjontegaard import log_rate_difference

# from the documentation of the package bjontegaard 1.3.0: kbit/s and dB
ANCHOR = [1358.24, 2486.44, 4593.60, 9487.76], [34.851, 36.845, 38.615, 40.037]
TEST = [1356.24, 2451.52, 4469.00, 9787.80], [34.987, 36.970, 38.651, 40.121]


def percent(test, anchor):
    curves = [(np.log2(np.array(rate)), np.array(quality)) for rate, quality in (test, anchor)]
    return 100 * (2 ** log_rate_difference(*curves) - 1)


def test_rate_equals_the_packages_on_its_documented_data():
    expected = bjontegaard.bd_rate(*ANCHOR, *TEST, method="pchip")
    assert percent(TEST, ANCHOR) == pytest.approx(expected, rel=1e-12)
    assert expected == pytest.approx(-4.4175, abs=1e-4)
    akima = bjontegaard.bd_rate(*ANCHOR, *TEST, method="akima")
    assert percent(TEST, ANCHOR) == pytest.approx(akima, abs=0.02)  # other interpolation, nearly the same


def test_rate_equals_the_packages_on_curves_of_any_number_of_points():
    rng = np.random.default_rng(0)
    for points in [(2, 2), (2, 5), (3, 3), (3, 7), (11, 4)] * 4:
        test, anchor = (
            (np.exp(np.cumsum(rng.uniform(0.2, 1, n))), np.append(0, np.cumsum(rng.uniform(0, 1, n - 1) ** 3)))
            for n in points
        )
        expected = bjontegaard.bd_rate(*anchor, *test, method="pchip", require_matching_points=False, min_overlap=0)
        assert percent(test, anchor) == pytest.approx(expected, rel=1e-10)


def test_resampled_curves_are_treated_one_by_one_as_scipys_pchip():
    rng = np.random.default_rng(1)
    x, y = np.cumsum(rng.uniform(0.2, 1, (2, 30, 5)), -1), np.cumsum(rng.uniform(0.01, 1, (2, 30, 5)), -1)
    differences = log_rate_difference((x[0], y[0]), (x[1], y[1]))
    for row, difference in enumerate(differences):
        low, high = max(y[:, row, 0]), min(y[:, row, -1])
        areas = [PchipInterpolator(y[k, row], x[k, row]).integrate(low, high) for k in (0, 1)]
        assert difference == pytest.approx((areas[0] - areas[1]) / (high - low), rel=1e-10)


@pytest.mark.parametrize("end", [0.4, 0.3, 0.45])
def test_a_curve_ends_where_it_no_longer_rises(end):
    rates, other = np.array([1.0, 2.0, 3.0, 4.0]), (np.array([1.0, 2.0, 3.5]), np.array([0.1, 0.3, 0.5]))
    whole = log_rate_difference((rates, np.array([0.2, 0.4, end, 0.6])), other)
    part = log_rate_difference((rates[:2], np.array([0.2, 0.4])), other)
    assert (whole == part) == (end <= 0.4)


@pytest.mark.parametrize("quality", [[0.2, 0.2, 0.3], [0.2, 0.1, 0.4], [1.2, 1.4, 1.5]])
def test_curves_that_do_not_rise_or_meet_have_no_rate(quality):
    rates = np.array([1.0, 2.0, 3.0])
    assert np.isnan(log_rate_difference((rates, np.array(quality)), (rates, np.array([0.1, 0.3, 0.5]))))
