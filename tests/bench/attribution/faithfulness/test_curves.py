"""Repair in the order of a map: areas worked out by hand, all orders of few units, random orders, Quantus' curve."""

from itertools import permutations

import pytest
import torch

from bench.attribution.faithfulness.curves import descending, follow, step_counts
from datamodules.errors import UserError
from tests.support.quantus_oracle import FLIPPED, attributions, network, pixels

PARTS = torch.tensor([[4.0, 1.0, -2.0]])
ORDERS = torch.tensor(list(permutations([0.0, 1.0, 2.0, 3.0])))


def additive(parts, start=3.0):
    return lambda rows, restored: start - (parts[rows] * restored).sum(1)


def entangled(rows, restored):
    """A loss of four units that is no sum of theirs."""
    put_back = restored.double() @ torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    return (1 - put_back).square() + 5 * (restored[:, 0] & restored[:, 3])


def test_curves_and_area_of_a_linear_model_are_those_worked_out_by_hand():
    repair = follow(additive(PARTS), PARTS, [0, 1, 2, 3])
    assert repair.most_first.tolist() == [[3.0, -1.0, -2.0, 0.0]]
    assert repair.least_first.tolist() == [[3.0, 5.0, 4.0, 0.0]]
    assert repair.score.tolist() == pytest.approx([(0 + 6) / 6 + (6 + 6) / 6 + (6 + 0) / 6])


def test_coarse_steps_keep_the_ends_and_skip_what_lies_between():
    repair = follow(additive(PARTS), PARTS, [0, 2, 3])
    assert repair.most_first.tolist() == [[3.0, -2.0, 0.0]]
    assert repair.score.tolist() == pytest.approx([6 * 2 / 6 + 6 / 6])  # at 2 units the reverse order has 4


def test_the_order_of_the_parts_of_an_additive_loss_has_the_largest_score_of_all_orders():
    parts = torch.tensor([2.0, -1.0, 0.5, 0.25]).expand(len(ORDERS), 4)
    scores = follow(additive(parts), ORDERS, step_counts(4, 16)).score
    best = follow(additive(parts[:1]), parts[:1], step_counts(4, 16)).score
    assert (scores < best).sum() == len(ORDERS) - 1
    assert scores.min() == pytest.approx(-float(best))


def test_random_orders_have_score_zero_in_expectation_whatever_the_loss():
    scores = follow(lambda rows, restored: entangled(rows, restored), ORDERS, step_counts(4, 16)).score
    assert float(scores.abs().max()) > 1
    assert float(scores.mean()) == pytest.approx(0, abs=1e-12)


def test_a_map_without_differences_gives_each_unit_the_same_chance_to_be_first():
    first = descending(torch.zeros(4000, 4), torch.Generator().manual_seed(3))[:, 0]
    assert torch.bincount(first).tolist() == pytest.approx([1000] * 4, abs=5 * (4000 * 3 / 16) ** 0.5)


def test_a_batch_equals_single_images():
    parts = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    together = follow(additive(parts), parts, step_counts(7, 3))
    for row in range(5):
        alone = follow(additive(parts[row : row + 1]), parts[row : row + 1], step_counts(7, 3))
        assert torch.equal(alone.most_first[0], together.most_first[row])
        assert torch.equal(alone.least_first[0], together.least_first[row])


def test_most_first_is_the_curve_of_quantus_pixel_flipping():
    start, model = pixels(), network()

    def losses(rows, restored):
        return model(start[rows].flatten(1) * ~restored).select(1, 0)  # what is put back is black, label 0

    found = follow(losses, attributions().flatten(1), step_counts(16, 16)).most_first[:, 1:]
    assert found.tolist() == [pytest.approx(curve, abs=1e-5) for curve in FLIPPED]  # float32: 1e-6 of what is summed


@pytest.mark.parametrize(("units", "steps", "counts"), [(3, 16, [0, 1, 2, 3]), (36, 5, [0, 7, 14, 22, 29, 36])])
def test_steps_go_from_nothing_to_everything(units, steps, counts):
    assert step_counts(units, steps) == counts


def test_refuses_values_that_are_no_numbers_and_no_steps():
    with pytest.raises(ValueError, match="no numbers"):
        follow(additive(PARTS), torch.tensor([[0.0, float("nan"), 1.0]]), [0, 3])
    with pytest.raises(UserError, match="steps=0"):
        step_counts(3, 0)
