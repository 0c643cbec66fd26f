"""Randomised models and how alike maps are. Oracles: SciPy, scikit-image, Quantus."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity as ssim_of_scikit_image
from torch import nn

from bench.attribution.faithfulness.maps import METHODS, Pairs
from bench.attribution.faithfulness.randomisation import cascade, rank_correlation, structural_similarity
from bench.attribution.faithfulness.repair import Pixels
from bench.clip.encoders import load_encoder
from bench.clip.zero_shot import ZeroShotClassifier
from datamodules.errors import UserError
from tests.support.quantus_oracle import SPEARMAN, attributions, others


@pytest.fixture(scope="module")
def classifier(repository):
    models = repository / "configs" / "models"
    encoder = load_encoder(str(models / "demo-rn.json"), str(models / "demo-rn.safetensors"))
    return ZeroShotClassifier(encoder, ["plain weave", "houndstooth"])


@pytest.fixture(scope="module")
def pairs(classifier):
    generator = torch.Generator().manual_seed(0)
    original = torch.randint(0, 256, (2, 3, 16, 16), generator=generator, dtype=torch.uint8)
    noise = torch.randint(-20, 21, original.shape, generator=generator)
    degraded = (original + noise).clamp(0, 255).to(torch.uint8)
    return Pairs(classifier, original, degraded, torch.tensor([0, 1]))


def test_the_network_is_randomised_from_the_top_down_and_the_given_one_is_not(classifier):
    before = {name: value.clone() for name, value in classifier.named_parameters()}
    names, changed, seen = [], [], None
    for stage, model in cascade(classifier):
        now = {name: value.clone() for name, value in model.named_parameters()}
        if seen is not None:
            changed.append({name for name in now if not torch.equal(now[name], seen[name])})
        names.append(stage)
        seen = now
        assert torch.equal(model.text, classifier.text)
    assert names == ["head", "layer4.0", "layer3.0", "layer2.0", "layer1.0", "stem"]
    assert all(
        all(f"visual.{stage}." in name for name in some) for stage, some in zip(names[1:-1], changed, strict=False)
    )
    assert all(len(some) >= 4 for some in changed)
    assert all(torch.equal(value, before[name]) for name, value in classifier.named_parameters())


def test_every_parameter_of_the_image_tower_ends_up_shuffled_and_no_other(classifier):
    *_, (_, model) = cascade(classifier)
    from bench.attribution.explainer import for_gradients

    intact = dict(for_gradients(classifier).named_parameters())
    for name, value in model.named_parameters():
        same = torch.equal(value, intact[name])
        assert same == (not name.startswith("model.visual.") or intact[name].unique().numel() == 1), name
        assert torch.equal(value.flatten().sort().values, intact[name].flatten().sort().values)


def test_an_untouched_model_has_similarity_one_and_a_randomised_one_has_not(pairs):
    units = Pixels(pairs.original, pairs.degraded)
    method = METHODS["gradient x error"]
    intact, again = method(pairs)(units), method(pairs)(units)
    assert rank_correlation(intact, again).tolist() == pytest.approx([1, 1], abs=1e-12)
    assert structural_similarity(intact.view(2, 16, 16), again.view(2, 16, 16)).tolist() == pytest.approx([1, 1])
    for _, model in cascade(pairs.classifier):
        blind = Pairs(model, pairs.original, pairs.degraded, pairs.labels)
        assert rank_correlation(intact, method(blind)(units)).abs().max() < 0.5
        assert rank_correlation(*(METHODS["|error|"](some)(units) for some in (pairs, blind))).tolist() == [1, 1]


def test_rank_correlation_is_scipys_and_quantus():
    maps, others_ = attributions().flatten(1), others().flatten(1)
    expected = [spearmanr(a, b).statistic for a, b in zip(maps.numpy(), others_.numpy(), strict=True)]
    assert rank_correlation(maps, others_).tolist() == pytest.approx(expected, abs=1e-12)
    assert rank_correlation(maps, others_).tolist() == pytest.approx(SPEARMAN, abs=1e-6)
    assert rank_correlation(torch.zeros(1, 4), torch.rand(1, 4)).isnan().all()


def test_structural_similarity_is_that_of_scikit_image():
    maps = torch.randn(2, 24, 24, generator=torch.Generator().manual_seed(0))
    blurred = nn.functional.avg_pool2d(maps[:, None], 3, 1, 1)[:, 0]
    found = structural_similarity(maps, blurred)
    for place in range(2):
        first, second = (np.abs(some[place].double().numpy()) for some in (maps, blurred))
        expected = ssim_of_scikit_image(
            first / first.max(), second / second.max(), data_range=1.0, gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False,
        )  # fmt: skip
        assert float(found[place]) == pytest.approx(expected, abs=1e-6)


def test_refuses_a_tower_whose_order_is_not_known(classifier):
    import copy

    unknown = copy.copy(classifier)
    unknown.model = nn.Module()
    unknown.model.visual = nn.Identity()
    with pytest.raises(UserError, match="order"):
        next(cascade(unknown))
