"""Values of units: by hand on linear and additive models, complete where they claim it, alone as in a batch."""

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from bench.attribution.faithfulness.curves import follow, step_counts
from bench.attribution.faithfulness.grad_eclip import grad_eclip
from bench.attribution.faithfulness.maps import METHODS, Pairs, important_direction, random_order
from bench.attribution.faithfulness.repair import Blocks, Frequencies, Pixels
from bench.clip.encoders import load_encoder
from bench.clip.preprocess import Preprocess
from bench.clip.zero_shot import ZeroShotClassifier
from datamodules.degradations import degrade
from tests.support.checkpoints import RESNET, VIT, save_safetensors, write_config
from tests.support.towers import build_awake

KINDS = [Blocks, Pixels, Frequencies]


class Toy(nn.Module):
    """A classifier with a chosen cross-entropy of class 0, which must be above 0, of images of 16 x 16 pixels."""

    def __init__(self, loss):
        super().__init__()
        self.loss, self.preprocess = loss, Preprocess(16, (0.0,) * 3, (1.0,) * 3)
        self.model = nn.Module()
        self.model.visual = nn.Identity()
        self.adapter = None

    def pixels(self, images):
        return self.preprocess.pixels(images)

    def pixel_logits(self, pixels):
        loss = self.loss(pixels)
        return torch.stack([-loss, torch.log(-torch.expm1(-loss))], 1)

    def forward(self, images):
        return self.pixel_logits(self.pixels(images))


def quadrants(pixels):
    """Mean over each of the four blocks, [N, 4]."""
    return nn.functional.avg_pool2d(pixels.mean(1, keepdim=True), 8).flatten(1)


def toy_pairs(loss):
    generator = torch.Generator().manual_seed(5)
    original, degraded = torch.randint(0, 256, (2, 1, 3, 16, 16), generator=generator, dtype=torch.uint8)
    return Pairs(Toy(loss), original, degraded, torch.tensor([0]))


def additive(pixels):
    """A sum over blocks, each of which bends: the gradient at one end says little of what lies between."""
    return 3 + (quadrants(pixels) * torch.tensor([2.0, 4.0, 6.0, 3.0])).sin().sum(1) / 2


@pytest.fixture(scope="module", params=[VIT, RESNET], ids=["vit", "resnet"])
def pairs(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    weights = save_safetensors(build_awake(request.param), folder / "weights.safetensors")
    encoder = load_encoder(write_config(folder, request.param), weights, "quickgelu")
    classifier = ZeroShotClassifier(encoder, ["a", "b", "c"], ["{}"])
    originals = torch.rand(3, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    side = encoder.image_size  # nothing is resized, so nothing is rounded on the way
    originals = nn.functional.interpolate(originals, side, mode="bicubic").mul(255).clamp(0, 255).to(torch.uint8)
    degraded = torch.stack([torch.from_numpy(jpeg(image)) for image in originals])
    return Pairs(classifier, originals, degraded, torch.tensor([0, 1, 2]))


def jpeg(image):
    degraded = degrade(Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()), "jpeg-10").image
    return np.asarray(degraded).transpose(2, 0, 1).copy()


def test_the_order_of_integrated_gradients_is_the_best_of_all_orders_of_an_additive_model():
    dark, bright = (torch.full((1, 3, 16, 16), level, dtype=torch.uint8) for level in (26, 230))
    pairs = Pairs(Toy(additive), dark, bright, torch.tensor([0]))
    units = Blocks(pairs.original, pairs.degraded)

    def score(ranking):
        rows = ranking.expand(1, 4) if ranking.ndim == 1 else ranking
        return float(follow(lambda rows, put: pairs.losses_repaired(units, rows, put), rows, step_counts(4, 4)).score)

    values = METHODS["IG"](pairs)(units)
    change = pairs.losses(torch.tensor([0]), pairs.degraded) - pairs.losses(torch.tensor([0]), pairs.original)
    parts = [math.sin(k * 230 / 255) / 2 - math.sin(k * 26 / 255) / 2 for k in (2, 4, 6, 3)]
    assert values.tolist() == [pytest.approx(parts, abs=1e-4)]
    assert sum(parts) == pytest.approx(float(change), abs=1e-5)
    every = [score(torch.tensor(order)) for order in permutations([0.0, 1.0, 2.0, 3.0])]
    assert score(values) == pytest.approx(max(every))
    assert score(METHODS["single repairs"](pairs)(units)) == pytest.approx(max(every))
    assert score(METHODS["gradient x error"](pairs)(units)) < max(every) - 0.05


def test_maps_of_a_linear_model_are_those_worked_out_by_hand():
    weights = torch.tensor([1.0, -2.0, 3.0, 0.5])
    pairs = toy_pairs(lambda pixels: 5 + (quadrants(pixels) * weights).sum(1))
    units = Blocks(pairs.original, pairs.degraded)
    moved = quadrants(pairs.error)
    parts = (weights * moved).tolist()
    assert METHODS["IG"](pairs)(units).tolist() == [pytest.approx(parts[0], abs=1e-5)]
    assert METHODS["gradient x error"](pairs)(units).tolist() == [pytest.approx(parts[0], abs=1e-5)]
    assert METHODS["single repairs"](pairs)(units).tolist() == [pytest.approx(parts[0], abs=1e-5)]
    squares = weights.square() / weights.square().sum() * (weights * moved).sum()
    assert important_direction(pairs, 3)(units).tolist() == [pytest.approx(squares.tolist(), abs=1e-5)]
    assert METHODS["|error|"](pairs)(units).tolist() == [
        pytest.approx((192 * quadrants(pairs.error.abs())[0]).tolist(), rel=1e-5)
    ]


@pytest.fixture(scope="module")
def maps(pairs):
    return {name: method(pairs) for name, method in METHODS.items()} | {"random order": random_order(pairs)}


@pytest.mark.parametrize("kind", KINDS)
def test_integrated_gradients_and_idgi_sum_to_the_change_of_the_loss_in_every_kind_of_units(pairs, maps, kind):
    units, rows = kind(pairs.original, pairs.degraded), torch.arange(3)
    change = pairs.losses(rows, pairs.degraded) - pairs.losses(rows, pairs.original)
    largest = float(change.abs().max())
    assert maps["IDGI"](units).sum(1).tolist() == pytest.approx(change.tolist(), abs=1e-5)
    assert maps["IG"](units).sum(1).tolist() == pytest.approx(change.tolist(), abs=0.05 * largest)


def test_maps_of_a_batch_are_those_of_single_images(pairs, maps):
    single = Pairs(pairs.classifier, pairs.original[1:2], pairs.degraded[1:2], pairs.labels[1:2])
    units, alone = (Blocks(images.original, images.degraded) for images in (pairs, single))
    for name, valued in maps.items():
        method = METHODS.get(name, random_order)
        expected = valued(units)[1].double()
        share = 0.05 if name == "IG" else 1e-4  # IG's rule counts rounded numbers
        error = (method(single)(alone)[0].double() - expected).abs().max()
        assert error <= share * expected.abs().max() + 2e-6, name  # losses of about 1 nat are rounded


def test_clip_heat_is_handed_from_input_pixels_to_image_pixels_without_loss(pairs, maps):
    units = Pixels(pairs.original, pairs.degraded)
    heat = grad_eclip(pairs.classifier, pairs.target, pairs.labels)
    assert maps["Grad-ECLIP"](units).sum(1).tolist() == pytest.approx(3 * heat.sum((1, 2)), rel=1e-4)
