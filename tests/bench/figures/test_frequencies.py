"""The picture of frequencies says in colour and number what it is given."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from bench.attribution.overlay import LOWERED, RAISED
from bench.attribution.spectra import MeanSpectrum
from bench.figures.frequencies import frequency_maps


@pytest.fixture
def spectrum():
    mean = np.zeros((3, 8, 8))
    mean[0, 0, 0], mean[0, 2, 5], mean[1, 7, 7] = 0.05, -0.05, 0.0125
    low = mean - 0.02
    return MeanSpectrum("jpeg-25", 64, mean, low, mean + 0.02, (8, 16, 16))


def texts(axes):
    return {text.get_position(): text for text in axes.texts}


def test_cells_lie_where_their_frequencies_are_in_thousandths_of_a_nat(spectrum):
    luma, blue, red, _ = frequency_maps(spectrum).axes
    assert (luma.get_title(), blue.get_title(), red.get_title()) == ("Y: sum +0", "Cb: sum +12", "Cr: sum +0")
    assert texts(luma)[0, 0].get_text() == "50.0"
    assert texts(luma)[5, 2].get_text() == "-50.0"  # horizontal, vertical
    assert texts(blue)[7, 7].get_text() == "12.5"
    assert "per 8 pixels" in luma.get_xlabel()
    assert "per 16 pixels" in blue.get_xlabel()


def test_only_cells_whose_interval_leaves_0_out_are_bold(spectrum):
    figure = frequency_maps(spectrum)
    bold = [text.get_text() for axes in figure.axes for text in axes.texts if text.get_fontweight() == "bold"]
    assert sorted(bold) == ["-50.0", "50.0"]
    assert "leaves 0 out" in figure.get_supxlabel().replace("\n", " ")


def test_all_panels_share_the_symmetric_scale_of_attributions(spectrum):
    images = [axes.images[0] for axes in frequency_maps(spectrum).axes[:3]]
    assert {image.get_clim() for image in images} == {(-50.0, 50.0)}
    cells = images[0].cmap(images[0].norm(images[0].get_array()))[..., :3]
    np.testing.assert_allclose(255 * cells[0, 0], RAISED, atol=1)
    np.testing.assert_allclose(255 * cells[2, 5], LOWERED, atol=1)
    np.testing.assert_allclose(cells[4, 4], to_rgb("white"), atol=0.01)


def test_without_intervals_nothing_is_bold_and_nothing_said_about_it(spectrum):
    unknown = np.full((3, 8, 8), np.nan)
    figure = frequency_maps(MeanSpectrum("webp-25", 1, spectrum.mean, unknown, unknown, (8, 8, 8)))
    assert not [text for axes in figure.axes for text in axes.texts if text.get_fontweight() == "bold"]
    caption = figure.get_supxlabel()
    assert "Bold" not in caption
    assert "halving" not in caption
    assert "mean of 1 image" in figure.get_suptitle()
