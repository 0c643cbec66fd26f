"""Where open_clip's own preprocessing gives the same pixels and where it cannot: the table of docs/exactness.md."""

import io

import numpy as np
import pytest
import torch
from open_clip.transform import image_transform
from PIL import ExifTags, Image

from bench.clip.preprocess import Preprocess
from datamodules.decoding import to_rgb

SIDE, MEAN, STD = 32, (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
PIXELS = np.random.default_rng(0).integers(0, 256, (50, 70, 4), dtype=np.uint8)
theirs = image_transform(SIDE, is_train=False, mean=MEAN, std=STD)


def ours(image):
    upright = torch.from_numpy(np.array(to_rgb(image))).permute(2, 0, 1)
    return Preprocess(SIDE, MEAN, STD)(upright[None])[0]


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_rgb_and_grayscale_are_the_same(mode):
    image = Image.fromarray(PIXELS[..., :3]).convert(mode)
    assert torch.equal(ours(image.copy()), theirs(image))


@pytest.mark.parametrize("mode", ["P", "1", "RGBA", "LA", "CMYK"])
def test_other_modes_are_converted_first_where_open_clip_resizes_first(mode):
    inks = Image.frombytes("CMYK", (70, 50), PIXELS.tobytes())  # black among them
    image = inks if mode == "CMYK" else Image.fromarray(PIXELS).convert(mode)
    found = ours(image.copy())
    assert torch.equal(found, theirs(image.convert("RGB")))
    assert not torch.equal(found, theirs(image))


def test_16_bits_are_scaled_where_open_clip_clips():
    image = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 200 + 300)
    assert len(theirs(image)[0].unique()) == 1
    assert len(ours(image)[0].unique()) > 100


def test_an_exif_turn_is_made_where_open_clip_ignores_it():
    upright = Image.fromarray(PIXELS[..., :3])
    lying = upright.transpose(Image.Transpose.ROTATE_90)
    exif, file = Image.Exif(), io.BytesIO()
    exif[ExifTags.Base.Orientation] = 6  # turn it clockwise by a quarter to show it
    lying.save(file, "PNG", exif=exif)
    with Image.open(file) as image:
        assert torch.equal(theirs(image), theirs(lying))
    with Image.open(file) as image:
        assert torch.equal(ours(image), theirs(upright))
