"""What is put back: both ends to the byte, nothing beside what was asked for, and nats that stay what they are."""

import pytest
import torch

from bench.attribution.block_dct import block_dct
from bench.attribution.faithfulness.repair import Blocks, Frequencies, Pixels
from bench.attribution.jpeg_planes import to_ycbcr

KINDS = [Blocks, Pixels, Frequencies]


def pair(height, width, images=2):
    generator = torch.Generator().manual_seed(height)
    return [torch.randint(0, 256, (images, 3, height, width), generator=generator, dtype=torch.uint8) for _ in "ab"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(16, 24), (19, 13)])
def test_nothing_put_back_is_the_degraded_image_and_everything_the_original(kind, size):
    original, degraded = pair(*size)
    units = kind(original, degraded)
    rows = torch.tensor([1, 0, 1])
    nothing = torch.zeros(3, units.count, dtype=torch.bool)
    assert torch.equal(units.restore(rows, nothing), degraded[rows])
    assert torch.equal(units.restore(rows, ~nothing), original[rows])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(16, 24), (19, 13)])
def test_units_share_an_attribution_without_loss(kind, size):
    units = kind(*pair(*size))
    generator = torch.Generator().manual_seed(0)
    difference, gradient = (torch.randn(2, 3, *size, generator=generator, dtype=torch.float64) for _ in "ab")
    parts = units.of_difference(difference) * units.of_gradient(gradient)
    assert parts.shape[:2] == (2, units.count)
    assert torch.allclose(parts.flatten(1).sum(1), (difference * gradient).flatten(1).sum(1))


def test_a_block_is_its_pixels_and_no_others():
    original, degraded = torch.full((1, 3, 19, 13), 9, dtype=torch.uint8), torch.zeros(1, 3, 19, 13, dtype=torch.uint8)
    units = Blocks(original, degraded)
    assert units.count == 6
    repaired = units.restore(torch.tensor([0]), torch.tensor([[False, False, False, True, False, False]]))
    assert repaired[0, :, 8:16, 8:].eq(9).all()
    assert int(repaired.sum()) == 9 * 3 * 8 * 5
    assert units.of_difference(torch.ones(1, 3, 19, 13)).sum(2).tolist() == [[192, 120, 192, 120, 72, 45]]


def test_a_frequency_is_one_coefficient_of_one_channel_in_all_blocks():
    grey = torch.full((1, 3, 16, 16), 128, dtype=torch.uint8)
    wave = torch.cos((torch.arange(16) % 8 + 0.5) * 3 * torch.pi / 8).mul(60).round()
    striped = (grey + wave).to(torch.uint8)  # third horizontal frequency of luma, nothing else but rounding
    units = Frequencies(striped, grey)
    coefficients = block_dct(to_ycbcr(striped.double() - grey.double()), "edge")
    assert coefficients[0, 0, :, :, 0, 3].flatten().tolist() == pytest.approx([60 * 2 * 8**0.5] * 4, rel=0.01)
    only = torch.zeros(1, 192, dtype=torch.bool)
    only[0, 3] = True
    assert (units.restore(torch.tensor([0]), only).int() - striped.int()).abs().max() <= 1
    assert (units.restore(torch.tensor([0]), ~only).int() - grey.int()).abs().max() <= 1
