"""The rendered image set: reproducible, balanced, disjoint splits, and a class that lives in what JPEG destroys."""

import hashlib
import subprocess
import sys
import warnings
from collections import Counter
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from datamodules.errors import UserError
from datamodules.synthetic import Synthetic, SyntheticSource
from datamodules.textures import SIZES, TEXTURES, render

GOLDEN = {32: "535b286d5414aea1", 96: "86a71708dded27ac"}


def digest(split: str, size: int, indices: range = range(40), seed: int = 0) -> str:
    source = SyntheticSource(split, (size,), seed)
    return hashlib.sha256(b"".join(source.load(index).tobytes() for index in indices)).hexdigest()[:16]


@pytest.mark.parametrize("size", SIZES)
def test_an_index_gives_the_same_pixels_in_any_order(size):
    source = SyntheticSource("test", (size,), 0)
    forwards = [source.load(index).tobytes() for index in range(12)]
    backwards = [source.load(index).tobytes() for index in reversed(range(12))]
    assert forwards == backwards[::-1]
    assert source.load(0).size == (size, size)


@pytest.mark.slow
def test_another_process_renders_the_same_pixels():
    program = "from tests.datamodules.test_synthetic import digest; print(digest('train', 32), digest('test', 96))"
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert there == [digest("train", 32), digest("test", 96)]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("size", SIZES)
def test_pixels_are_those_the_shipped_weights_were_trained_on(size):
    if digest("train", size) != GOLDEN[size]:
        warnings.warn(f"this platform renders other pixels at size {size}: {digest('train', size)}", stacklevel=1)


def test_splits_and_seeds_share_no_image():
    sets = [("train", 0), ("test", 0), ("train", 1), ("test", 1)]
    images = [SyntheticSource(split, (32,), seed).load(index).tobytes() for split, seed in sets for index in range(200)]
    assert len(set(images)) == len(images)


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_ten_images_hold_each_class_once_in_changing_order(split):
    source = SyntheticSource(split, (32,), 0)
    blocks = [tuple(source.label(index) for index in range(start, start + 10)) for start in range(0, 200, 10)]
    assert all(sorted(block) == list(range(10)) for block in blocks)
    assert len(set(blocks)) > 15


def test_held_out_images_hold_every_class_at_both_sizes():
    data = Synthetic(size="both", degradations=["original"], num_workers=0, batch_size=1200)
    data.setup("fit")
    held_out = data.val_dataloader().dataset.indices
    assert set(held_out).isdisjoint(data.train_dataloader().dataset.indices)
    source = SyntheticSource("train", SIZES, 0)
    counts = Counter((source.sizes[index // 10 % 2], source.label(index)) for index in held_out)
    assert len(counts) == 20
    assert min(counts.values()) > 30


def test_a_batch_of_both_sizes_keeps_native_sizes():
    data = Synthetic(size="both", num_workers=0, batch_size=20, limit=20)
    data.setup("test")
    batch = next(iter(data.test_dataloader()))
    assert list(batch.views) == ["original", "jpeg-75", "jpeg-50", "jpeg-25"]
    assert [tuple(image.shape) for image in batch.views["jpeg-25"]] == [(3, 32, 32)] * 10 + [(3, 96, 96)] * 10


def residuals(size: int, seed: int, quality: int | None) -> np.ndarray:
    """What remains of ten pictures that differ in texture alone when their mean is removed, float [10, H, W, 3]."""
    images = [Image.fromarray(render(texture, size, np.random.default_rng(seed))) for texture in TEXTURES]
    if quality is not None:
        images = [round_trip(image, quality) for image in images]
    pixels = np.stack([np.asarray(image, dtype=np.float64) for image in images])
    return pixels - pixels.mean(axis=0)


def round_trip(image: Image.Image, quality: int) -> Image.Image:
    file = BytesIO()
    image.save(file, format="JPEG", quality=quality)
    with Image.open(file) as decoded:
        return decoded.convert("RGB")


@pytest.mark.parametrize("size", SIZES)
def test_jpeg_damages_every_texture_by_degrees(size):
    texture = np.stack([residuals(size, seed, None) for seed in range(10)], axis=1).reshape(10, -1)
    damage = {}
    for quality in (90, 75, 50, 25):
        left = np.stack([residuals(size, seed, quality) for seed in range(10)], axis=1).reshape(10, -1)
        damage[quality] = ((left - texture) ** 2).sum(axis=1) / (texture**2).sum(axis=1)
    assert (damage[25] > 2 * damage[90]).all(), damage
    means = [share.mean() for share in damage.values()]
    assert 0 < means[0] < means[1] < means[2] < means[3] < 1


@pytest.mark.parametrize("size", SIZES)
def test_colour_and_brightness_say_nothing_about_the_class(size):
    """Guessing the nearest class mean of 4 x 4 blurred pixels, fitted on one half, stays near chance on the other."""
    source = SyntheticSource("test", (size,), 0)
    blurred = [source.load(index).resize((4, 4), Image.Resampling.BOX) for index in range(1000)]
    features = np.stack([np.asarray(image, dtype=np.float64).ravel() for image in blurred])
    labels = np.array([source.label(index) for index in range(1000)])
    means = np.stack([features[:500][labels[:500] == label].mean(axis=0) for label in range(10)])
    distances = ((features[500:, None] - means) ** 2).sum(axis=2)
    assert (distances.argmin(axis=1) == labels[500:]).mean() < 0.16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 64}, "--data.size 64 is not rendered: choose 32, 96 or both"),
        ({"image_seed": -1}, "--data.image_seed -1 is out of range"),
        ({"image_seed": 2**64}, "is out of range"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(options, message):
    with pytest.raises(UserError) as error:
        Synthetic(**options)
    assert message in error.value.on_command_line()
    assert "\n" not in str(error.value)


def test_a_result_record_says_which_images_were_rendered():
    data = Synthetic(size=96, image_seed=7, limit=30)
    data.setup("test")
    described = data.describe()
    assert (described["name"], described["sizes"], described["image_seed"]) == ("synthetic", [96], 7)
    assert described["images_selected"] == 30
    assert described["class_names"] == [texture.name for texture in TEXTURES]
