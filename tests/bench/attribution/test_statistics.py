"""Statistics of attribution maps on maps whose values are known by hand."""

import math

import pytest
import torch

from bench.attribution.statistics import (
    attribution_statistics,
    codec_period,
    gini,
    grid_energy,
    mass_share,
    neighbour_correlation,
    pixel_map,
    positive_share,
)


def delta(side=10):
    mass = torch.zeros(1, side, side)
    mass[0, 3, 4] = 2.0
    return mass


def checkerboard(side=8):
    return ((torch.arange(side).view(-1, 1) + torch.arange(side)) % 2).double().unsqueeze(0)


def noise(count=16, side=64, seed=0):
    return torch.rand(count, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def blocks(period, side=64, seed=0):
    """Bright lines every `period` pixels on noise."""
    on_line = (torch.arange(side) % period == 0).double()
    return noise(side=side, seed=seed) + 0.5 * (on_line.view(-1, 1) + on_line)


@pytest.mark.parametrize(
    ("mass", "share_1", "share_10", "coefficient"),
    [(delta(), 1.0, 1.0, 0.99), (torch.ones(1, 10, 10), 0.01, 0.1, 0.0), (checkerboard(10), 0.02, 0.2, 0.5)],
    ids=["delta", "uniform", "checkerboard"],
)
def test_concentration_of_known_maps(mass, share_1, share_10, coefficient):
    assert mass_share(mass, 0.01).item() == pytest.approx(share_1)
    assert mass_share(mass, 0.1).item() == pytest.approx(share_10)
    assert gini(mass).item() == pytest.approx(coefficient, abs=1e-12)


def test_gini_of_four_values_by_hand():
    # Sorted 1 2 3 4: (-3 * 1 - 1 * 2 + 1 * 3 + 3 * 4) / (4 * 10) = 10 / 40
    assert gini(torch.tensor([[[3.0, 1.0], [4.0, 2.0]]])).item() == pytest.approx(0.25)


def test_the_strongest_one_percent_of_few_pixels_is_one_pixel():
    assert mass_share(torch.tensor([[[3.0, 1.0], [0.0, 0.0]]]), 0.01).item() == pytest.approx(0.75)


def test_checkerboard_neighbours_are_opposite_and_a_ramps_alike():
    assert neighbour_correlation(checkerboard()).item() == pytest.approx(-1)
    ramp = torch.arange(64.0).expand(1, 64, 64)
    assert neighbour_correlation(ramp).item() > 0.95
    assert abs(neighbour_correlation(noise()).mean().item()) < 0.01


def test_neighbour_correlation_of_a_delta_by_hand():
    # 3 x 3, 1 in the centre: mean 1/9, deviations 8/9 and -1/9. Twelve neighbouring pairs, four with the centre:
    # (4 * -8 + 8 * 1) / 81 / 12 over (64 + 8) / 81 / 9 = -2 / 8
    mass = torch.zeros(1, 3, 3)
    mass[0, 1, 1] = 1
    assert neighbour_correlation(mass).item() == pytest.approx(-0.25)


@pytest.mark.parametrize("period", [4, 8, 10.0, 16])
def test_a_planted_grid_stands_out_at_its_period_and_noise_does_not(period):
    bare = grid_energy(noise(256), period)
    assert abs(bare.mean()) < 0.4
    assert grid_energy(blocks(int(period)), period).min() > bare.mean() + 3 * bare.std()


def test_a_planted_grid_of_another_period_does_not_stand_out():
    assert grid_energy(blocks(8), 8).min() > 10
    assert grid_energy(blocks(7), 8).mean() < 1
    assert grid_energy(blocks(16), 8).min() > 4  # every other multiple of 1 / 16 is one of 1 / 8


def test_a_pure_wave_stands_out_at_its_own_period_by_its_fundamental():
    wave = (1 + torch.sin(2 * torch.pi * torch.arange(64.0) / 16)).expand(1, 64, 64)
    assert grid_energy(wave, 16).item() > 10
    assert grid_energy(wave, 16).isfinite().all()
    assert grid_energy(wave, 8).item() < 1


def test_a_smooth_blob_and_a_checkerboard_have_no_grid():
    axis = torch.linspace(-2, 2, 64, dtype=torch.float64)
    blob = torch.exp(-(axis.view(-1, 1) ** 2) - axis**2) + 0.05 * noise(256)
    assert abs(grid_energy(blob, 8).mean()) < 1
    assert grid_energy(checkerboard(64), 8).item() == 0


def test_codec_blocks_are_found_after_resizing_to_the_encoders_input():
    source = blocks(8, side=40)
    resized = torch.nn.functional.interpolate(source.unsqueeze(1), size=(112, 112), mode="bilinear").squeeze(1)
    assert grid_energy(resized, codec_period((40, 40), 112)).mean() > 6


@pytest.mark.parametrize("period", [2.0, 1.0, 17.0, 64.0])
def test_a_period_that_cannot_be_told_apart_is_undefined(period):
    assert grid_energy(noise(2), period).isnan().tolist() == [True, True]


def test_codec_period_is_eight_source_pixels_in_input_pixels():
    assert codec_period((32, 32), 64) == 16
    assert codec_period((224, 224), 224) == 8
    assert codec_period((480, 640), 224) == pytest.approx(8 * 224 / 480)


def test_mass_is_the_sum_of_absolute_values_over_pixels_and_channels():
    attribution = torch.zeros(1, 3, 16, 16)
    attribution[0, 0, 3, 4], attribution[0, 2, 3, 4], attribution[0, 1, 9, 9] = 1.0, -2.0, 0.5
    assert attribution_statistics(attribution, None, 8).mass.item() == pytest.approx(3.5)


def test_positive_share_weighs_the_signs_over_all_channels():
    attribution = torch.zeros(2, 3, 2, 2)
    attribution[0, 0, 0, 0], attribution[0, 2, 1, 1] = 1.0, -3.0
    attribution[1, 1, 0, 1] = 5.0
    assert positive_share(attribution).tolist() == pytest.approx([0.25, 1.0])


def test_pixel_map_sums_absolute_values_over_channels():
    attribution = torch.tensor([1.0, -2.0, 0.5]).view(1, 3, 1, 1)
    assert pixel_map(attribution).tolist() == [[[3.5]]]


def test_undefined_values_are_nan_and_left_out_of_the_means():
    attribution = torch.zeros(2, 3, 64, 64)
    attribution[1] = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = attribution_statistics(attribution, patch_period=8, block_period=16)
    assert found.mass[0] == 0  # of all, it alone is defined for a map without any
    for name, mean in found.means().items():
        if name == "mass":
            continue
        first, second = getattr(found, name).tolist()
        assert math.isnan(first), name
        assert mean == second, name


def test_a_constant_map_has_concentration_but_no_correlation_and_no_grid():
    constant = torch.ones(1, 64, 64)
    assert gini(constant).item() == pytest.approx(0, abs=1e-12)
    assert neighbour_correlation(constant).isnan().item()
    assert grid_energy(constant, 8).isnan().item()


def test_an_encoder_without_patches_has_no_patch_grid_and_nothing_else_changes():
    attribution = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    without, with_grid = (attribution_statistics(attribution, p, 16) for p in (None, 8))
    assert without.patch_grid.isnan().all()
    assert torch.equal(without.codec_grid, with_grid.codec_grid)
    assert with_grid.patch_grid.isfinite().all()


def test_a_view_without_blocks_has_no_codec_grid_and_nothing_else_changes():
    attribution = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    without, with_grid = (attribution_statistics(attribution, 8, p) for p in (None, 16))
    assert without.codec_grid.isnan().all()
    assert with_grid.codec_grid.isfinite().all()
    assert torch.equal(without.patch_grid, with_grid.patch_grid)


def test_no_images_give_empty_statistics():
    found = attribution_statistics(torch.zeros(0, 3, 64, 64), 8, 16)
    assert found.gini.shape == found.patch_grid.shape == found.neighbour_correlation.shape == (0,)


def test_the_batch_equals_each_image_alone():
    attribution = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    together = attribution_statistics(attribution, 8, 16)
    for i in range(3):
        alone = attribution_statistics(attribution[i : i + 1], 8, 16)
        for name in together.means():
            torch.testing.assert_close(getattr(together, name)[i : i + 1], getattr(alone, name), rtol=1e-12, atol=1e-12)


def test_maps_that_are_not_square_are_refused():
    with pytest.raises(ValueError, match="square"):
        grid_energy(torch.rand(1, 64, 32), 8)
