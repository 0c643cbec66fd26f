import io
import random

import numpy as np
import pytest
from PIL import Image

from bench.audit.jpeg_headers import read_header
from bench.audit.tables import standard_tables


def jpeg(**options):
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "JPEG", **options)
    file.seek(0)
    return file


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 75, 92, 100])
def test_tables_and_quality_are_those_that_pillow_wrote(quality):
    header = read_header(jpeg(quality=quality))
    assert header.quality == quality
    assert list(header.luma) == Image.open(jpeg(quality=quality)).quantization[0]
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


def test_damaged_files_are_refused_in_a_few_words():
    whole = jpeg(quality=75).getvalue()
    chance = random.Random(0)
    outcomes = set()
    for _ in range(2000):
        data = bytearray(whole[: chance.randrange(len(whole))])
        for _ in range(chance.randrange(6)):
            if data:
                data[chance.randrange(min(len(data), 700))] = chance.randrange(256)
        try:
            read_header(io.BytesIO(bytes(data)))
            outcomes.add("read")
        except ValueError as error:
            outcomes.add(str(error))
    assert outcomes >= {"read", "no JPEG file", "it ends within its header"}
    assert all(len(reason) < 60 for reason in outcomes)
