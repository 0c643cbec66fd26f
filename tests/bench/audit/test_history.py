import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn

from bench.audit import lattice
from bench.audit.history import conclude, histories, measure
from bench.audit.jpeg_format import zigzag
from bench.audit.lattice import luma, window_magnitudes
from benchmarks.lossless_images import dead_leaves, rendered, spectrum
from benchmarks.lossy_pasts import PASTS, jpeg, save, shifted, twice


@pytest.fixture(scope="module")
def small():
    return [dead_leaves(32, 32, np.random.default_rng(seed), grain=2.0) // 2 + 64 for seed in range(20)]  # unclipped


@pytest.fixture(scope="module")
def large():
    return [dead_leaves(224, 160, np.random.default_rng(seed), grain=2.0) for seed in range(4)]


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


def test_a_few_blocks_score_without_tables_as_they_do_with_them(small):
    lattice._table.cache_clear()
    [alone] = measure(small[:1])
    assert lattice._table.cache_info().currsize == 0
    together = measure(small * 2)[0]
    assert lattice._table.cache_info().currsize
    np.testing.assert_allclose(alone.by_quality, together.by_quality, rtol=1e-6)


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


def test_untouched_images_of_much_detail_show_that_nothing_was_taken(small, large):
    detailed = [spectrum(224, 160, np.random.default_rng(seed)) for seed in range(8)]
    told = histories([*small, *large, *detailed])
    assert not {"jpeg", "lossy"} & {*verdicts(told)}
    assert verdicts(told[-8:]).count("lossless") >= 3
    saved = histories(
        [save(image, format=codec, quality=80) for codec in ("JPEG", "WEBP", "AVIF") for image in detailed]
    )
    assert "lossless" not in verdicts(saved)
    assert max(one.jpeg for one in told[20:]) < 0.1
    assert min(one.jpeg for one in saved[:8]) > 0.99


def test_what_a_save_explains_better_than_none_is_never_called_lossless():
    [evidence] = measure([spectrum(224, 160, np.random.default_rng(0))])
    told = conclude([evidence, replace(evidence, score=1.0)])
    assert verdicts(told) == ["lossless", "unknown"]
    assert "cannot be told from none" in told[1].reason


def test_probabilities_are_those_of_three_pasts(small):
    for one in histories([*small[:3], jpeg(75)(small[0]), save(small[1], format="WEBP", quality=30)]):
        assert 0 <= one.jpeg <= 1
        assert 0 <= one.lossless <= 1 - one.jpeg + 1e-9


@pytest.mark.parametrize("past", [past for past in PASTS if "75, resized" in past and "0.25" not in past])
def test_what_was_resized_after_a_save_is_never_called_lossless(large, past):
    make, _ = PASTS[past]
    assert "lossless" not in verdicts(histories([make(image) for image in large]))


def test_pixels_that_were_repeated_are_no_lattice():
    art = [image.repeat(8, 0).repeat(8, 1) for _, image in rendered(24, 24, 13, "judge")]
    assert {"unknown"} == {*verdicts(histories(art))}


@pytest.mark.parametrize("codec", ["WEBP", "AVIF"])
def test_chroma_at_half_size_gives_other_codecs_away(large, codec):
    found = histories([save(image, format=codec, quality=80) for image in large])
    assert verdicts(found) == ["lossy"] * 4


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
    apart = [histories([image])[0] for image in mixed]
    together = histories(mixed)
    assert [(one.verdict, one.quality) for one in together] == [(one.verdict, one.quality) for one in apart]
    assert [one.quality for one in together] == [None, None, 50, 50, None, None]
