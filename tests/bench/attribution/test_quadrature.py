"""The rules alone: weights, exactness, nesting, choice by configuration."""

import pytest
import torch
from jsonargparse import ArgumentParser

from bench.attribution.adaptive import Adaptive
from bench.attribution.quadrature import GaussLegendre, Midpoint, Quadrature, RightRiemann, Trapezoid, clenshaw_curtis
from datamodules.errors import UserError
from tests.support.toys import RULES


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_weights_of_every_rule_sum_to_one_over_ascending_points(rule):
    points, weights = rule.nodes()
    assert weights.sum().item() == pytest.approx(1, abs=1e-14)
    assert points.min() >= 0
    assert points.max() <= 1
    assert (points.diff() > 0).all()


@pytest.mark.parametrize("n", [2, 4, 8, 16, 32])
def test_clenshaw_curtis_is_exact_for_polynomials_up_to_its_degree(n):
    points, weights = clenshaw_curtis(n)
    for degree in range(n + 1):
        assert (weights @ points**degree).item() == pytest.approx(1 / (degree + 1), abs=1e-14)


@pytest.mark.parametrize("n", [8, 16, 32, 64])
def test_clenshaw_curtis_points_are_nested_bit_for_bit(n):
    assert torch.equal(clenshaw_curtis(n)[0], clenshaw_curtis(2 * n)[0][::2])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Trapezoid(0), "Trapezoid(n=0)"),
        (lambda: Midpoint(-1), "Midpoint(n=-1)"),
        (lambda: GaussLegendre(0), "GaussLegendre(n=0)"),
        (lambda: RightRiemann(0), "RightRiemann(n=0)"),
        (lambda: Adaptive(tolerance=0), "tolerance=0"),
        (lambda: Adaptive(smooth_tolerance=1.0), "smooth_tolerance=1.0"),
        (lambda: Adaptive(max_points=8), "max_points=8"),
    ],
)
def test_a_rule_out_of_range_is_a_users_mistake_named_in_one_line(make, says):
    with pytest.raises(UserError) as error:
        make()
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "arguments", "rule"),
    [
        ("bench.attribution.quadrature.Trapezoid", {"n": 7}, Trapezoid(7)),
        ("bench.attribution.quadrature.GaussLegendre", {}, GaussLegendre()),
        ("bench.attribution.adaptive.Adaptive", {"tolerance": 0.1}, Adaptive(tolerance=0.1)),
    ],
)
def test_rules_are_chosen_by_class_path_as_in_a_configuration(name, arguments, rule):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--rule", type=Quadrature)
    parsed = parser.parse_object({"rule": {"class_path": name, "init_args": arguments}})
    instantiate = getattr(parser, "instantiate", None) or parser.instantiate_classes  # the older name is deprecated
    assert instantiate(parsed).rule == rule
