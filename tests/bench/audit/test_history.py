import io

import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn

from bench.audit.history import histories
from bench.audit.lattice import luma, window_magnitudes
from bench.audit.tables import zigzag
from benchmarks.audit import dead_leaves, jpeg, save, shifted, twice


@pytest.fixture(scope="module")
def small():
    return list(dead_leaves(32, 32, 20))


@pytest.fixture(scope="module")
def large():
    return list(dead_leaves(224, 160, 4))


def verdicts(found):
    return [one.verdict for one in found]


def test_coefficients_are_those_of_scipys_dct():
    pixels = np.random.default_rng(0).integers(-128, 128, (1, 20, 24)).astype(np.float32)
    found = window_magnitudes(pixels)[:, 0, 3, 5]
    expected = np.abs(dctn(pixels[0, 3:11, 5:13], norm="ortho")).reshape(64)[zigzag()[: len(found)]]
    np.testing.assert_allclose(found / 8, np.minimum(expected, 2047 / 8), atol=1 / 16 + 1e-3)


def test_rounding_luma_restores_what_the_decoder_had(large):
    buffer = io.BytesIO()
    Image.fromarray(large[0] // 2 + 64).save(buffer, "JPEG", quality=80)
    decoded = Image.open(buffer)
    decoded.draft("YCbCr", None)
    exact = np.asarray(decoded)[..., 0].astype(int) - 128
    assert (luma(save(large[0] // 2 + 64, format="JPEG", quality=80)) == exact).all()


@pytest.mark.parametrize("sampling", ["4:2:0", "4:4:4"])
@pytest.mark.parametrize("quality", [30, 95])
def test_a_past_as_jpeg_is_found_with_its_quality_at_32_pixels(small, quality, sampling):
    found = histories([jpeg(quality, sampling)(image) for image in small])
    assert verdicts(found).count("jpeg") >= 19
    near = [abs(one.quality - quality) <= 1 and one.offset == (0, 0) for one in found if one.verdict == "jpeg"]
    assert np.mean(near) > 0.97


@pytest.mark.parametrize("quality", [30, 75, 98])
def test_the_quality_of_larger_images_is_exact(large, quality):
    assert [one.quality for one in histories([jpeg(quality)(image) for image in large])] == [quality] * 4


def test_a_grid_that_was_cropped_is_found(large):
    found = histories([shifted(image) for image in large])
    assert [(one.quality, one.offset) for one in found] == [(85, (5, 3))] * 4


def test_a_coarser_save_before_the_last_one_shows(large):
    found = histories([twice(image) for image in large])
    assert [(one.quality, one.earlier_quality) for one in found] == [(90, 60)] * 4
    once = histories([jpeg(90)(image) for image in large])
    assert [one.earlier_quality for one in once] == [None] * 4


def test_untouched_images_show_no_past(small, large):
    found = histories([*small, *large])
    assert verdicts(found) == ["no trace"] * len(found)
    assert all(one.probability < 0.01 and one.ruled_out >= 90 for one in found)


@pytest.mark.parametrize("codec", ["WEBP", "AVIF"])
def test_chroma_at_half_size_gives_other_codecs_away(large, codec):
    found = histories([save(image, format=codec, quality=80) for image in large])
    assert verdicts(found) == ["lossy"] * 4


def test_enlarged_images_are_unknown(large):
    enlarged = [
        np.asarray(Image.fromarray(jpeg(75)(image)).resize((400, 300), Image.Resampling.BICUBIC)) for image in large
    ]
    found = histories(enlarged)
    assert verdicts(found) == ["unknown"] * 4
    assert "finest detail" in found[0].reason


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((8, 300, 3), np.uint8), "smaller"),
        (np.full((64, 64, 3), 90, np.uint8), "flat"),
        (np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (64, 64, 3)), "clipped"),
    ],
    ids=["tiny", "flat", "clipped"],
)
def test_images_that_cannot_tell_are_unknown(image, reason):
    [found] = histories([image])
    assert found.verdict == "unknown"
    assert reason in found.reason


def test_images_of_any_size_come_back_in_order(small, large):
    mixed = [small[0], large[0], jpeg(50)(small[1]), jpeg(50)(large[1]), np.zeros((300, 20, 3), np.uint8), small[2]]
    assert verdicts(histories(mixed)) == ["no trace", "no trace", "jpeg", "jpeg", "unknown", "no trace"]
