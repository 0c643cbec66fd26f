"""Codecs held to a rate."""

import numpy as np
import pytest
from PIL import Image

from bench.statistics.rate_curves import codec_curves
from datamodules import Synthetic
from datamodules.degradations import parse
from datamodules.errors import UserError


@pytest.fixture(scope="module")
def textures():
    data = Synthetic(num_workers=0, limit=4)
    data.setup("test")
    source = data.source("test")
    return [source.load(index).convert("RGB") for index in range(4)]


@pytest.mark.parametrize("codec", ["jpeg-{}", "jpeg-{}-444-optimise", "webp-{}"])
def test_it_is_the_largest_quality_that_fits(textures, codec):
    for image in textures:
        rate = round(parse(codec.format(50))(image).encoded_bytes / image.width / image.height * 8, 1)
        budget = rate * image.width * image.height / 8
        tried = [parse(codec.format(quality))(image) for quality in range(1, 101)]
        best = [degraded for degraded in tried if degraded.encoded_bytes <= budget][-1]
        found = parse(codec.format(f"{rate:g}bpp"))(image)
        assert found.encoded_bytes == best.encoded_bytes
        assert np.array_equal(np.asarray(found.image), np.asarray(best.image))


def test_where_all_qualities_fit_it_is_the_best():
    grey = Image.new("RGB", (64, 48), (90, 90, 90))
    assert parse("jpeg-20bpp")(grey).encoded_bytes == parse("jpeg-100")(grey).encoded_bytes


def test_where_none_fits_the_image_is_refused_with_its_numbers():
    image = Image.new("RGB", (32, 32))
    with pytest.raises(
        ValueError, match=r"32 x 32 pixels: jpeg-1 takes 6\d\d bytes, and jpeg-1bpp allows 128"
    ) as caught:
        parse("jpeg-1bpp")(image)
    assert parse(f"jpeg-{str(caught.value).rpartition(' ')[2]}")(image).encoded_bytes > 600


def test_in_a_chain_the_rate_is_that_of_the_image_that_comes_to_it(textures):
    small = parse("resize-0.5")(textures[0]).image
    chain = parse("resize-0.5+webp-2bpp")(textures[0])
    assert chain.encoded_bytes <= 2 * small.width * small.height / 8
    assert chain.encoded_bytes == parse("webp-2bpp")(small).encoded_bytes


def test_rates_of_a_codec_are_a_curve_of_their_own():
    bits = {"jpeg-1bpp": 0.9, "jpeg-2bpp": 1.9, "jpeg-50": 1.4}
    assert codec_curves(bits) == {"jpeg-bpp": ["jpeg-1bpp", "jpeg-2bpp"], "jpeg": ["jpeg-50"]}


@pytest.mark.parametrize("spec", ["jp2-psnr-1bpp", "resize-0.5bpp", "webp-lossless-1bpp", "original-1bpp"])
def test_what_has_no_quality_is_refused(spec):
    with pytest.raises(UserError, match=r"only codecs with a quality|malformed"):
        parse(spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("jepg-1bpp", "unknown degradation 'jepg-50' .is it jpeg?"),
        ("jpeg-0bpp", "bits per pixel 0 is out of range, choose 0.001 to 100"),
        ("jpeg-1bpp-445", "unknown chroma subsampling 445"),
        ("jpeg-1.50bpp", "has one name only: write jpeg-1.5bpp"),
        ("blur-1bpp", "blur sigma 50 is out of range"),
        ("jpeg-1bpp-2bpp", "is malformed|only codecs"),
        ("{}-1bpp", "is malformed"),
    ],
)
def test_mistakes_are_named(spec, message):
    with pytest.raises(UserError, match=message):
        parse(spec)
