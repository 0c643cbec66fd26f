"""The adaptive rule keeps its promises on smooth, kinked and hostile paths."""

import functools
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms.functional import pil_to_tensor

from bench.attribution.adaptive import Adaptive
from bench.attribution.integrated_gradients import cross_entropy, integrated_gradients
from bench.attribution.quadrature import Trapezoid, clenshaw_curtis
from bench.clip.encoders import load_encoder
from bench.clip.zero_shot import ZeroShotClassifier
from datamodules.degradations import parse_all
from tests.support.toys import Classifier, images, labels, relative_error


@functools.cache
def converged(activation):
    """A loss, 12 pairs, and their map by 1024 trapezoid steps (200 units: dozens of kinks on each path)."""
    loss, start, end = (
        cross_entropy(Classifier(activation(), width=200)),
        images(12, 3, 4, 4),
        images(12, 3, 4, 4, seed=9),
    )
    truth = integrated_gradients(loss, start, end, labels(12), Trapezoid(1024), 1024).attribution
    return loss, start, end, truth


def test_a_smooth_path_takes_9_points_and_is_far_better_than_50_trapezoid_steps():
    loss, start, end, truth = converged(nn.SiLU)
    adaptive = integrated_gradients(loss, start, end, labels(12))
    trapezoid = integrated_gradients(loss, start, end, labels(12), Trapezoid(50))
    assert adaptive.evaluations.double().mean() < 10.2
    assert adaptive.converged.all()
    ours, theirs = (relative_error(r.attribution, truth).quantile(0.95) for r in (adaptive, trapezoid))
    assert ours < theirs / 10


@pytest.mark.parametrize("tolerance", [0.1, 0.03, 0.01])
def test_tolerance_is_honoured_on_kinked_paths(tolerance):
    loss, start, end, truth = converged(nn.ReLU)
    result = integrated_gradients(loss, start, end, labels(12), Adaptive(tolerance=tolerance, max_points=513))
    errors = relative_error(result.attribution, truth)
    assert result.converged.all()
    assert (result.error_estimate <= tolerance).all()
    assert (errors <= tolerance).double().mean() >= 0.75
    assert (errors <= 2 * tolerance).all()


def test_a_tighter_tolerance_costs_more_and_errs_less():
    loss, start, end, truth = converged(nn.ReLU)
    rules = (Adaptive(tolerance=t, max_points=513) for t in (0.1, 0.01))
    loose, tight = (integrated_gradients(loss, start, end, labels(12), rule) for rule in rules)
    assert tight.evaluations.double().mean() > 1.5 * loose.evaluations.double().mean()
    assert relative_error(tight.attribution, truth).median() < relative_error(loose.attribution, truth).median() / 3


@pytest.mark.parametrize("max_points", [9, 17])
def test_the_cap_is_kept_and_reported(max_points):
    rule = Adaptive(tolerance=1e-6, smooth_tolerance=1e-6, max_points=max_points)
    start, end = images(4, 3, 4, 4), images(4, 3, 4, 4, seed=9)
    result = integrated_gradients(cross_entropy(Classifier(nn.ReLU(), width=200)), start, end, labels(4), rule)
    assert result.evaluations.tolist() == [max_points] * 4
    assert not result.converged.any()
    assert (result.error_estimate > rule.tolerance).all()


def test_a_bump_between_the_points_is_found_through_completeness():
    # The slope is 1 at all 9 points, and a bump about 0.004 wide at t = 0.63 holds as much as all the rest.
    def loss(pixels, labels):
        t = pixels.mean(dim=(1, 2, 3))
        return t + torch.sigmoid((t - 0.63) * 1000)

    start, end = torch.zeros(1, 3, 1, 1, dtype=torch.float64), torch.ones(1, 3, 1, 1, dtype=torch.float64)
    result = integrated_gradients(loss, start, end, labels(1), Adaptive(tolerance=0.02))
    assert result.converged.item()
    assert result.residual.item() <= 0.02 * 2
    nine = integrated_gradients(loss, start, end, labels(1), Adaptive(tolerance=0.02, max_points=9))
    assert not nine.converged.item()


def test_a_map_that_cancels_to_nothing_is_not_called_converged():
    start, end = torch.zeros(1, 3, 1, 1, dtype=torch.float64), torch.ones(1, 3, 1, 1, dtype=torch.float64)

    def loss(pixels, labels):
        return (pixels.mean(dim=(1, 2, 3)) - 0.5).abs()

    result = integrated_gradients(loss, start, end, labels(1), Adaptive(max_points=33))
    assert abs(result.total.item()) < 1e-5
    assert not result.converged.item()


@pytest.mark.parametrize("rate", [11, 14, 18, 24])
def test_a_smooth_path_whose_first_levels_look_like_jumps_ends_with_the_digits_of_a_smooth_one(rate):
    # Sines turn so fast that 5 points know nothing of them, so that the levels differ as if there were jumps.
    def loss(pixels, labels):
        red, green, _ = pixels.flatten(1).unbind(1)
        return torch.sin(rate * red) + torch.sin(-0.7 * rate * green) / 2

    start, end = torch.zeros(1, 3, 1, 1, dtype=torch.float64), torch.ones(1, 3, 1, 1, dtype=torch.float64)
    truth = torch.tensor([math.sin(rate), math.sin(-0.7 * rate) / 2, 0.0], dtype=torch.float64).view(1, 3, 1, 1)
    result = integrated_gradients(loss, start, end, labels(1))
    assert result.converged.item()
    assert relative_error(result.attribution, truth).item() < 1e-5


def test_where_the_cap_leaves_no_second_look_the_better_of_the_two_values_in_hand_is_returned():
    def loss(pixels, labels):
        return torch.sin(11 * pixels[:, 0, 0, 0])

    start, end = torch.zeros(1, 3, 1, 1, dtype=torch.float64), torch.ones(1, 3, 1, 1, dtype=torch.float64)
    truth = math.sin(11)
    points, weights = clenshaw_curtis(8)
    thrown_away = abs(float(weights @ (11 * torch.cos(11 * points))) - truth)
    result = integrated_gradients(loss, start, end, labels(1), Adaptive(max_points=10))
    assert abs(result.total.item() - truth) <= thrown_away + 1e-6


def test_the_same_call_twice_gives_the_same_bits():
    start, end = images(4, 3, 4, 4), images(4, 3, 4, 4, seed=9)
    loss = cross_entropy(Classifier(nn.ReLU(), width=200))
    once, again = (integrated_gradients(loss, start, end, labels(4)) for _ in range(2))
    assert torch.equal(once.attribution, again.attribution)


def test_an_undefined_loss_ends_at_once_unconverged():
    start, end = torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1)
    result = integrated_gradients(lambda x, y: x.flatten(1).sum(1) * math.nan, start, end, labels(1))
    assert not result.converged.item()
    assert result.evaluations.item() == 9


@pytest.mark.slow
def test_on_a_clip_resnet_half_the_gradients_reach_the_error_of_50_trapezoid_steps(shared):
    classes = tuple(["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"])
    encoder = load_encoder(str(shared / "standin/tiny-rn-64.json"), str(shared / "standin/tiny-rn-64.safetensors"))
    classifier = ZeroShotClassifier(encoder, classes, ["This is an image of a {}."])
    sprite = np.asarray(Image.open(shared / "cifar10/test.png"))[:16].reshape(-1, 32, 32, 3)
    sources = [Image.fromarray(pixels) for pixels in sprite]
    views = [[degrade(image).image for image in sources] for degrade in parse_all(["jpeg-50"])]
    start, end = (classifier.pixels(torch.stack([pil_to_tensor(image) for image in view])) for view in views)
    truth_labels = torch.tensor(json.loads((shared / "cifar10/labels.json").read_text())["test"][:16])

    def errors(rule):
        result = integrated_gradients(loss, start, end, truth_labels, rule)
        return result, relative_error(result.attribution, truth)

    loss = cross_entropy(classifier.pixel_logits)
    truth = integrated_gradients(loss, start, end, truth_labels, Trapezoid(512)).attribution
    adaptive, ours = errors(Adaptive())
    _, theirs = errors(Trapezoid(50))
    assert adaptive.converged.all()
    assert adaptive.evaluations.double().mean() < 30  # 25 on average over 64 images and three qualities
    assert (ours <= 2 * adaptive.error_estimate).all()
    assert ours.max() < 1.2 * max(theirs.max(), Adaptive().tolerance)
