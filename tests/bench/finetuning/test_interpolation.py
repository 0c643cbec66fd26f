"""Between two models: arithmetic by hand, and the bits at both ends."""

import pytest
import torch

from bench.finetuning.interpolation import best_alpha, check_alphas, interpolate
from datamodules.errors import UserError
from tests.support.checkpoints import RESNET, VIT, build


def test_every_tensor_is_the_weighted_mean():
    original, tuned = build(VIT, seed=0).state_dict(), build(VIT, seed=1).state_dict()
    for name, tensor in interpolate(original, tuned, 0.3).items():
        expected = 0.3 * tuned[name].double() + 0.7 * original[name].double()
        torch.testing.assert_close(tensor.double(), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("config", [RESNET, VIT], ids=["resnet", "vit"])
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_the_ends_are_the_two_models_bit_for_bit(config, alpha):
    ends = build(config, seed=0).state_dict(), build(config, seed=1).state_dict()
    found = interpolate(*ends, alpha)
    assert all(torch.equal(found[name], tensor) for name, tensor in ends[int(alpha)].items())


def test_what_is_equal_stays_bit_for_bit_and_integers_are_left_alone():
    weights = {"w": torch.tensor([0.1, -0.0, 1e-30]), "count": torch.tensor(7)}
    found = interpolate(weights, {name: tensor.clone() for name, tensor in weights.items()}, 1 / 3)
    assert found["w"].view(torch.int32).equal(weights["w"].view(torch.int32))
    assert found["count"].dtype == torch.int64


def test_two_architectures_are_refused():
    with pytest.raises(ValueError, match="two architectures"):
        interpolate(build(VIT).state_dict(), build(RESNET).state_dict(), 0.5)


def test_the_best_share_has_the_highest_mean_precision():
    def point(clean, degraded):
        return {"original": {"precision": clean}, "jpeg-25": {"precision": degraded}}

    assert best_alpha({0.0: point(0.9, 0.5), 0.5: point(0.88, 0.7), 1.0: point(0.7, 0.75)}) == 0.5


@pytest.mark.parametrize("alpha", [-0.1, 1.1, "worst", float("nan")])
def test_shares_out_of_range_are_refused(alpha):
    with pytest.raises(UserError, match="is no share"):
        check_alphas("alphas", [0.5, alpha])
