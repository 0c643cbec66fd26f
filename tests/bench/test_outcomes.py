import math
from dataclasses import replace

import pytest
import torch

from bench.outcomes import MEASURED, QUANTITIES, Outcomes
from datamodules.errors import UserError


def outcomes(logits, labels):
    rows = torch.arange(len(labels))
    return Outcomes.from_logits(logits, torch.tensor(labels), rows, encoded_bytes=rows + 100)


def test_outcomes_equal_hand_worked_softmax():
    rows = outcomes(torch.tensor([[0.0, 3.0], [1.0, 1.0]]).log1p(), [1, 0])  # odds 1:4 and 2:2
    torch.testing.assert_close(rows.probability, torch.tensor([0.8, 0.5]))
    torch.testing.assert_close(rows.confidence, torch.tensor([0.8, 0.5]))
    torch.testing.assert_close(rows.loss, -torch.tensor([0.8, 0.5]).log())
    assert rows.prediction.tolist() == [1, 0]
    assert rows.rank.tolist() == [0, 0]


def test_rank_zero_is_the_prediction_also_with_ties():
    torch.manual_seed(0)
    logits = torch.randint(0, 3, (500, 6)).float()
    rows = outcomes(logits, torch.randint(0, 6, (500,)).tolist())
    assert torch.equal(rows.rank == 0, rows.correct)
    assert rows.rank.max() == 5


def test_unlabelled_images_have_predictions_only():
    rows = outcomes(torch.randn(3, 4), [-1, -1, -1])
    assert rows.loss.isnan().all()
    assert rows.probability.isnan().all()
    assert rows.rank.tolist() == [-1, -1, -1]
    assert not rows.correct.any()
    assert rows.confidence.isfinite().all()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_logits_that_are_not_finite_are_an_error(value):
    logits = torch.zeros(4, 3)
    logits[2, 1] = value
    with pytest.raises(UserError, match="1 images have logits that are not finite, the first is number 2"):
        outcomes(logits, [0, 0, 0, 0]).on_host(["original", "jpeg-25"])


def test_of_equal_classes_the_first_is_the_prediction_and_the_next_the_runner_up():
    torch.manual_seed(0)
    few = torch.tensor([10 * [0.0], [0.0, 3.0, *8 * [1.0]]])
    logits = torch.cat([torch.randint(0, 3, (500, 10)).float(), few])
    rows = outcomes(logits, [0] * len(logits))
    ranked = logits.argsort(dim=1, descending=True, stable=True)
    assert rows.prediction.tolist() == ranked[:, 0].tolist() == logits.argmax(1).tolist()
    assert rows.runner_up.tolist() == ranked[:, 1].tolist()


def test_logits_of_the_caller_stay_as_they_are():
    logits = torch.tensor([[2.0, 2.0, 2.0]])
    outcomes(logits, [0])
    assert logits.tolist() == [[2.0, 2.0, 2.0]]


def test_one_copy_to_the_host_keeps_every_bit():
    rows = replace(
        outcomes(torch.randn(5, 4), [0, 1, 2, 3, -1]), psnr=torch.tensor([1.5, math.inf, math.nan, 0.0, -0.0])
    )
    both = Outcomes.concatenate([rows, rows.select(torch.arange(4, -1, -1))]).on_host(["original", "jpeg-25"])
    for name, column in rows.columns().items():
        for view, expected in (("original", column), ("jpeg-25", column.flip(0))):
            found = getattr(both[view], name)
            assert found.dtype == expected.dtype
            assert torch.equal(found.view(torch.int32), expected.contiguous().view(torch.int32))


def test_every_declared_quantity_says_what_it_is():
    for quantity in QUANTITIES:
        assert quantity.definition[0].isupper()
        assert quantity.definition.endswith(".")
        assert (quantity.decimals is None) or quantity.title
    assert {quantity.name for quantity in MEASURED} >= {"loss", "cosine", "psnr", "encoded_bytes"}


def test_empty_batch_has_no_rows():
    rows = outcomes(torch.empty(0, 5), [])
    assert len(Outcomes.concatenate([rows, rows])) == 0


def test_half_precision_logits_are_reduced_in_float32():
    logits = torch.randn(8, 10)
    labels = torch.zeros(8, dtype=torch.long).tolist()
    half, full = outcomes(logits.bfloat16(), labels), outcomes(logits.bfloat16().float(), labels)
    assert half.loss.dtype == torch.float32
    assert torch.equal(half.loss, full.loss)
