"""Consistency weighted by what an encoder minds: predictions and weights against NumPy and SciPy, and a fit."""

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from scipy.fft import dctn

from bench.attribution.sensitivity import predicted_divergence, sensitivity
from bench.clip.encoders import load_encoder
from bench.clip.zero_shot import ZeroShotClassifier
from bench.finetuning import Consistency, FrequencyConsistency, Sum
from bench.finetuning.objectives import Pairs
from datamodules.errors import UserError
from tests.support.fits import few

LUMA = np.array([[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]])


def images(count, height, width, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


def by_scipy(table, original, view):
    """Half the sum of sensitivity times squared coefficient, block by block."""
    change = np.einsum("cr,rhw->chw", LUMA, view.numpy().astype(float) - original.numpy())
    rows, columns = (-side % 8 for side in change.shape[1:])
    change = np.pad(change, ((0, 0), (0, rows), (0, columns)), mode="edge")
    blocks = [
        dctn(change[:, top : top + 8, left : left + 8], axes=(1, 2), norm="ortho") ** 2
        for top in range(0, change.shape[1], 8)
        for left in range(0, change.shape[2], 8)
    ]
    return (np.sum(blocks, 0) * table.numpy()).sum() / 2


def test_the_predicted_divergence_is_the_weighted_energy_of_the_error_whatever_the_size():
    table = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    originals, views = images(2, 16, 11, 0), images(2, 16, 11, 1)
    expected = [by_scipy(table, *pair) for pair in zip(originals, views, strict=True)]
    np.testing.assert_allclose(predicted_divergence(table, originals, views), expected, rtol=1e-5)
    odd, other = images(1, 9, 8, 2)[0], images(1, 9, 8, 3)[0]
    found = predicted_divergence(table, [originals[0], odd], [views[0], other])
    np.testing.assert_allclose(found, [expected[0], by_scipy(table, odd, other)], rtol=1e-5)
    with pytest.raises(UserError, match="a view has 8 x 9 pixels and its original 11 x 16"):
        predicted_divergence(table, originals[:1], odd[None])


def pairs(divergence):
    generator = torch.Generator().manual_seed(0)
    degraded, original, target = torch.randn(3, 4, 5, generator=generator)
    return Pairs(
        embed_original=lambda: original,
        embed_degraded=lambda: degraded,
        embed_target=lambda: target,
        classify=lambda features: pytest.fail("not asked for"),
        labels=torch.zeros(4),
        predicted_divergence=lambda: torch.tensor(divergence),
    )


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_each_distance_counts_in_proportion_to_a_power_of_the_predicted_divergence(power):
    divergence = [0.0, 1.0, 3.0, 4.0]
    found = pairs(divergence)
    degraded, original, target = (part.numpy().astype(float) for part in (found.degraded, found.original, found.target))
    weights = np.array(divergence) ** power
    weights /= weights.mean()
    length = (target**2).sum(1).mean()
    distances = (weights * ((degraded - target) ** 2).sum(1)).mean() / length
    kept = ((original - target) ** 2).sum(1).mean() / length
    loss = FrequencyConsistency(keep=0.5, power=power).loss(found).item()
    assert loss == pytest.approx(distances + 0.5 * kept, rel=1e-6)


def test_at_power_0_it_is_consistency_and_where_nothing_is_degraded_only_originals_count():
    some = pairs([0.0, 2.0, 3.0, 4.0])
    loss = FrequencyConsistency(keep=2.0, power=0.0).loss(some).item()
    assert loss == pytest.approx(Consistency(keep=2.0).loss(some).item())
    clean = FrequencyConsistency(keep=2.0).loss(pairs([0.0] * 4)).item()
    assert clean == pytest.approx(loss - Consistency(keep=0.0).loss(some).item())


def test_numbers_below_0_are_refused_and_a_sum_asks_for_what_its_terms_need():
    for option in ("keep", "power"):
        with pytest.raises(UserError, match=rf"FrequencyConsistency\({option}=-1.0\): choose at least 0"):
            FrequencyConsistency(**{option: -1.0})
    assert Sum([Consistency(), FrequencyConsistency()], [1.0, 1.0]).uses_sensitivity
    assert not Sum([Consistency()], [1.0]).uses_sensitivity


def test_a_fit_measures_the_frozen_encoder_on_its_own_images_and_keeps_that_in_its_checkpoint(
    tuning, fit, clip, tmp_path
):
    data, module = few(), tuning("vit", FrequencyConsistency(), learning_rate=1e-3)
    fit(module, data, max_epochs=1, enable_checkpointing=True, callbacks=[ModelCheckpoint(tmp_path, save_last=True)])
    shown = data.views_of(data.training_positions, views=(), geometry=data.geometry)
    pixels = torch.stack([shown[place].views["original"] for place in range(len(shown))])
    classifier = ZeroShotClassifier(load_encoder(**clip["vit"]), data.class_names)
    expected = sensitivity(classifier, [pixels], seed=0).mean
    kept = torch.load(tmp_path / "last.ckpt", weights_only=True)["sensitivity"]
    torch.testing.assert_close(kept, expected, rtol=1e-5, atol=0)
