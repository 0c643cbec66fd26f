"""Explaining a batch of Synthetic images of two sizes with the tiny CLIP."""

import copy
import math

import numpy as np
import pytest
import torch

from bench.attribution.explainer import Explainer, for_gradients
from bench.attribution.quadrature import GaussLegendre
from bench.attribution.statistics import grid_energy, pixel_map
from bench.clip.encoders import load_encoder
from bench.clip.zero_shot import ZeroShotClassifier
from bench.outcomes import Outcomes
from datamodules import Synthetic
from datamodules.synthetic import SyntheticSource
from tests.support.checkpoints import RESNET, VIT, build, save_safetensors, write_config


@pytest.fixture(scope="module")
def batch():
    data = Synthetic(size="both", num_workers=0, degradations=["jpeg-90", "jpeg-20"])
    data.setup("test")
    dataset = data.views_of([8, 12])  # 32 and 96 pixels
    return dataset.collate([dataset[0], dataset[1]])


@pytest.fixture(scope="module")
def classifier(tiny_clip):
    return ZeroShotClassifier(load_encoder(tiny_clip[1], tiny_clip[3]), SyntheticSource.classes, ["a {}."])


def measure(batch, classifier):
    with torch.no_grad():
        return {
            view: Outcomes.from_logits(classifier(images), batch.labels, batch.indices)
            for view, images in batch.views.items()
        }


@pytest.fixture(scope="module")
def outcomes(batch, classifier):
    return measure(batch, classifier)


def not_asked(index):
    raise AssertionError(f"image {index} is at native size in its batch")


def explainer(classifier, baseline="original", native_views=not_asked):
    return Explainer(classifier, baseline, GaussLegendre(8), 5, patch_period=8, native_views=native_views)


def test_images_of_two_sizes_are_explained_in_the_order_of_the_batch(batch, classifier, outcomes):
    explained = explainer(classifier).explain(batch, outcomes)
    assert [one.explanation.index for one in explained] == [8, 12]
    for row, one in enumerate(explained):
        assert list(one.attributions) == ["jpeg-90", "jpeg-20"]
        for view, numbers in one.explanation.views.items():
            rise = float(outcomes[view].loss[row] - outcomes["original"].loss[row])
            assert numbers.loss_difference == pytest.approx(rise, abs=1e-5)
            assert numbers.total == pytest.approx(one.attributions[view].sum(dtype=np.float64), abs=1e-6)
            assert one.explanation.scores[view] == float(outcomes[view].probability[row])


def test_original_is_not_explained_from_another_baseline(batch, classifier, outcomes):
    [first, _] = explainer(classifier, "jpeg-90").explain(batch, outcomes)
    assert list(first.attributions) == ["jpeg-20"]
    rise = float(outcomes["jpeg-20"].loss[0] - outcomes["jpeg-90"].loss[0])
    assert first.explanation.views["jpeg-20"].loss_difference == pytest.approx(rise, abs=1e-5)


def test_codec_grid_has_the_period_of_the_last_codecs_own_blocks_and_is_undefined_without_blocks(classifier):
    periods = {
        "jpeg-20": 8 * 32 / 96,
        "resize-0.5+jpeg-20": 8 * 32 / 48,
        "jpeg-20+resize-0.5": 4 * 32 / 48,
        "noise-0.1": None,
        "webp-20": None,
        "jpeg-20+webp-20": None,
        "resize-0.25": None,
    }
    data = Synthetic(size=96, num_workers=0, degradations=list(periods))
    data.setup("test")
    views = data.views_of([0])
    batch = views.collate(list(views.samples()))
    assert batch.views["original"][0].shape == (3, 96, 96)
    [one] = explainer(classifier).explain(batch, measure(batch, classifier))
    for view, period in periods.items():
        found = one.explanation.views[view].statistics["codec_grid"]
        expected = math.nan
        if period is not None:
            expected = grid_energy(pixel_map(torch.from_numpy(one.attributions[view])[None]), period).item()
            assert math.isfinite(expected)
        assert found == pytest.approx(expected, nan_ok=True), view


def test_a_view_of_another_size_has_no_frequencies_but_all_the_rest(classifier):
    data = Synthetic(size=32, num_workers=0, degradations=["resize-0.5", "resize-0.5+resize-32"])
    data.setup("test")
    views = data.views_of([3])
    batch = views.collate(list(views.samples()))
    [one] = explainer(classifier).explain(batch, measure(batch, classifier))
    smaller, back = one.explanation.views.values()
    assert smaller.spectrum is None
    assert math.isnan(smaller.statistics["chroma"])
    assert back.spectrum is not None
    assert sum(back.spectrum.parts.values()) == pytest.approx(back.total, abs=1e-5)


def test_frequencies_are_those_at_native_size_also_of_images_that_come_fitted(classifier):
    data = Synthetic(size=96, num_workers=0, degradations=["jpeg-50"])
    data.setup("test")
    native = data.views_of([7])
    fitted = data.views_of([7], geometry=classifier.preprocess.geometry)
    whole, small = (views.collate(list(views.samples())) for views in (native, fitted))
    assert small.views["jpeg-50"].shape[-1] == 32
    [expected] = explainer(classifier).explain(whole, measure(whole, classifier))
    asked = explainer(classifier, native_views=lambda index: data.views_of([index])[0].views)
    [found] = asked.explain(small, measure(small, classifier))
    before, after = (one.explanation.views["jpeg-50"].spectrum for one in (expected, found))
    assert after.blocks.shape == (12, 12)
    np.testing.assert_array_equal(after.frequencies, before.frequencies)
    assert after.parts == before.parts


def test_weights_in_bfloat16_are_explained_in_float32(batch, classifier, outcomes):
    rounded = copy.deepcopy(classifier).bfloat16()
    with torch.inference_mode():
        [measured, _] = explainer(rounded).explain(batch, outcomes)
    [expected, _] = explainer(copy.deepcopy(rounded).float()).explain(batch, outcomes)
    assert next(rounded.parameters()).dtype == torch.bfloat16
    for view, attribution in measured.attributions.items():
        assert attribution.dtype == np.float32
        np.testing.assert_array_equal(attribution, expected.attributions[view])


def test_settings_of_tf32_are_kept_out_and_put_back(batch, classifier, outcomes, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    torch.set_float32_matmul_precision("high")
    seen = []
    try:
        original = classifier.pixel_logits
        probe = explainer(classifier)
        monkeypatch.setattr(
            classifier,
            "pixel_logits",
            lambda pixels: (
                seen.append((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)) or original(pixels)
            ),
        )
        probe.explain(batch, outcomes)
        assert set(seen) == {("highest", False)}
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("high", True)
    finally:
        torch.set_float32_matmul_precision("highest")


def test_folded_batch_norms_change_neither_the_function_nor_the_classifier_they_were_copied_from(tmp_path):
    tower = build(RESNET)
    generator = torch.Generator().manual_seed(3)
    for norm in (module for module in tower.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            tensor.data.uniform_(0.5, 1.5, generator=generator)
    weights = save_safetensors(tower, tmp_path / "weights.safetensors")
    classifier = ZeroShotClassifier(load_encoder(write_config(tmp_path, RESNET), weights, "quickgelu"), "ab", ["{}"])
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    prepared = for_gradients(classifier)
    assert for_gradients(prepared) is prepared
    assert not [module for module in prepared.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert all(torch.equal(tensor, before[name]) for name, tensor in classifier.state_dict().items())
    assert not any(parameter.requires_grad for parameter in prepared.parameters())
    pixels = torch.rand(4, 3, 64, 64, generator=generator)
    # In float64 nothing but rounding of the folded float32 weights is left of the difference.
    features = [one.model.visual.double()(pixels.double()) for one in (classifier, prepared)]
    torch.testing.assert_close(*features, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("config", "period"), [(VIT, 8), (RESNET, 32)])
def test_patch_period_is_the_step_of_the_last_feature_map(config, period, tmp_path):
    weights = save_safetensors(build(config), tmp_path / "weights.safetensors")
    assert load_encoder(write_config(tmp_path, config), weights).patch_period == period
