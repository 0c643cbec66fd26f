import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

from bench.clip.preprocess import Preprocess
from datamodules.errors import UserError
from tests.support.devices import DEVICE, no_float64_on_the_device

MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
SIDES = (64, 224, 288, 336, 384, 448)


def _images(height, width, count=1, seed=0, extreme=False):
    """Noise: the hardest input, as all rounding decisions occur; the extreme one overshoots and is clipped."""
    noise = np.random.default_rng(seed).integers(0, 2 if extreme else 256, (count, height, width, 3), dtype=np.uint8)
    return noise * 255 if extreme else noise


def _tensor(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def _torchvision(images, side, mode="shortest", interpolation="bicubic"):
    resampling = InterpolationMode(interpolation)
    steps = [Resize((side, side), resampling)] if mode == "squash" else [Resize(side, resampling), CenterCrop(side)]
    transform = Compose([*steps, ToTensor()])
    return torch.stack([transform(Image.fromarray(image)) for image in images])


def _preprocess(side, mode="shortest", interpolation="bicubic"):
    return Preprocess(side, MEAN, STD, mode, interpolation)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("size", [32, 96])
def test_square_images_equal_pillow_bit_for_bit(size, side):
    images = _images(size, size, count=20)
    assert torch.equal(_preprocess(side).pixels(_tensor(images)), _torchvision(images, side))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    height=st.integers(1, 700),
    width=st.integers(1, 700),
    side=st.sampled_from(SIDES),
    mode=st.sampled_from(["shortest", "squash"]),
    interpolation=st.sampled_from(["bicubic", "bilinear"]),
    extreme=st.booleans(),
)
def test_any_size_equals_pillow_bit_for_bit(height, width, side, mode, interpolation, extreme):
    if mode == "shortest":  # the oracle resizes the longer side in full before it crops
        height, width = (min(n, 12 * min(height, width)) for n in (height, width))
    images = _images(height, width, seed=height * 1000 + width, extreme=extreme)
    got = _preprocess(side, mode, interpolation).pixels(_tensor(images))
    assert torch.equal(got, _torchvision(images, side, mode, interpolation))


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (1, 1), (64, 64), (64, 99), (131, 64), (65, 64)])
@pytest.mark.parametrize("mode", ["shortest", "squash"])
def test_slivers_and_sizes_that_agree_already_equal_pillow(shape, mode):
    images = _images(*shape)
    assert torch.equal(_preprocess(64, mode).pixels(_tensor(images)), _torchvision(images, 64, mode))


@pytest.mark.parametrize("mode", ["shortest", "squash"])
@pytest.mark.parametrize("width", [44, 64, 65, 100])
def test_order_of_the_passes_is_pillows(mode, width):
    """From version 13 on, Pillow goes vertical first above a ratio of sizes; scan across it."""
    for height in range(40, 320, 3):
        images = _images(height, width)
        assert torch.equal(_preprocess(64, mode).pixels(_tensor(images)), _torchvision(images, 64, mode)), height


@pytest.mark.parametrize("shape", [(3000, 64), (2500, 3001), (64, 4000), (9001, 33)])
def test_strong_reduction_equals_pillow(shape):
    """Many taps: the coefficients are split at another bit."""
    images = _images(*shape, extreme=True)
    got = _preprocess(64, "squash").pixels(_tensor(images))
    assert torch.equal(got, _torchvision(images, 64, "squash"))


def test_reduction_beyond_exact_arithmetic_is_refused():
    with pytest.raises(UserError, match="scale the images down first"):
        _preprocess(1, "squash").pixels(torch.zeros(1, 3, 1, 40000, dtype=torch.uint8))


def test_list_of_unequal_images_equals_one_by_one_in_order():
    shapes = [(40, 50), (64, 64), (40, 50), (33, 80), (50, 40)]
    images = [_images(*shape, seed=i) for i, shape in enumerate(shapes)]
    got = _preprocess(64).pixels([_tensor(image)[0] for image in images])
    assert torch.equal(got, torch.cat([_torchvision(image, 64) for image in images]))


def test_batch_larger_than_a_chunk_equals_one_by_one():
    images = _tensor(_images(32, 48, count=70))
    preprocess = _preprocess(224)
    assert torch.equal(preprocess.pixels(images), torch.cat([preprocess.pixels(image[None]) for image in images]))


def test_channels_last_and_sliced_memory_do_not_matter():
    images = _tensor(_images(50, 60, count=8))
    expected = _preprocess(64).pixels(images.contiguous())
    assert torch.equal(_preprocess(64).pixels(images.contiguous(memory_format=torch.channels_last)), expected)
    assert torch.equal(_preprocess(64).pixels(images[::2]), expected[::2])


@pytest.mark.parametrize("empty", [torch.empty(0, 3, 32, 32, dtype=torch.uint8), []])
def test_empty_batch_gives_no_pixels(empty):
    assert _preprocess(64)(empty).shape == (0, 3, 64, 64)


def test_normalised_output_equals_torchvision_bit_for_bit():
    images = _images(32, 32, count=4)
    expected = Normalize(MEAN, STD)(_torchvision(images, 64))
    assert torch.equal(_preprocess(64)(_tensor(images)), expected)


def test_autocast_and_matmul_precision_do_not_change_a_bit():
    images = _images(32, 40)
    before = torch.get_float32_matmul_precision()
    try:
        for precision in ("highest", "high", "medium"):
            torch.set_float32_matmul_precision(precision)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                pixels = _preprocess(64).pixels(_tensor(images))
            assert pixels.dtype == torch.float32
            assert torch.equal(pixels, _torchvision(images, 64))
            assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision(before)


def test_pixels_made_in_inference_mode_take_part_in_autograd():
    with torch.inference_mode():
        preprocess = _preprocess(64)
        pixels = preprocess.pixels(_tensor(_images(32, 32)))
    preprocess.normalise(pixels.requires_grad_()).sum().backward()
    assert torch.allclose(pixels.grad, (1 / torch.tensor(STD)).view(1, 3, 1, 1).expand_as(pixels))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("tf32", [False, True])
def test_gpu_equals_pillow_bit_for_bit(tf32):
    images = _images(97, 131, count=3)
    before = torch.backends.cuda.matmul.allow_tf32
    try:
        torch.backends.cuda.matmul.allow_tf32 = tf32
        for side in (64, 224):
            got = _preprocess(side).cuda().pixels(_tensor(images).cuda()).cpu()
            assert torch.equal(got, _torchvision(images, side))
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.parametrize("size", [(32, 32), (97, 131), (400, 224), (224, 224)])
def test_device_that_divides_as_cuda_does_equals_pillow_bit_for_bit(size):
    images = _images(*size, count=2)
    with no_float64_on_the_device():
        assert not torch.equal((torch.arange(256.0).to(DEVICE) / 255).cpu(), torch.arange(256.0) / 255)
        got = _preprocess(224).to(DEVICE).pixels(_tensor(images).to(DEVICE)).cpu()
    assert torch.equal(got, _torchvision(images, 224))


def test_unsupported_modes_are_refused():
    with pytest.raises(UserError, match="'longest'"):
        _preprocess(64, "longest")
    with pytest.raises(UserError, match="'random'"):
        _preprocess(64, "shortest", "random")


@pytest.mark.parametrize(
    "images",
    [torch.zeros(2, 3, 8, 8), torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.zeros(3, 8, 8, dtype=torch.uint8)],
)
def test_tensor_that_holds_no_rgb_bytes_is_refused(images):
    with pytest.raises(ValueError, match="expected uint8"):
        _preprocess(64).pixels(images)
