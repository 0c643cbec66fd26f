import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from bench.audit.calibration import FILE, calibration, expand
from bench.audit.fine_detail import FEATURES
from benchmarks.audit_fit import balanced, fit, tail


def test_log_odds_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(400, 3)) * [1, 5, 0.1] + [0, 2, 7]
    truth = features[:, 0] * (features[:, 1] - 2) + rng.normal(size=400) > 0
    fitted = fit(features, truth, np.ones(400), linear=False, strength=0.3)
    terms = expand((features - features.mean(0)) / features.std(0))[:, 1:]
    oracle = LogisticRegression(C=0.3, max_iter=5000).fit(terms, truth).decision_function(terms)
    np.testing.assert_allclose(fitted.logits(features), oracle, atol=0.01)  # its numbers are rounded to four decimals
    assert np.mean((fitted.probabilities(features) > 0.5) == truth) > 0.8


@pytest.mark.parametrize("rate", [1e-3, 1e-4])
def test_the_tail_of_an_exponential_is_its_quantile(rate):
    values = np.random.default_rng(1).exponential(3, 20_000)
    assert tail(values, rate) == pytest.approx(-3 * np.log(rate), rel=0.12)


def test_families_weigh_the_same_with_either_truth():
    families, truth = np.array(["a"] * 5 + ["b"] * 3), np.array([1, 1, 1, 0, 0, 1, 0, 0])
    weights = balanced(families, truth)
    sums = [weights[(families == name) & (truth == value)].sum() for name in "ab" for value in (0, 1)]
    assert sums == pytest.approx([1] * 4)


def test_the_numbers_fit_the_features_and_say_what_they_were_fitted_on():
    content = json.loads(FILE.read_text())
    assert content["features"]["lossless"] == list(FEATURES)
    assert content["made_by"].startswith("python -m benchmarks.audit_fit")
    assert sum(content["examples"].values()) > 10_000
    fitted = calibration()
    assert len(fitted.lossless.weights) == expand(np.zeros((1, len(FEATURES)))).shape[1]
    for part in (fitted.jpeg, fitted.half_chroma, fitted.lossless):
        assert set(part.thresholds) == {"small", "medium", "large"}
        assert len(part.centres) == len(part.scales)
    assert fitted.jpeg.weights[1] > 0  # a better lattice is more evidence
