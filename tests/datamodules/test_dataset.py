"""Views that are fitted to an encoder's square where they are made."""

import weakref
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from bench.classification import classify_views
from bench.clip.preprocess import Preprocess
from bench.fidelity import fidelity
from datamodules.dataset import DegradedViews
from datamodules.degradations import Degraded, Original, parse_all
from datamodules.errors import UserError
from datamodules.geometry import Geometry
from datamodules.sources import UNLABELLED, Source
from datamodules.training import RandomPairs, TrainingViews

SIDE = 64
LARGE, SMALL = [(97, 131), (200, 64), (64, 64), (65, 333), (301, 150)], [(63, 200), (20, 20), (10, 31), (1, 400)]


class Pictures(Source):
    """Images of noise in memory, by height and width."""

    classes = ("thing",)

    def __init__(self, *sizes):
        rng = np.random.default_rng(0)
        self.arrays = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]

    def __len__(self):
        return len(self.arrays)

    def load(self, index):
        return Image.fromarray(self.arrays[index])

    def label(self, index):
        return UNLABELLED

    def path(self, index):
        return None

    def content(self):
        return ""


def batch_of(sizes, views=("jpeg-30",), geometry=None, compare=None):
    data = DegradedViews(Pictures(*sizes), parse_all(list(views)), geometry=geometry, compare=compare)
    return data.collate(list(data.samples()))


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("mode", ["shortest", "squash"])
class TestPixels:
    def test_fitted_views_are_bit_for_bit_what_the_device_makes_of_native_ones(self, mode, interpolation):
        preprocess = Preprocess(SIDE, (0.5,) * 3, (0.5,) * 3, mode, interpolation)
        fitted = batch_of(LARGE, geometry=Geometry(SIDE, mode, interpolation))
        native = batch_of(LARGE)
        for view, images in fitted.views.items():
            assert images.shape == (len(LARGE), 3, SIDE, SIDE)
            assert torch.equal(preprocess.pixels(images), preprocess.pixels(native.views[view]))

    def test_batches_of_large_and_small_images_are_uniform_and_the_same_to_the_encoder(self, mode, interpolation):
        preprocess = Preprocess(SIDE, (0.5,) * 3, (0.5,) * 3, mode, interpolation)
        sizes = LARGE + SMALL
        fitted = batch_of(sizes, ["resize-0.5", "jpeg-30"], Geometry(SIDE, mode, interpolation))
        native = batch_of(sizes, ["resize-0.5", "jpeg-30"])
        for view, images in fitted.views.items():
            assert images.shape == (len(sizes), 3, SIDE, SIDE)
            assert torch.equal(preprocess.pixels(images), preprocess.pixels(native.views[view]))


class TestWhatTravels:
    def test_images_of_one_size_that_the_encoder_enlarges_stay_as_they_are(self):
        batch = batch_of([(20, 30)] * 3, geometry=Geometry(SIDE), compare=fidelity)
        assert {images.shape for images in batch.views.values()} == {(3, 3, 20, 30)}
        assert batch.fidelity is None

    def test_native_sizes_stay_known_and_bytes_are_of_the_native_view(self):
        batch = batch_of([(97, 131), (20, 30)], ["resize-0.5", "jpeg-30"], Geometry(SIDE))
        assert batch.sizes["jpeg-30"].tolist() == [[97, 131], [20, 30]]
        assert batch.sizes["resize-0.5"].tolist() == [[48, 66], [10, 15]]
        buffer = BytesIO()
        Image.fromarray(Pictures((97, 131)).arrays[0]).save(buffer, "JPEG", quality=30)
        assert int(batch.encoded_bytes["jpeg-30"][0]) == buffer.getbuffer().nbytes

    def test_a_strip_that_would_fill_the_memory_is_left_to_the_device(self):
        batch = batch_of([(1, 20000), (97, 131)], geometry=Geometry(SIDE), compare=fidelity)
        assert [tuple(image.shape) for image in batch.views["original"]] == [(3, 1, 20000), (3, SIDE, SIDE)]
        assert batch.fidelity["jpeg-30"].isfinite().tolist() == [[True, False], [True, True]]

    def test_training_pairs_are_fitted_too(self):
        draws = TrainingViews({"jpeg-{}": [10, 30]}, flip=1.0)
        pairs, native = (RandomPairs(Pictures((97, 131)), draws, [0], 0, shape) for shape in (Geometry(SIDE), None))
        preprocess = Preprocess(SIDE, (0.5,) * 3, (0.5,) * 3)
        for view, pixels in pairs[0].views.items():
            assert pixels.shape == (3, SIDE, SIDE)
            assert torch.equal(preprocess.pixels(pixels[None]), preprocess.pixels(native[0].views[view][None]))


def test_pieces_of_a_batch_join_to_what_it_is_in_one():
    sizes = [*LARGE[:2], (20, 30), (20, 30), *SMALL[:2]]
    data = DegradedViews(Pictures(*sizes), parse_all(["jpeg-30"]), geometry=Geometry(SIDE), compare=fidelity)
    samples = list(data.samples())
    whole = data.collate(samples)
    joined = data.join([data.collate(samples[start:stop]) for start, stop in [(0, 2), (2, 2), (2, 4), (4, 6)]])
    for name in whole.views:
        assert torch.equal(joined.views[name], whole.views[name])
        assert torch.equal(joined.sizes[name], whole.sizes[name])
    assert torch.equal(joined.fidelity["jpeg-30"], whole.fidelity["jpeg-30"])
    assert joined.indices.tolist() == list(range(6))


@pytest.mark.parametrize("geometry", [None, Geometry(SIDE)])
def test_a_view_of_another_part_of_an_image_has_no_fidelity_whatever_its_size(geometry):
    side = 2 * SIDE
    views = [f"resize-{side + 32}+crop-{side}+jpeg-85", "jpeg-85"]
    batch = batch_of([(side, side)], views, geometry, geometry and fidelity)
    assert batch.sizes[views[0]].tolist() == batch.sizes["original"].tolist()
    found = classify_views(batch, lambda _, images: torch.ones(1, 1), lambda unit: unit, with_fidelity=True)
    assert found.psnr.isnan().tolist() == found.ssim.isnan().tolist() == [True, True, False]  # the original's first


@pytest.mark.parametrize("sizes", [LARGE, LARGE[:2] + SMALL])
def test_fidelity_is_that_of_native_pixels(sizes):
    views = ["jpeg-30", "resize-0.5"]
    measured, native = batch_of(sizes, views, Geometry(SIDE), fidelity).fidelity, batch_of(sizes, views).views
    for view in views:
        expected = torch.stack(fidelity(native["original"], native[view]), 1)
        torch.testing.assert_close(measured[view], expected, rtol=0, atol=1e-6, equal_nan=True)
    assert measured["resize-0.5"].isnan().all()


def test_one_original_and_one_view_at_a_time_are_in_memory():
    alive, peaks = [], []

    class Registered(Original):
        def __call__(self, image):
            peaks.append(sum(view() is not None for view in alive))
            copy = image.copy()
            alive.append(weakref.ref(copy))
            return Degraded(copy, None)

    data = DegradedViews(Pictures((97, 131)), [Original(), *map(Registered, "abcd")], geometry=Geometry(SIDE))
    data[0]
    assert peaks == [0, 0, 0, 0]


def test_unsupported_geometries_are_refused():
    with pytest.raises(UserError, match="'longest'"):
        Geometry(64, "longest")
    with pytest.raises(UserError, match="'random'"):
        Geometry(64, "shortest", "random")
