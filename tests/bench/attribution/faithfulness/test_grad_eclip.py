"""Grad-ECLIP against its equation, written out anew for one image with the attention's parts made by hand."""

import pytest
import torch
from torch.nn import functional

from bench.attribution.faithfulness.grad_eclip import grad_eclip
from bench.clip.encoders import load_encoder
from bench.clip.towers import image_tower
from bench.clip.zero_shot import ZeroShotClassifier
from datamodules.errors import UserError
from tests.support.checkpoints import RESNET, VIT, save_safetensors, write_config
from tests.support.towers import build_awake

MEAN_POOLED = {**VIT, "vision_cfg": {**VIT["vision_cfg"], "pool_type": "avg"}}


def classify(config, folder):
    weights = save_safetensors(build_awake(config), folder / "weights.safetensors")
    return ZeroShotClassifier(load_encoder(write_config(folder, config), weights, "quickgelu"), ["a", "b"], ["{}"])


def pixels(classifier):
    side = classifier.preprocess.geometry.size
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))


def equation(query, keys, values, slope):
    """H of one image: query [W], keys and values [P, W], slope of the cosine at the heads' output [W]."""
    cosines = (keys @ query) / (keys.norm(dim=1) * query.norm())
    loosened = (cosines - cosines.min()) / (cosines.max() - cosines.min())
    return torch.stack([(slope * loosened[place] * values[place]).sum().clamp(min=0) for place in range(len(keys))])


def attend(query, keys, values, heads):
    """Multi-head attention of one query [W] over keys and values [P, W], heads side by side, [W]."""
    parts = []
    for q, k, v in zip(query.chunk(heads), keys.chunk(heads, 1), values.chunk(heads, 1), strict=True):
        parts.append((k @ q / len(q) ** 0.5).softmax(0) @ v)
    return torch.cat(parts)


def expected_vit(classifier, image, label):
    tower = image_tower(classifier.model)
    tokens = tower._embeds(classifier.preprocess.normalise(image[None]))
    for block in tower.transformer.resblocks[:-1]:
        tokens = block(tokens)
    block = tower.transformer.resblocks[-1]
    q, k, v = functional.linear(block.ln_1(tokens), block.attn.in_proj_weight, block.attn.in_proj_bias)[0].chunk(3, 1)
    output = attend(q[0], k, v, block.attn.num_heads).detach().requires_grad_()
    token = tokens[0, 0] + block.attn.out_proj(output)
    token = token + block.mlp(block.ln_2(token))
    embedding = functional.normalize(tower.ln_post(token) @ tower.proj, dim=0)
    assert torch.allclose(
        embedding,
        classifier.model.encode_image(classifier.preprocess.normalise(image[None]), normalize=True)[0],
        atol=1e-5,
    )
    (slope,) = torch.autograd.grad(embedding @ classifier.text[label], output)
    return equation(q[0], k[1:], v[1:], slope)


def expected_resnet(classifier, image, label):
    tower, seen = image_tower(classifier.model), []
    hook = tower.layer4.register_forward_hook(lambda module, inputs, output: seen.append(output))
    classifier.model.encode_image(classifier.preprocess.normalise(image[None]))
    hook.remove()
    cells, pool = seen[0][0].flatten(1).T, tower.attnpool
    tokens = torch.cat([cells.mean(0, keepdim=True), cells]) + pool.positional_embedding
    q, k, v = pool.q_proj(tokens), pool.k_proj(tokens), pool.v_proj(tokens)
    output = attend(q[0], k, v, pool.num_heads).detach().requires_grad_()
    (slope,) = torch.autograd.grad(functional.normalize(pool.c_proj(output), dim=0) @ classifier.text[label], output)
    return equation(q[0], k[1:], v[1:], slope)


@pytest.mark.parametrize(
    ("config", "expected"), [(VIT, expected_vit), (RESNET, expected_resnet)], ids=["vit", "resnet"]
)
def test_heat_is_what_the_equation_says(config, expected, tmp_path):
    classifier = classify(config, tmp_path)
    images, labels = pixels(classifier), torch.tensor([1, 0])
    found = grad_eclip(classifier, images, labels)
    for image, label, heat in zip(images, labels, found, strict=True):
        patches = expected(classifier, image, label)
        assert float(patches.max()) > 0
        side = round(len(patches) ** 0.5)
        enlarged = functional.interpolate(patches.view(1, 1, side, side), heat.shape, mode="bilinear")[0, 0]
        assert torch.allclose(heat, enlarged, atol=1e-4 * float(enlarged.max()))
    assert not any(module._forward_hooks for module in classifier.modules())


def test_refuses_a_tower_without_a_token_that_becomes_the_embedding(tmp_path):
    classifier = classify(MEAN_POOLED, tmp_path)
    with pytest.raises(UserError, match="class token"):
        grad_eclip(classifier, pixels(classifier), torch.tensor([0, 1]))
