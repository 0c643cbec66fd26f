"""JPEG's planes against libjpeg's and Pillow's own, and their transposes against autograd."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from bench.attribution.jpeg_planes import (
    closest_halves,
    double,
    gradient_in_halves,
    gradient_in_ycbcr,
    halve,
    to_ycbcr,
)
from datamodules.synthetic import SyntheticSource
from tests.support.toys import images


def planes(image):
    return torch.from_numpy(np.asarray(image).transpose(2, 0, 1).astype(np.float64))


def saved(image, **options):
    """Y, Cb and Cr as libjpeg decodes them, before they become RGB; offsets of chroma removed."""
    file = BytesIO()
    image.save(file, format="JPEG", **options)
    decoded = Image.open(file)
    decoded.draft("YCbCr", image.size)
    return planes(decoded) - torch.tensor([0.0, 128, 128]).view(3, 1, 1)


@pytest.fixture(scope="module")
def picture():
    return SyntheticSource("test", (96,), 0).load(3).crop((0, 0, 53, 38))


def test_ycbcr_is_that_of_pillow_before_rounding(picture):
    rounded = planes(picture.convert("YCbCr")) - torch.tensor([0.0, 128, 128]).view(3, 1, 1)
    assert (to_ycbcr(planes(picture)) - rounded).abs().max() < 1.1  # Pillow cuts fractions of three products off


def test_gradients_in_ycbcr_keep_inner_products():
    difference, gradient = images(2, 3, 4, 5), images(2, 3, 4, 5, seed=1)
    found = (to_ycbcr(difference) * gradient_in_ycbcr(gradient)).sum()
    torch.testing.assert_close(found, (difference * gradient).sum(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("size", [(53, 38), (40, 31)])
def test_what_libjpeg_decodes_as_420_is_doubled_halves_but_for_rounding(picture, size):
    chroma = saved(picture.crop((0, 0, *size)), quality=20, subsampling="4:2:0")[1:]
    halves = closest_halves(chroma)
    assert halves.shape == (2, (size[1] + 1) // 2, (size[0] + 1) // 2)
    assert (double(halves, size[1], size[0]) - chroma).abs().max() < 1
    other = saved(picture.crop((0, 0, *size)), quality=20, subsampling="4:4:4")[1:]
    assert (double(closest_halves(other), size[1], size[0]) - other).abs().max() > 5


def test_halves_are_those_that_libjpeg_stores(picture):
    stored = closest_halves(saved(picture, quality=100, subsampling="4:2:0")[1:])
    halves = halve(to_ycbcr(planes(picture))[1:])
    assert (stored - halves).abs().mean() < 0.5  # coefficients are rounded to integers
    assert halves.std() > 5


@pytest.mark.parametrize(("height", "width"), [(8, 6), (7, 5), (1, 2)])
def test_the_transpose_of_doubling_is_that_of_autograd(height, width):
    halves = images(2, (height + 1) // 2, (width + 1) // 2).requires_grad_()
    gradient = images(2, height, width, seed=1)
    (expected,) = torch.autograd.grad(double(halves, height, width), halves, gradient)
    torch.testing.assert_close(gradient_in_halves(gradient), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(closest_halves(double(halves, height, width)), halves, rtol=0, atol=1e-12)
