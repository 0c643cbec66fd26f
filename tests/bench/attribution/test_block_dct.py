"""The block transform against SciPy's, and what its two paddings are for."""

import numpy as np
import pytest
import torch
from scipy.fft import dctn

from bench.attribution.block_dct import block_dct, inverse_block_dct
from tests.support.toys import images


@pytest.mark.parametrize(("height", "width"), [(16, 24), (13, 18)])
def test_blocks_are_those_of_scipy_on_the_plane_filled_up_with_its_edge(height, width):
    planes = images(2, 3, height, width)
    filled = np.pad(planes.numpy(), [(0, 0), (0, 0), (0, -height % 8), (0, -width % 8)], mode="edge")
    found = block_dct(planes, "edge")
    assert found.shape == (2, 3, 2, 3, 8, 8)
    for row in range(2):
        for column in range(3):
            block = filled[..., 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            np.testing.assert_allclose(found[:, :, row, column], dctn(block, axes=(2, 3), norm="ortho"), atol=1e-12)


@pytest.mark.parametrize("padding", ["edge", "zero"])
def test_the_inverse_gives_planes_of_odd_sizes_back(padding):
    planes = images(3, 11, 21)
    torch.testing.assert_close(inverse_block_dct(block_dct(planes, padding), 11, 21), planes, rtol=0, atol=1e-12)


def test_a_difference_and_a_gradient_have_the_inner_product_of_their_coefficients():
    difference, gradient = images(3, 11, 21), images(3, 11, 21, seed=1)
    coefficients = block_dct(difference, "edge") * block_dct(gradient, "zero")
    torch.testing.assert_close(coefficients.sum(), (difference * gradient).sum(), rtol=1e-12, atol=0)
