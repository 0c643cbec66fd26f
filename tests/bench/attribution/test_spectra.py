"""Parts, means and the costliest blocks of spectra made up."""

from io import StringIO

import numpy as np
import pandas as pd
import pytest
import torch

from bench.attribution.frequency import FrequencyAttribution
from bench.attribution.spectra import (
    LEAST_WITH_INTERVALS,
    PARTS,
    Spectrum,
    costliest_blocks,
    mean_spectrum,
    read_spectra,
    spectra_table,
)


def spectra(count, mean=0.0):
    normal = np.random.default_rng(0).normal(mean, 1.0, (count, 3, 8, 8))
    return [Spectrum(values, values[0, :2, :3], {}, subsampled=True) for values in normal]


def test_bands_hold_every_coefficient_of_luma_once():
    frequencies = torch.zeros(1, 3, 8, 8, dtype=torch.float64)
    frequencies[0, 0] = 1.0
    frequencies[0, 1, 2, 3], frequencies[0, 2, 0, 0] = 5.0, -3.0
    one = torch.ones(1, dtype=torch.float64)
    found = FrequencyAttribution(frequencies, torch.zeros(1, 2, 2), 0.5 * one, 0.25 * one, 0.125 * one)
    parts = Spectrum.of(found, 0, subsampled=True).parts
    assert list(parts) == list(PARTS)
    assert list(parts.values()) == [6.0, 22.0, 36.0, 2.0, 0.5, 0.375]


def test_intervals_hold_the_mean_of_other_images_as_often_as_they_say():
    found = mean_spectrum("jpeg-50", spectra(60))
    assert found.images == 60
    hold = ((found.low <= 0) & (found.high >= 0)).mean()  # of 192 independent cells
    assert 0.9 < hold < 0.99
    assert ((mean_spectrum("jpeg-50", spectra(60, mean=2.0)).low) > 0).all()


def test_few_images_have_no_intervals():
    found = mean_spectrum("jpeg-50", spectra(LEAST_WITH_INTERVALS - 1))
    assert np.isnan(found.low).all()
    assert np.isfinite(found.mean).all()


def test_the_table_is_read_back_as_it_was():
    means = [mean_spectrum("jpeg-50", spectra(30)), mean_spectrum("jpeg-5", spectra(3))]
    text = spectra_table(means).to_csv(index=False)
    for before, after in zip(means, read_spectra(pd.read_csv(StringIO(text))), strict=True):
        assert (after.view, after.images, after.block_sides) == (before.view, before.images, (8, 16, 16))
        for name in ("mean", "low", "high"):
            np.testing.assert_allclose(getattr(after, name), getattr(before, name), rtol=1e-12)
    with pytest.raises(KeyError):
        read_spectra(pd.DataFrame({"view": ["jpeg-50"]}))


def test_costliest_blocks_are_placed_in_pixels_and_none_that_lowered_the_loss():
    blocks = {5: np.array([[1.0, -2.0, 0.25]]), 9: np.array([[0.5], [3.0]])}
    found = {index: Spectrum(np.zeros((3, 8, 8)), of, {}, subsampled=False) for index, of in blocks.items()}
    table = costliest_blocks({"webp-5": found}, most=3)
    assert table["index"].tolist() == [9, 5, 9]
    assert table[["x", "y"]].to_numpy().tolist() == [[0, 8], [0, 0], [0, 0]]
    assert table["nats"].tolist() == [3.0, 1.0, 0.5]
    assert table["image_nats"].tolist() == [3.5, -0.75, 3.5]
