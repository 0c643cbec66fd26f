"""Nats per frequency: a case by hand, planted errors, and sums that are the map's."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from bench.attribution.block_dct import inverse_block_dct
from bench.attribution.frequency import attribute_frequencies
from bench.attribution.integrated_gradients import cross_entropy, integrated_gradients
from bench.attribution.quadrature import Trapezoid
from bench.clip.encoders import load_encoder
from bench.clip.preprocess import Preprocess
from bench.clip.zero_shot import ZeroShotClassifier
from datamodules.degradations import parse
from datamodules.synthetic import SyntheticSource

SOURCE = SyntheticSource("test", (32, 96), 0)


@pytest.fixture(scope="module", params=["demo-rn", "demo-vit"])
def classifier(request, repository):
    path = str(repository / "configs/models" / request.param)
    return ZeroShotClassifier(load_encoder(f"{path}.json", f"{path}.safetensors"), SOURCE.classes)


def to_bytes(image):
    return torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy())[None]


def saved(image, **options):
    file = BytesIO()
    image.save(file, format="JPEG", **options)
    return Image.open(file).convert("RGB")


def explained(classifier, baseline, target, label, subsampled=False):
    maps = integrated_gradients(
        cross_entropy(classifier.pixel_logits),
        classifier.pixels(baseline),
        classifier.pixels(target),
        torch.tensor([label]),
        Trapezoid(4),
    )
    return maps, attribute_frequencies(classifier.preprocess, maps.gradient, baseline, target, subsampled)


@pytest.mark.parametrize(("index", "view"), [(49, "jpeg-25"), (17, "jpeg-50"), (17, "webp-25")])
def test_all_parts_together_are_the_maps_sum(classifier, index, view):
    image = SOURCE.load(index).crop((0, 0, 61, 90)) if index == 17 else SOURCE.load(index)
    baseline, target = to_bytes(image), to_bytes(parse(view)(image).image)
    maps, plain = explained(classifier, baseline, target, SOURCE.label(index))
    total = maps.attribution.double().sum()
    torch.testing.assert_close(plain.frequencies.sum() + plain.resizing[0], total, rtol=0, atol=1e-5)
    torch.testing.assert_close(plain.blocks.sum() + plain.resizing[0], total, rtol=0, atol=1e-5)
    assert plain.frequencies.abs().sum() > 0.1
    assert 0 < plain.resizing.abs()[0] < 0.2 * maps.attribution.abs().sum()
    coded = attribute_frequencies(classifier.preprocess, maps.gradient, baseline, target, subsampled=True)
    parts = [coded.frequencies.sum(), coded.subsampling[0], coded.decoding[0], coded.resizing[0]]
    torch.testing.assert_close(torch.stack(parts).sum(), total, rtol=0, atol=1e-5)
    torch.testing.assert_close(coded.frequencies[:, 0], plain.frequencies[:, 0])
    torch.testing.assert_close(coded.blocks, plain.blocks)


def test_of_a_linear_loss_and_a_brighter_picture_everything_lies_in_the_means_of_luma():
    baseline = torch.full((1, 3, 16, 24), 100, dtype=torch.uint8)
    identity = Preprocess(16, [0.0] * 3, [1.0] * 3)
    weights = torch.ones(1, 3, 16, 16)  # the loss is the sum over the crop in the middle, columns 4 to 19
    found = attribute_frequencies(identity, weights, baseline, baseline + 51)
    # a pixel of the crop rises by 51 / 255 in three channels
    torch.testing.assert_close(found.blocks, torch.tensor([[[19.2, 38.4, 19.2]] * 2], dtype=torch.float64))
    expected = torch.zeros(1, 3, 8, 8, dtype=torch.float64)
    expected[0, 0, 0, 0] = 153.6
    torch.testing.assert_close(found.frequencies, expected, rtol=0, atol=1e-9)
    assert abs(found.resizing[0]) < 1e-4  # 51 / 255 in float32


@pytest.mark.parametrize("place", [(0, 3), (2, 5)])
def test_an_error_that_jpeg_makes_in_one_coefficient_shows_up_in_its_cell(classifier, place):
    coefficients, table = torch.zeros(4, 4, 8, 8), [1] * 64
    coefficients[..., *place] = 100.0  # which the table rounds to 0
    table[8 * place[0] + place[1]] = 255
    grey = 128 + inverse_block_dct(coefficients, 32, 32)
    image = Image.fromarray(grey.round().to(torch.uint8).numpy()).convert("RGB")
    baseline, target = to_bytes(image), to_bytes(saved(image, qtables=[table, [1] * 64], subsampling="4:4:4"))
    _, found = explained(classifier, baseline, target, 0)
    nats = found.frequencies[0].abs()
    assert nats[0][place] > 0.9 * nats.sum()


def test_chroma_coded_at_half_the_resolution_is_found_where_it_was_changed(classifier):
    generator = torch.Generator().manual_seed(0)
    image = Image.fromarray(np.full((32, 32, 3), 128, np.uint8))
    change = torch.zeros(2, 2, 2, 8, 8)
    change[0, 0, 1, 1, 0] = 250.0
    chroma = inverse_block_dct(change, 16, 16).repeat_interleave(2, 1).repeat_interleave(2, 2)
    pixels = torch.stack([torch.full((32, 32), 128.0), *(128 + chroma)], 2).round().to(torch.uint8).numpy()
    start = saved(Image.fromarray(np.asarray(image), mode="YCbCr"), quality=100)
    end = saved(Image.fromarray(pixels, mode="YCbCr"), quality=100)
    gradient = torch.randn(1, 3, 64, 64, generator=generator)
    preprocess = Preprocess(64, [0.0] * 3, [1.0] * 3)
    pair = to_bytes(start), to_bytes(end)
    found = attribute_frequencies(preprocess, gradient, *pair, subsampled=True)
    nats, coarse = found.frequencies[0].abs(), attribute_frequencies(preprocess, gradient, *pair).frequencies[0].abs()
    assert nats[1, 1, 0] > 0.8 * nats.sum()
    assert coarse[1, 1, 0] < 0.1 * coarse.sum()  # at full resolution it has half the frequency
    assert found.subsampling.abs() < 0.01 * nats.sum()
