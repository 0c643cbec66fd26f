"""Photographs and CIFAR-10, whose pasts are known."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data
import sklearn.datasets
from PIL import Image

from bench.audit.dataset import examine, summarise
from bench.audit.history import histories
from bench.audit.jpeg_format import read_header
from benchmarks.lossy_pasts import jpeg
from datamodules.sources import ArraySource

PHOTOGRAPHS = sorted(
    [
        *Path(skimage.data.__file__).parent.glob("*.jpg"),
        *(Path(sklearn.datasets.__file__).parent / "images").glob("*.jpg"),
    ]
)


@pytest.mark.parametrize("file", PHOTOGRAPHS, ids=lambda file: file.stem)
def test_pixels_of_photographs_say_what_their_files_say(file):
    with Image.open(file) as image:
        header = read_header(image)
        [told] = histories([np.asarray(image.convert("RGB"))])
    assert told.verdict != "lossless"
    if header.quality is not None:
        assert (told.verdict, told.quality, told.offset) == ("jpeg", header.quality, (0, 0))


def test_there_are_photographs_of_known_quality():
    qualities = []
    for file in PHOTOGRAPHS:
        with Image.open(file) as image:
            qualities.append(read_header(image).quality)
    assert len([quality for quality in qualities if quality is not None]) >= 3


@pytest.mark.slow
def test_cifar10_passes_and_its_mirror_does_not(shared):
    images = np.asarray(Image.open(shared / "cifar10/test.png")).reshape(-1, 32, 32, 3)
    source = ArraySource(images, [0] * len(images), ["any"])
    summary = summarise(list(examine(source, range(len(images)))))
    assert summary["conclusion"] in ("lossless", "no save at this size")
    assert summary["lossy"] <= 0.01 * len(images)
    saved = ArraySource(np.stack([jpeg(90)(image) for image in images[:200]]), [0] * 200, ["any"])
    summary = summarise(list(examine(saved, range(200))))
    assert (summary["conclusion"], next(iter(summary["qualities"]))) == ("lossy", "90")
