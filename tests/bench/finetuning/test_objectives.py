"""Each objective against values worked by hand."""

from math import exp, log

import pytest
import torch

from bench.finetuning.objectives import (
    Augment,
    Consistency,
    LogitDistillation,
    Pairs,
    Sum,
    TokenConsistency,
    relative_distance,
)
from datamodules.errors import UserError

ORIGINAL = [[1.0, 1.0], [2.0, 0.0]]
DEGRADED = [[0.0, 1.0], [2.0, 2.0]]
TARGET = [[1.0, 2.0], [2.0, 1.0]]  # squared lengths 5 and 5


def pairs(classify=lambda features: features, asked=None):
    def embedding(name, values):
        def embed():
            if asked is not None:
                asked.append(name)
            return torch.tensor(values, requires_grad=name != "target")

        return embed

    return Pairs(
        embed_original=embedding("original", ORIGINAL),
        embed_degraded=embedding("degraded", DEGRADED),
        embed_target=embedding("target", TARGET),
        classify=classify,
        labels=torch.tensor([1, 0]),
        tokens={
            "original": torch.tensor([3.0, 0.0]),
            "degraded": torch.tensor([2.0, 1.0]),
            "target": torch.full((2,), 2.0),
        }.get,
    )


def test_augment_is_the_cross_entropy_of_the_degraded_view():
    # logits (0, 1) with label 1, and (2, 2) with label 0
    expected = (-log(exp(1) / (1 + exp(1))) + log(2)) / 2
    assert Augment().loss(pairs()).item() == pytest.approx(expected)


def test_consistency_is_the_distance_to_the_frozen_original_in_units_of_its_length():
    # degraded: (-1, -1) and (0, 1), together 3; original: (0, -1) and (0, -1), together 2; target: 10
    assert Consistency(keep=0.0).loss(pairs()).item() == pytest.approx(0.3)
    assert Consistency(keep=2.0).loss(pairs()).item() == pytest.approx(0.3 + 2 * 0.2)


def test_consistency_does_not_depend_on_the_scale_of_embeddings():
    features, target = torch.tensor(DEGRADED), torch.tensor(TARGET)
    assert relative_distance(7 * features, 7 * target).item() == pytest.approx(0.3)


def test_token_consistency_is_the_same_distance_of_what_the_last_block_is_given():
    # degraded: (0, -1); original: (1, -2); target: 4 + 4
    assert TokenConsistency(keep=0.0).loss(pairs()).item() == pytest.approx(1 / 8)
    assert TokenConsistency(keep=2.0).loss(pairs()).item() == pytest.approx(1 / 8 + 2 * 5 / 8)


def test_a_sum_needs_what_its_terms_need():
    assert Sum([Consistency(), TokenConsistency()], [1.0, 1.0]).label_free
    assert Sum([Consistency(), TokenConsistency()], [1.0, 1.0]).uses_tokens
    assert not Sum([Consistency(), Augment()], [1.0, 1.0]).label_free
    assert not Sum([Consistency(), Augment()], [1.0, 1.0]).uses_tokens


def test_distillation_is_the_divergence_from_the_frozen_originals_probabilities():
    def divergence(target, found, temperature):
        p, q = ([exp(x / temperature) / sum(exp(y / temperature) for y in row) for x in row] for row in (target, found))
        return temperature**2 * sum(a * log(a / b) for a, b in zip(p, q, strict=True))

    def mean(found, temperature):
        return sum(divergence(t, f, temperature) for t, f in zip(TARGET, found, strict=True)) / 2

    for temperature in (1.0, 3.0):
        found = LogitDistillation(keep=0.5, temperature=temperature).loss(pairs()).item()
        assert found == pytest.approx(mean(DEGRADED, temperature) + 0.5 * mean(ORIGINAL, temperature), rel=1e-5)


def test_a_sum_weighs_its_terms():
    both = Sum([Augment(), Consistency()], [2.0, 0.5])
    expected = 2 * Augment().loss(pairs()) + 0.5 * Consistency().loss(pairs())
    assert both.loss(pairs()).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("objective", [Consistency(), LogitDistillation()])
def test_label_free_objectives_do_not_look_at_labels_and_rest_where_nothing_is_degraded(objective):
    assert objective.label_free
    features = torch.tensor(TARGET, requires_grad=True)
    clean = Pairs(lambda: features, lambda: features, lambda: torch.tensor(TARGET), lambda x: x, labels=None)
    loss = objective.loss(clean)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-7)
    assert features.grad.count_nonzero() == 0


@pytest.mark.parametrize(
    ("objective", "needed"),
    [
        (Augment(), {"degraded"}),
        (Consistency(keep=0.0), {"degraded", "target"}),
        (Consistency(), {"original", "degraded", "target"}),
        (LogitDistillation(keep=0.0), {"degraded", "target"}),
        (Sum([Augment(), Consistency(keep=0.0)], [1.0, 1.0]), {"degraded", "target"}),
    ],
)
def test_nothing_is_embedded_that_the_objective_does_not_need_nor_twice(objective, needed):
    asked = []
    objective.loss(pairs(asked=asked))
    assert sorted(asked) == sorted(needed)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Consistency(keep=-1.0), r"Consistency\(keep=-1.0\)"),
        (lambda: TokenConsistency(keep=-1.0), r"TokenConsistency\(keep=-1.0\)"),
        (lambda: LogitDistillation(temperature=0.0), r"temperature=0.0"),
        (lambda: Sum([], []), "at least one objective"),
        (lambda: Sum([Augment()], [0.0]), "a weight above 0"),
        (lambda: Sum([Augment()], [1.0, 2.0]), "a weight above 0"),
    ],
)
def test_bad_numbers_are_refused(build, message):
    with pytest.raises(UserError, match=message):
        build()
