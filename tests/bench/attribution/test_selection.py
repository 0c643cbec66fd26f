"""Each rule on six hand-made outcomes."""

from dataclasses import replace

import pytest
import torch

from bench.attribution.selection import First, Flipped, Indices, LargestLossIncrease, PerClass
from bench.outcomes import Outcomes
from datamodules.errors import UserError


def outcomes(loss, prediction):
    """Images 10, 11, ... with labels 1, 0, 1, 0, 1, 0."""
    index = torch.arange(10, 10 + len(loss))
    unused = torch.zeros(len(loss))
    return Outcomes(
        index=index,
        label=torch.tensor([1, 0, 1, 0, 1, 0]),
        prediction=torch.tensor(prediction),
        probability=unused,
        confidence=unused,
        loss=torch.tensor(loss),
        rank=index,
        runner_up=index,
        encoded_bytes=index,
        bits_per_pixel=unused,
        psnr=unused,
        ssim=unused,
        cosine=unused,
        encode_ms=unused,
        decode_ms=unused,
    )


@pytest.fixture
def run():
    return {
        "original": outcomes([1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1, 0, 1, 0, 1, 0]),
        "jpeg-75": outcomes([1.5, 3.0, 0.5, 1.5, 1.0, 1.25], [1, 1, 1, 0, 1, 0]),
        "jpeg-25": outcomes([0.0, 2.0, 0.0, 4.0, 1.0, 1.25], [1, 0, 1, 1, 1, 1]),
    }


@pytest.mark.parametrize(
    ("rule", "chosen"),
    [
        (Indices([14, 11]), [14, 11]),
        (Indices([11, 99]), [11]),
        (First(2), [10, 11]),
        (First(99), [10, 11, 12, 13, 14, 15]),
        (PerClass(2), [11, 13, 10, 12]),
        (LargestLossIncrease(3), [13, 11, 10]),
        (LargestLossIncrease(3, "jpeg-75"), [11, 10, 13]),  # 10 and 13 tie: the lower index first
        (LargestLossIncrease(99), [13, 11, 10, 15]),  # 12 and 14 never lost anything
        (Flipped(2), [11, 13]),
        (Flipped(99), [11, 13, 15]),
        (Flipped(99, "jpeg-75"), [11]),
    ],
)
def test_chosen_images_and_their_order(run, rule, chosen):
    assert rule.choose(run, "original") == chosen


def test_changes_are_counted_from_the_baseline(run):
    assert LargestLossIncrease(2).choose(run, "jpeg-75") == [13]
    assert Flipped(9).choose(run, "jpeg-75") == [11, 13, 15]


def test_nothing_flipped_chooses_nothing(run):
    still = {view: replace(rows, prediction=rows.label) for view, rows in run.items()}
    assert Flipped(3).choose(still, "original") == []


@pytest.mark.parametrize("rule", [First, PerClass, LargestLossIncrease, Flipped])
def test_zero_images_are_refused(rule):
    with pytest.raises(UserError, match=f"{rule.__name__}\\(n=0\\)"):
        rule(0)


@pytest.mark.parametrize(("indices", "message"), [([], "at least one"), ([3, 3], "each position once")])
def test_odd_lists_of_indices_are_refused(indices, message):
    with pytest.raises(UserError, match=message):
        Indices(indices)
