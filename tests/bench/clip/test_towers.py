"""Oracle: the towers themselves. What callers do with a family is tested where it is done."""

import copy
import warnings

import pytest
import torch
from torch import nn

from bench.clip import towers
from tests.support.checkpoints import RESNET, TEXT, VIT, build
from tests.support.towers import build_awake

TIMM = {
    "embed_dim": 32,
    "vision_cfg": {"timm_model_name": "vit_tiny_patch16_224", "image_size": 224, "timm_pool": "avg"},
    "text_cfg": TEXT,
}


@pytest.fixture(scope="module")
def timm():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return build(TIMM).visual


@pytest.mark.parametrize("config", [VIT, RESNET], ids=["vit", "resnet"])
def test_the_projection_is_what_the_embedding_ends_in(config):
    tower = build_awake(config).visual
    images = torch.rand(2, 3, config["vision_cfg"]["image_size"], config["vision_cfg"]["image_size"])
    before = tower(images)
    weight, offset = towers.last_projection(tower)
    with torch.no_grad():
        weight.mul_(2)
        if offset is not None:
            offset.mul_(2)
        assert torch.allclose(tower(images), 2 * before, atol=1e-5)


@pytest.mark.parametrize("config", [VIT, RESNET], ids=["vit", "resnet"])
def test_blocks_name_every_parameter_behind_the_stem_once_and_in_order(config):
    tower = build(config).visual
    blocks = towers.residual_blocks(tower)
    assert len(blocks.residual) == {"vit": 2, "resnet": 4}["vit" if config is VIT else "resnet"]
    stem = ("conv", "bn", "class_embedding", "positional_embedding", "ln_pre")
    for name, _ in tower.named_parameters():
        owners = [prefix for prefix in (*blocks.residual, *blocks.head) if name.startswith(prefix)]
        assert len(owners) == (0 if name.startswith(stem) else 1), name


@pytest.mark.parametrize(("config", "period"), [(VIT, 8), (RESNET, 32)], ids=["vit", "resnet"])
def test_the_period_is_the_side_of_the_input_over_that_of_the_last_feature_map(config, period):
    tower, side = build(config).visual, config["vision_cfg"]["image_size"]
    assert towers.patch_period(tower) == period
    features = tower.conv1 if config is VIT else nn.Sequential(*list(tower.children())[:-1])
    assert features(torch.rand(1, 3, side, side)).shape[-1] == side // period


def test_folding_changes_a_resnet_by_rounding_and_leaves_a_vit_alone():
    for config, folds in ((RESNET, True), (VIT, False)):
        tower, side = build_awake(config).visual, config["vision_cfg"]["image_size"]
        folded, images = copy.deepcopy(tower), torch.rand(2, 3, side, side)
        assert towers.folds_batch_norms(tower) is folds
        towers.fold_batch_norms(folded)
        assert not towers.folds_batch_norms(folded)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
        expected = tower(images)
        assert torch.allclose(folded(images), expected, atol=1e-5 * float(expected.abs().max()))


def test_of_a_family_that_is_not_known_nothing_is_said(timm):
    for tower in (timm, nn.Linear(2, 2)):
        assert towers.patch_period(tower) is None
        assert towers.last_projection(tower) is None
        assert towers.residual_blocks(tower) is None
        assert not towers.folds_batch_norms(tower)


def test_quick_gelu_is_a_choice_wherever_open_clip_builds_a_tower_that_has_it():
    hugging_face = {"hf_model_name": "x"}
    timm, resnet, vit = TIMM["vision_cfg"], RESNET["vision_cfg"], VIT["vision_cfg"]
    choices = {
        name: [towers.offers_activation({"vision_cfg": vision, "text_cfg": text}) for text in (TEXT, hugging_face)]
        for name, vision in (("timm", timm), ("resnet", resnet), ("vit", vit))
    }
    assert choices == {"timm": [True, False], "resnet": [True, False], "vit": [True, True]}


def test_convolutional_towers_alone_are_laid_out_channels_last():
    for config, laid in ((RESNET, True), (VIT, False)):
        tower = build(config).visual
        towers.lay_out(tower)
        assert tower.conv1.weight.is_contiguous(memory_format=torch.channels_last) is laid
