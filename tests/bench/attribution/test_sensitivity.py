"""Sensitivities against the divergence of the prediction that they foretell."""

import copy

import pytest
import torch
from torch.nn import functional

from bench.attribution.block_dct import inverse_block_dct
from bench.attribution.jpeg_planes import double, to_ycbcr
from bench.attribution.sensitivity import sensitivity
from bench.clip.encoders import load_encoder
from bench.clip.linear_resize import resize_linearly
from bench.clip.zero_shot import ZeroShotClassifier
from datamodules.errors import UserError
from tests.support.toys import images


@pytest.fixture(scope="module")
def classifier(tiny_clip):
    return ZeroShotClassifier(load_encoder(tiny_clip[1], tiny_clip[3]), ["cat", "dog", "frog", "ship", "truck"])


def divergence(classifier, image, channel, place, size):
    """Kullback-Leibler divergence after a small step of a coefficient of a one-block plane, per half of its square."""
    coefficients = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    coefficients[0, 0][place] = step = 2.0
    plane = inverse_block_dct(coefficients, 8, 8)
    changed = torch.zeros(3, *image.shape[1:], dtype=torch.float64)
    changed[channel] = plane if size == 8 else double(plane, *image.shape[1:])
    rgb = torch.einsum("ij,jhw->ihw", torch.linalg.inv(to_ycbcr(torch.eye(3).double().view(3, 3, 1))[..., 0]), changed)
    moved = [image.double() + sign * rgb for sign in (0, 1, -1)]
    pixels = resize_linearly(classifier.preprocess, torch.stack(moved) / 255)
    exact = copy.deepcopy(classifier).double()  # whose logits are float32 all the same
    features = exact.model.encode_image(exact.preprocess.normalise(pixels), normalize=True)
    before, *after = (exact.model.logit_scale.exp() * features @ exact.text.T).log_softmax(1)
    return 2 / step**2 * sum(functional.kl_div(x, before, reduction="sum", log_target=True) for x in after) / 2


@pytest.mark.parametrize("subsampled", [False, True])
def test_it_is_twice_the_divergence_per_squared_step(classifier, subsampled):
    size = 16 if subsampled else 8
    image = (255 * images(3, size, size)).to(torch.uint8)
    found = sensitivity(classifier, [image.expand(400, 3, size, size)], subsampled=subsampled)
    assert found.images == 400
    for channel in (1, 2) if subsampled else (0, 1, 2):
        for place in [(0, 0), (1, 2), (3, 0)]:
            expected = divergence(classifier, image, channel, place, size)
            error = found.standard_error[channel][place]
            assert abs(found.mean[channel][place] - expected) < 4 * error + 0.05 * expected
            assert error < 0.3 * expected


def test_images_of_several_sizes_count_alike_however_they_are_batched(classifier):
    sizes = [(40, 33), (24, 24), (24, 24)]
    several = [(255 * images(3, *size, seed=size[0])).to(torch.uint8) for size in sizes]
    together = sensitivity(classifier, [several])
    one_by_one = sensitivity(classifier, [image[None] for image in several], max_batch=1)
    torch.testing.assert_close(together.mean, one_by_one.mean, rtol=1e-3, atol=0)
    assert not torch.allclose(together.mean, sensitivity(classifier, [several], seed=1).mean, rtol=1e-3, atol=0)


def test_no_images_are_refused(classifier):
    with pytest.raises(UserError, match="there are no images"):
        sensitivity(classifier, [])
