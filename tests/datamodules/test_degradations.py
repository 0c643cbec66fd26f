"""What a degradation does to an image; oracles are Pillow, scipy's definition and hand-worked cases."""

import pickle
import subprocess
import sys
from importlib.metadata import version
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import AvifImagePlugin, Image, ImageFile, features
from torchvision.transforms import CenterCrop, Compose
from torchvision.transforms import Resize as TorchvisionResize

import datamodules
from datamodules.degradations import Degraded, Jpeg, Original, codec_versions, framing, parse, parse_all
from datamodules.errors import UserError

QUALITIES = (*range(1, 101, 9), 25, 50, 75, 95, 99)
PILLOW_SUBSAMPLING = {"444": 0, "422": 1, "420": 2}
SIZES = [(1, 1), (1, 17), (17, 1), (33, 7), (8, 8), (300, 1)]
PLUGINS = {"jxl": "pillow_jxl", "heic": "pillow_heif.HeifImagePlugin"}
CODECS = {
    **{f"webp-{quality}": ("WEBP", {"quality": quality}) for quality in (0, 50, 75, 100)},
    "webp-lossless": ("WEBP", {"lossless": True}),
    **{f"avif-{quality}": ("AVIF", {"quality": quality, "max_threads": 1}) for quality in (0, 50, 100)},
    "jp2-ratio-4": ("JPEG2000", {"quality_mode": "rates", "quality_layers": [4]}),
    "jp2-ratio-2.5": ("JPEG2000", {"quality_mode": "rates", "quality_layers": [2.5]}),
    "jp2-psnr-35": ("JPEG2000", {"quality_mode": "dB", "quality_layers": [35]}),
    **{f"jxl-{quality}": ("JXL", {"quality": quality}) for quality in (0, 50, 99)},
    **{f"heic-{quality}": ("HEIF", {"quality": quality}) for quality in (0, 50, 100)},
    "jpeg-75-progressive": ("JPEG", {"quality": 75, "progressive": True}),
    "jpeg-75-optimise": ("JPEG", {"quality": 75, "optimize": True}),
    "jpeg-30-444-progressive-optimise": (
        "JPEG",
        {"quality": 30, "subsampling": "4:4:4", "progressive": True, "optimize": True},
    ),
}
REFERENCES = ["resize-0.5", "resize-24", "downup-0.5", "blur-1.5", "noise-0.05"]
OTHERS = [
    "original",
    "jpeg-75-x3",
    "jpeg-75-x3-shift3",
    "cifar10c-jpeg-3",
    "imagenetc-jpeg-5",
    "resize-0.5+jpeg-50",
]
ALL = [*CODECS, *REFERENCES, *OTHERS]


def photo(width=37, height=23, seed=0):
    """Smooth colours with some noise: an image on which quality and subsampling both matter."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    return Image.fromarray((smooth + rng.integers(-20, 21, smooth.shape)).clip(0, 255).astype(np.uint8))


def need(spec):
    """Skip where the plugin of a codec is not installed."""
    if spec.split("-")[0] in PLUGINS:
        pytest.importorskip(PLUGINS[spec.split("-")[0]], reason="needs the extra [codecs]")


def by_pillow(image, folder, file_format, **options):
    """Pixels and size in bytes of a file that Pillow wrote."""
    path = folder / "image"
    image.save(path, format=file_format, **options)
    return np.asarray(Image.open(path).convert("RGB")), path.stat().st_size


def assert_same(degraded, expected):
    pixels, size = expected
    assert degraded.image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(degraded.image), pixels)
    assert degraded.encoded_bytes == size


@pytest.mark.parametrize("quality", QUALITIES)
def test_jpeg_is_pillows_round_trip_pixel_for_pixel_and_byte_for_byte(quality, tmp_path):
    assert_same(parse(f"jpeg-{quality}")(photo()), by_pillow(photo(), tmp_path, "JPEG", quality=quality))


@pytest.mark.parametrize("subsampling", PILLOW_SUBSAMPLING)
@pytest.mark.parametrize("quality", [1, 50, 75, 100])
def test_jpeg_subsampling_is_pillows(quality, subsampling, tmp_path):
    expected = by_pillow(photo(), tmp_path, "JPEG", quality=quality, subsampling=PILLOW_SUBSAMPLING[subsampling])
    assert_same(parse(f"jpeg-{quality}-{subsampling}")(photo()), expected)


@pytest.mark.parametrize("size", [(37, 23), (1, 17), (200, 150)])
@pytest.mark.parametrize("spec", CODECS)
def test_a_codec_is_pillows_round_trip_pixel_for_pixel_and_byte_for_byte(spec, size, tmp_path):
    need(spec)
    file_format, options = CODECS[spec]
    assert_same(parse(spec)(photo(*size)), by_pillow(photo(*size), tmp_path, file_format, **options))


@pytest.mark.parametrize("quality", [1, 50, 75, 100])
def test_default_subsampling_is_420_and_no_other(quality):
    default, *others = (
        np.asarray(parse(f"jpeg-{quality}{suffix}")(photo()).image) for suffix in ("", "-420", "-422", "-444")
    )
    assert [np.array_equal(default, other) for other in others] == [True, False, False]


def test_progressive_and_optimised_coding_change_the_size_and_no_pixel():
    plain, *others = (parse(f"jpeg-75{suffix}")(photo(200, 150)) for suffix in ("", "-progressive", "-optimise"))
    for other in others:
        assert other.image == plain.image
        assert other.encoded_bytes < plain.encoded_bytes


@pytest.mark.parametrize("coding", ["", "-progressive", "-optimise"])
def test_noise_that_fills_more_than_pillows_buffer_is_encoded(coding):
    noise = Image.fromarray(255 * np.random.default_rng(0).integers(0, 2, (400, 400, 3), dtype=np.uint8))
    before = ImageFile.MAXBLOCK
    assert parse(f"jpeg-100-444{coding}")(noise).encoded_bytes > 400 * 400 * 3
    assert before == ImageFile.MAXBLOCK


def test_generations_are_saves_of_what_the_save_before_left(tmp_path):
    image = photo()
    for _ in range(4):
        expected = by_pillow(image, tmp_path, "JPEG", quality=40, subsampling="4:2:2")
        image = Image.fromarray(expected[0])
    assert_same(parse("jpeg-40-422-x4")(photo()), expected)


def test_a_shift_rolls_the_image_between_saves_and_back_after_the_last(tmp_path):
    pixels = np.asarray(photo())
    pixels, _ = by_pillow(Image.fromarray(pixels), tmp_path, "JPEG", quality=40)
    pixels, _ = by_pillow(Image.fromarray(np.roll(pixels, (3, 3), (0, 1))), tmp_path, "JPEG", quality=40)
    pixels, size = by_pillow(Image.fromarray(np.roll(pixels, (3, 3), (0, 1))), tmp_path, "JPEG", quality=40)
    assert_same(parse("jpeg-40-x3-shift3")(photo()), (np.roll(pixels, (-6, -6), (0, 1)), size))


def test_shifted_generations_lose_more_than_aligned_ones():
    def error(spec):
        image = photo(64, 64)
        return np.square(np.asarray(parse(spec)(image).image, dtype=float) - np.asarray(image)).mean()

    assert error("jpeg-75-x5-shift3") > 1.1 * error("jpeg-75-x5") > error("jpeg-75")


@pytest.mark.parametrize(
    ("family", "qualities"), [("cifar10c-jpeg", [80, 65, 58, 50, 40]), ("imagenetc-jpeg", [25, 18, 15, 10, 7])]
)
def test_severities_are_the_qualities_of_hendrycks_and_dietterich(family, qualities):
    for severity, quality in enumerate(qualities, start=1):
        assert parse(f"{family}-{severity}")(photo()) == parse(f"jpeg-{quality}")(photo())


def test_lossless_webp_keeps_every_pixel():
    assert parse("webp-lossless")(photo()).image == photo()


@pytest.mark.parametrize("spec", ["webp", "avif", "jp2-psnr", "jxl", "heic"])
def test_more_quality_is_more_bytes_and_less_error(spec):
    need(spec)
    image = photo(96, 64)
    degraded = [parse(f"{spec}-{quality}")(image) for quality in (20, 50, 90)]
    errors = [np.square(np.asarray(one.image, dtype=float) - np.asarray(image)).mean() for one in degraded]
    assert all(less.encoded_bytes < more.encoded_bytes for less, more in pairwise(degraded))
    assert errors == sorted(errors, reverse=True)


def test_jpeg_2000_meets_the_ratio_and_the_fidelity_asked_for():
    image = photo(300, 200)
    assert parse("jp2-ratio-10")(image).encoded_bytes == pytest.approx(300 * 200 * 3 / 10, rel=0.02)
    error = np.square(np.asarray(parse("jp2-psnr-35")(image).image, dtype=float) - np.asarray(image)).mean()
    assert 10 * np.log10(255**2 / error) == pytest.approx(35, abs=0.3)


def test_avif_does_not_depend_on_the_number_of_cores(monkeypatch):
    image = photo(600, 400)
    degraded = []
    for cores in (1, 4):
        monkeypatch.setattr(AvifImagePlugin, "DEFAULT_MAX_THREADS", cores)
        degraded.append(parse("avif-20")(image))
    assert degraded[0] == degraded[1]


@pytest.mark.parametrize(
    ("spec", "size", "smaller"),
    [("resize-0.5", (37, 23), (18, 12)), ("resize-0.1", (1, 17), (1, 2)), ("resize-0.01", (33, 7), (1, 1))],
)
def test_resize_is_pillows_bicubic_and_leaves_the_image_smaller(spec, size, smaller):
    assert parse(spec)(photo(*size)) == Degraded(photo(*size).resize(smaller, Image.Resampling.BICUBIC), None)


@pytest.mark.parametrize("size", [(500, 375), (333, 500), (256, 256), (100, 90), (301, 259)])
@pytest.mark.parametrize("severity", [1, 5])
def test_imagenet_c_is_made_as_its_script_makes_it(size, severity, tmp_path):
    """Hendrycks and Dietterich (2019), make_imagenet_c.py: Resize(256), CenterCrop(224), JPEG; saved again at 85."""
    image = photo(*size)
    framed = Compose([TorchvisionResize(256), CenterCrop(224)])(image)
    assert parse("resize-256+crop-224")(image) == Degraded(framed, None)
    corrupted = by_pillow(framed, tmp_path, "JPEG", quality=[25, 18, 15, 10, 7][severity - 1])
    view = f"resize-256+crop-224+imagenetc-jpeg-{severity}"
    assert_same(parse(view)(image), corrupted)
    saved = by_pillow(Image.fromarray(corrupted[0]), tmp_path, "JPEG", quality=85, optimize=True)
    assert_same(parse(f"{view}+jpeg-85-optimise")(image), saved)


@pytest.mark.parametrize(
    ("spec", "size", "reason"),
    [
        ("crop-224", (223, 500), "223 x 500 pixels: no square of 224 can be cropped from it"),
        (
            "resize-4096",
            (1, 65536),
            "1 x 65536 pixels: 4096 x 268435456 with a shorter side of 4096, .*",
        ),
    ],
)
def test_a_geometry_that_an_image_has_not_got_is_refused_in_one_line(spec, size, reason):
    with pytest.raises(ValueError, match=f"^{reason}$"):
        parse(spec)(Image.new("RGB", size))


def test_views_of_one_crop_show_the_same_part():
    frames = [framing(parse(view)) for view in ("original", "jpeg-50", "resize-0.5+jpeg-50", "resize-256")]
    assert frames == [()] * 4
    cropped = ("resize-256+crop-224", "resize-256+crop-224+jpeg-50", "resize-256+blur-1+crop-224+resize-0.5+jpeg-50")
    assert {framing(parse(view)) for view in cropped} == {("resize-256", "crop-224")}


def test_downup_is_pillows_bicubic_both_ways():
    expected = photo().resize((9, 6), Image.Resampling.BICUBIC).resize((37, 23), Image.Resampling.BICUBIC)
    assert parse("downup-0.25")(photo()) == Degraded(expected, None)


@pytest.mark.parametrize("size", [(37, 23), (1, 17), (1, 1)])
@pytest.mark.parametrize("sigma", [0.4, 1.5, 6])
def test_blur_is_a_gaussian_with_borders_repeated(size, sigma):
    reach = int(4 * sigma + 0.5)
    kernel = np.exp(-np.square(np.arange(-reach, reach + 1)) / (2 * sigma**2))
    padded = np.pad(np.asarray(photo(*size), dtype=float), ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (len(kernel), len(kernel)), axis=(0, 1))
    expected = (windows * np.outer(kernel, kernel)).sum((-2, -1)) / kernel.sum() ** 2
    blurred = np.asarray(parse(f"blur-{sigma}")(photo(*size)).image, dtype=float)
    np.testing.assert_allclose(blurred, expected, atol=0.5 + 1e-9)  # rounding


def test_noise_has_the_deviation_asked_for_and_no_pattern():
    grey = Image.new("RGB", (400, 300), (128, 128, 128))
    noise = np.asarray(parse("noise-0.05")(grey).image, dtype=float) - 128
    assert noise.std() / 255 == pytest.approx(0.05, rel=0.01)
    assert abs(noise.mean()) < 0.1
    channels = noise.reshape(-1, 3).T
    neighbours = [(noise[:, 1:], noise[:, :-1]), (noise[1:], noise[:-1]), (channels[0], channels[1])]
    assert all(abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.015 for a, b in neighbours)


def test_noise_differs_from_image_to_image_and_scales_with_the_deviation():
    grey = Image.new("RGB", (40, 30), (128, 128, 128))
    other = grey.copy()
    other.putpixel((0, 0), (128, 128, 129))
    weak, strong, elsewhere = (
        np.asarray(parse(spec)(image).image, dtype=float) - 128
        for spec, image in [("noise-0.05", grey), ("noise-0.1", grey), ("noise-0.05", other)]
    )
    np.testing.assert_allclose(strong, 2 * weak, atol=1.51)  # either was rounded
    assert abs(np.corrcoef(weak.ravel(), elsewhere.ravel())[0, 1]) < 0.1


def test_noise_is_clipped_where_it_leaves_the_range():
    black = np.asarray(parse("noise-1")(Image.new("RGB", (40, 30))).image)
    assert (black == 0).mean() == pytest.approx(0.5, abs=0.03)
    assert (black == 255).mean() == pytest.approx(0.159, abs=0.03)


def test_a_chain_is_its_links_one_after_the_other():
    small = parse("resize-0.5")(photo()).image
    assert parse("resize-0.5+jpeg-50")(photo()) == parse("jpeg-50")(small)


@pytest.mark.parametrize(
    ("spec", "codec", "image"),
    [
        ("webp-50+jpeg-50", "jpeg-50", "webp-50"),
        ("jpeg-50+blur-1", "jpeg-50", "original"),
        ("blur-1+noise-0.1", None, "original"),
    ],
)
def test_the_encoded_size_of_a_chain_is_that_of_its_last_codec(spec, codec, image):
    size = None if codec is None else parse(codec)(parse(image)(photo()).image).encoded_bytes
    assert parse(spec)(photo()).encoded_bytes == size


@pytest.mark.parametrize("first", ["jp2-psnr-35", "avif-50", "jxl-50", "heic-50", "webp-50"])
@pytest.mark.parametrize("second", ["jpeg-50", "webp-50", "avif-50"])
def test_only_pixels_pass_from_one_codec_to_the_next(first, second):
    need(first)
    bare = Image.fromarray(np.asarray(parse(first)(photo()).image))
    assert parse(f"{first}+{second}")(photo()) == parse(second)(bare)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("spec", ALL)
def test_a_degradation_is_a_pure_function_that_a_loader_worker_can_be_sent(spec, size):
    need(spec)
    image = photo(*size)
    before = image.tobytes()
    degraded = parse(spec)(image)
    again = pickle.loads(pickle.dumps(parse(spec)))(image)
    assert image.tobytes() == before
    assert again == degraded
    assert degraded.image.mode == "RGB"
    assert degraded.image.size == size or spec.startswith("resize")


@settings(deadline=None, max_examples=25)
@given(st.tuples(st.integers(1, 70), st.integers(1, 70)), st.sampled_from(ALL), st.integers(0, 9))
def test_any_size_passes_through(size, spec, seed):
    if spec.split("-")[0] in PLUGINS:
        return
    degraded = parse(spec)(photo(*size, seed=seed))
    assert degraded.image.size == size or spec.startswith("resize")


def test_original_is_the_image_itself_and_encodes_nothing():
    image = photo()
    degraded = Original()(image)
    assert degraded.image is image
    assert degraded.encoded_bytes is None


@pytest.mark.parametrize(
    ("spec", "size", "limit"),
    [
        ("jpeg-75", (65501, 1), "JPEG holds at most 65500"),
        ("jpeg-75", (1, 65536), "JPEG holds at most 65500"),
        ("jpeg-75-progressive-x2", (1, 65536), "JPEG holds at most 65500"),
        ("webp-50", (16384, 1), "WebP holds at most 16383"),
        ("webp-lossless", (1, 16384), "WebP holds at most 16383"),
        ("avif-50", (32769, 1), "AVIF holds at most 32768"),
        ("heic-50", (20000, 1), "HEIC failed: Error during encoding"),
    ],
)
def test_a_side_that_the_codec_cannot_hold_is_refused_in_one_line(spec, size, limit, capfd):
    need(spec)
    with pytest.raises(ValueError, match=rf"^{size[0]} x {size[1]} pixels: {limit}[^\n]*$"):
        parse(spec)(Image.new("RGB", size))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("spec", "side"), [("jpeg-75", 65500), ("webp-50", 16383), ("avif-0", 32768), ("jp2-ratio-20", 70000)]
)
def test_the_longest_side_that_the_codec_can_hold_is_taken(spec, side):
    assert parse(spec)(Image.new("RGB", (side, 1))).image.size == (side, 1)


def test_a_codec_that_this_pillow_lacks_is_named_with_the_mend(monkeypatch):
    monkeypatch.setattr(features, "check", lambda feature: feature != "avif")
    assert parse("avif-50").name == "avif-50"  # a report of another machine's run
    assert len(parse_all(["webp-50"])) == 2
    with pytest.raises(UserError, match=r"'blur-1\+avif-50': this Pillow lacks AVIF: install a newer one.*pip install"):
        parse_all(["blur-1+avif-50"])
    with pytest.raises(UserError, match="this Pillow lacks AVIF"):
        parse("avif-50")(photo())


@pytest.mark.parametrize(("spec", "package"), [("jxl-50", "pillow-jxl-plugin"), ("heic-50", "pillow-heif")])
def test_a_plugin_that_is_missing_is_named_and_asked_for_by_its_own_views_only(spec, package, monkeypatch):
    monkeypatch.setitem(sys.modules, PLUGINS[spec.split("-")[0]], None)
    assert len(parse_all(["jpeg-50", "webp-50", "avif-50", "jp2-psnr-30"])) == 5
    with pytest.raises(UserError, match=rf"'{spec}': .* needs a plugin: `pip install {package}`"):
        parse_all([spec])


def test_a_fresh_process_imports_no_plugin_before_a_view_asks_for_it():
    for spec in PLUGINS:
        need(spec)
    program = f"""
import pickle, sys, types
sys.modules["datamodules"] = package = types.ModuleType("datamodules")  # without torch, which takes seconds
package.__path__ = {list(datamodules.__path__)}
from PIL import Image
degradations = pickle.loads(bytes.fromhex(sys.argv[1]))
assert not {{"pillow_jxl", "pillow_heif"}} & set(sys.modules)
print(*(degradation(Image.new("RGB", (9, 9))).image.size for degradation in degradations))
"""
    sent = pickle.dumps([parse("jxl-50"), parse("heic-50")]).hex()
    run = subprocess.run([sys.executable, "-c", program, sent], capture_output=True, text=True, check=True)
    assert run.stdout == "(9, 9) (9, 9)\n"


def test_versions_of_the_libraries_at_work_are_known():
    views = parse_all(["blur-1+jpeg-50", "webp-50", "webp-lossless", "avif-50", "jp2-psnr-30"])
    assert codec_versions(views) == {
        "AVIF": features.version("avif"),
        "JPEG": features.version("libjpeg_turbo"),
        "JPEG 2000": features.version("jpg_2000"),
        "WebP": features.version("webp"),
    }


def test_versions_of_plugins_are_those_of_their_packages():
    for spec in PLUGINS:
        need(spec)
    versions = codec_versions(parse_all(["jxl-50", "heic-50"]))
    assert versions == {"HEIC": sys.modules["pillow_heif"].__version__, "JPEG XL": version("pillow-jxl-plugin")}


def test_jpegs_own_arguments_are_those_of_its_name():
    assert parse("jpeg-75-444-progressive-optimise-x5-shift3") == Jpeg(75, "444", True, True, 5, 3)
