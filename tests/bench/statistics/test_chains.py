"""Chains against their two special cases, and their level."""

import numpy as np
import pytest
from scipy.special import ndtr

from bench.statistics.chains import shown_in_chains
from bench.statistics.significance import holm


def test_chains_of_one_hypothesis_are_holms_method():
    rng = np.random.default_rng(0)
    for _ in range(50):
        p = rng.uniform(0, 0.03, 6) ** rng.uniform(0.5, 1.5)
        shown = shown_in_chains([[place] for place in range(6)], lambda place, p=p: p[place], 0.05)
        assert [bool(chain) for chain in shown] == (holm(p) <= 0.05).tolist()


def test_one_chain_is_tested_without_correction_up_to_the_first_that_fails():
    asked = []

    def p_value(place):
        asked.append(place)
        return [0.02, 0.024, 0.026, 0.001][place]

    assert shown_in_chains([[0, 1, 2, 3]], p_value, 0.025) == [[0, 1]]
    assert 3 not in asked


@pytest.mark.parametrize("true", [(0, 0), (2, 0), (1, 2), (4, 2)])
def test_a_false_rejection_or_more_is_no_more_frequent_than_the_level(true):
    """`true` hypotheses hold from these places of the two chains on; all p-values hang together."""
    rng = np.random.default_rng(1)
    chains = [[(chain, place) for place in range(4)] for chain in range(2)]
    wrong = 0
    for _ in range(4000):
        common = rng.normal()
        u = {
            key: (0.7 * common + np.sqrt(1 - 0.49) * rng.normal()) - 4.0 * (key[1] < true[key[0]])
            for chain in chains
            for key in chain
        }
        shown = shown_in_chains(chains, lambda key, u=u: float(ndtr(u[key])), 0.025)
        wrong += any(place >= true[chain] for row in shown for chain, place in row)
    assert wrong / 4000 < 0.025 + 3 * np.sqrt(0.025 * 0.975 / 4000)
