"""What may change, on open_clip's two kinds of image tower."""

from copy import deepcopy

import pytest
import torch

from bench.finetuning.trainable import LastBlocks, LoRA, Norms, WholeTower, matrices, merged_state
from datamodules.errors import UserError
from tests.support.checkpoints import RESNET, VIT
from tests.support.towers import build_awake

TOWERS = pytest.mark.parametrize("config", [RESNET, VIT], ids=["resnet", "vit"])
CHOICES = [WholeTower(), LastBlocks(1), Norms(), LoRA(2)]


def tower(config):
    return build_awake(config).visual


def disturb(module, seed=0):
    """Change every parameter that may learn."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


def images(config):
    side = config["vision_cfg"]["image_size"]
    return torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(1))


@TOWERS
@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: type(choice).__name__)
def test_only_what_is_named_changes_and_all_of_it_does(config, choice):
    before = tower(config)
    after = deepcopy(before)
    names = choice.release(after)
    disturb(after)
    old, new = before.state_dict(), merged_state(after)
    assert old.keys() == new.keys()
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed == names
    assert not any("running" in name or "num_batches" in name for name in names)


@TOWERS
@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: type(choice).__name__)
def test_every_released_parameter_gets_a_gradient(config, choice):
    module = tower(config)
    choice.release(module)
    disturb(module)  # a low-rank update of zeros gives its other factor no gradient
    module(images(config)).square().sum().backward()
    released = {name: p for name, p in module.named_parameters() if p.requires_grad}
    silent = {name for name, p in released.items() if p.grad is None or not p.grad.abs().max() > 0}
    # a bias before a softmax over the keys cancels out
    assert silent <= {"attnpool.k_proj.bias"}


@TOWERS
def test_merged_weights_give_what_the_low_rank_updates_gave(config):
    plain, adapted = tower(config), tower(config)
    LoRA(2).release(adapted)
    disturb(adapted)
    with torch.no_grad():
        start, expected = plain(images(config)), adapted(images(config))
        plain.load_state_dict(merged_state(adapted))
        found = plain(images(config))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)  # attention takes other paths with and without
    assert (start - expected).abs().max() > 0.01


@TOWERS
def test_low_rank_updates_start_at_the_original_and_have_their_rank(config):
    before, after = tower(config), tower(config)
    LoRA(2, scale=6.0).release(after)
    old, start = before.state_dict(), merged_state(after)
    assert all(torch.equal(old[name], start[name]) for name in old)
    disturb(after)
    new = merged_state(after)
    for name, _, _ in matrices(before):
        update = (new[name] - old[name]).flatten(1)
        assert torch.linalg.matrix_rank(update, rtol=1e-4) == 2, name


def test_the_update_is_scale_over_rank_times_the_product():
    module = torch.nn.Sequential(torch.nn.Linear(3, 3, bias=False))
    weight = module[0].weight.detach().clone()
    LoRA(2, scale=5.0).release(module)
    parts = module[0].parametrizations.weight[0]
    with torch.no_grad():
        parts.up.fill_(1.0)
        parts.down.fill_(2.0)
    torch.testing.assert_close(merged_state(module)["0.weight"], weight + 5 / 2 * 4)


@TOWERS
def test_targets_choose_matrices_by_name(config):
    module = tower(config)
    names = LoRA(2, targets=["*attn*"]).release(module)
    assert names == {name for name, _, _ in matrices(tower(config)) if "attn" in name}
    assert any("proj" in name for name in names)


def test_last_blocks_are_counted_from_the_end():
    two = {"attnpool", "layer3", "layer4"}
    assert {name.split(".")[0] for name in LastBlocks(2).release(tower(RESNET))} == two
    names = LastBlocks(1).release(tower(VIT))
    assert {".".join(name.split(".")[:3]) for name in names if "resblocks" in name} == {"transformer.resblocks.1"}
    assert {"proj", "ln_post.weight"} <= names
    assert "conv1.weight" not in names


@pytest.mark.parametrize(
    ("choose", "message"),
    [
        (lambda: LastBlocks(0), "release at least 1"),
        (lambda: LastBlocks(9).release(tower(VIT)), "the image tower has 2"),
        (lambda: LastBlocks(1).release(torch.nn.Linear(2, 2)), "does not know the order of blocks in Linear"),
        (lambda: LoRA(rank=0), "rank=0"),
        (lambda: LoRA(scale=0.0), "scale=0.0"),
        (lambda: LoRA(targets=["none"]).release(tower(VIT)), "fits no matrix"),
        (lambda: Norms().release(torch.nn.Linear(2, 2)), "no parameters in the normalisation layers"),
    ],
)
def test_impossible_choices_are_refused(choose, message):
    with pytest.raises(UserError, match=message):
        choose()
