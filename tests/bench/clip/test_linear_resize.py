"""The linear resize is the exact one but for rounding, and its transpose that of autograd."""

import pytest
import torch

from bench.clip import linear_resize
from bench.clip.linear_resize import gradient_at_own_size, resize_linearly
from bench.clip.preprocess import Preprocess
from tests.support.toys import images

SIZES = [(20, 20), (32, 32), (47, 71), (90, 40), (32, 45)]


def preprocess(**options):
    return Preprocess(32, [0.5] * 3, [0.5] * 3, **options)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("options", [{}, {"resize_mode": "squash", "interpolation": "bilinear"}])
def test_it_is_the_resize_of_bytes_but_for_the_rounding_of_two_passes(size, options):
    bytes_ = (60 + 120 * images(2, 3, *size)).to(torch.uint8)  # far from the ends, where nothing is clipped
    exact = 255 * preprocess(**options).pixels(bytes_)
    assert (resize_linearly(preprocess(**options), bytes_.double()) - exact).abs().max() < 1.3


@pytest.mark.parametrize("size", [(16, 60_000), (60_000, 32)])
def test_a_thin_strip_takes_no_more_memory_than_what_is_kept_of_it(size):
    rows, columns = linear_resize._matrices(preprocess(), *size)
    assert (rows.shape, columns.shape) == ((32, size[0]), (32, size[1]))
    assert max(rows.untyped_storage().nbytes(), columns.untyped_storage().nbytes()) < 33 * 60_010 * 8
    strip = torch.zeros(3, *size, dtype=torch.uint8)
    middle = (..., slice(size[0] // 2 - 8, size[0] // 2 + 8), slice(size[1] // 2 - 8, size[1] // 2 + 8))
    strip[middle] = 120
    exact = 255 * preprocess().pixels(strip[None])[0]
    difference = resize_linearly(preprocess(), strip.double()) - exact
    assert difference[(exact > 5) & (exact < 250)].abs().max() < 1.3


@pytest.mark.parametrize("size", SIZES)
def test_the_transpose_is_that_of_autograd(size):
    pixels, gradient = images(2, 3, *size).requires_grad_(), images(2, 3, 32, 32, seed=1)
    (expected,) = torch.autograd.grad(resize_linearly(preprocess(), pixels), pixels, gradient)
    torch.testing.assert_close(gradient_at_own_size(preprocess(), gradient, *size), expected, rtol=0, atol=1e-12)
