import io

import numpy as np
import pytest
from PIL import Image

from bench.audit.jpeg_format import read_header, standard_tables


def jpeg(**options):
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "JPEG", **options)
    return Image.open(file)


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 75, 92, 100])
def test_tables_and_quality_are_those_that_pillow_wrote(quality):
    header = read_header(jpeg(quality=quality))
    assert header.quality == quality
    assert list(header.luma) == jpeg(quality=quality).quantization[0]
    assert header.luma == tuple(standard_tables()[quality - 1])
    assert header.chroma == tuple(standard_tables(chroma=True)[quality - 1])


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_subsampling_and_progressive_coding_are_read(subsampling):
    header = read_header(jpeg(subsampling=subsampling, progressive=True))
    assert (header.subsampling, header.progressive) == (subsampling, True)


def test_custom_tables_have_no_quality():
    header = read_header(jpeg(qtables=[[3] * 64, [5] * 64]))
    assert (header.quality, set(header.luma), set(header.chroma)) == (None, {3}, {5})


def test_luma_of_one_quality_with_chroma_of_another_is_custom():
    tables = [standard_tables()[74].tolist(), standard_tables(chroma=True)[89].tolist()]
    assert read_header(jpeg(qtables=tables)).quality is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda image: image.quantization.clear(), "without a quantisation table"),
        (lambda image: image.quantization.update({0: [0] * 64}), "without steps"),
        (lambda image: image.layer.clear(), "without samples"),
    ],
    ids=["no table", "zero steps", "no components"],
)
def test_headers_that_make_no_sense_are_refused_in_a_few_words(change, reason):
    image = jpeg(quality=75)
    change(image)
    with pytest.raises(ValueError, match=reason):
        read_header(image)
