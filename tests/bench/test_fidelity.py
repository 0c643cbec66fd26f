"""PSNR and SSIM against scikit-image, which computes in float64; here it is float32."""

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from bench import fidelity as module
from bench.fidelity import bits_per_pixel, fidelity
from datamodules.degradations import parse
from datamodules.views import NOT_ENCODED

SPECS = ["jpeg-75", "jpeg-5", "webp-50", "noise-0.2"]


def picture(height, width, seed=0):
    """Waves with noise: uint8 [3, H, W]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [127 + 90 * np.sin(x / (3 + c) + y / 7) + rng.normal(0, 12, (height, width)) for c in range(3)]
    return torch.from_numpy(np.stack(waves).clip(0, 255).astype(np.uint8))


def degraded(image, spec):
    from PIL import Image

    pixels = parse(spec)(Image.fromarray(image.permute(1, 2, 0).numpy())).image
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)


def oracle(original, view):
    a, b = original.numpy(), view.numpy()
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    ssim = structural_similarity(a, b, data_range=255, channel_axis=0, **options)
    return peak_signal_noise_ratio(a, b, data_range=255), ssim


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("size", [(11, 11), (32, 32), (90, 47)])
def test_psnr_and_ssim_equal_scikit_image(spec, size):
    originals = torch.stack([picture(*size, seed) for seed in range(3)])
    views = torch.stack([degraded(image, spec) for image in originals])
    found = fidelity(originals, views)
    expected = [oracle(*pair) for pair in zip(originals, views, strict=True)]
    assert found.psnr.tolist() == pytest.approx([psnr for psnr, _ in expected], abs=1e-5)
    assert found.ssim.tolist() == pytest.approx([ssim for _, ssim in expected], abs=5e-6)
    assert found.psnr.dtype == found.ssim.dtype == torch.float32


@pytest.mark.parametrize("level", [250, 254])
def test_bright_and_almost_flat_images_keep_their_digits(level):
    original = torch.full((1, 3, 40, 50), level, dtype=torch.uint8)
    original[..., 10:14, 10:30] = 20  # a word on a white page
    view = original ^ (torch.arange(50) % 2).to(torch.uint8)
    found, (psnr, ssim) = fidelity(original, view), oracle(original[0], view[0])
    assert found.psnr.item() == pytest.approx(psnr, abs=1e-5)
    assert found.ssim.item() == pytest.approx(ssim, abs=1e-5)


@pytest.mark.parametrize("piece", [1, 700, 2000])
def test_working_in_pieces_changes_nothing(monkeypatch, piece):
    originals = torch.stack([picture(90, 47, seed) for seed in range(3)])
    views = torch.stack([degraded(image, "jpeg-20") for image in originals])
    monkeypatch.setattr(module, "_PIECE", {"cpu": 10**9})
    whole = fidelity(originals, views)
    monkeypatch.setattr(module, "_PIECE", {"cpu": piece})
    torch.testing.assert_close(fidelity(originals, views), whole, atol=1e-6, rtol=0)


def test_images_of_unequal_sizes_keep_their_order():
    sizes = [(20, 30), (40, 12), (20, 30), (15, 15)]
    originals = [picture(*size, seed) for seed, size in enumerate(sizes)]
    views = [degraded(image, "jpeg-30") for image in originals]
    found = fidelity(originals, views)
    for row, pair in enumerate(zip(originals, views, strict=True)):
        assert (found.psnr[row].item(), found.ssim[row].item()) == pytest.approx(oracle(*pair), abs=1e-5)


def test_equal_images_have_an_infinite_psnr_and_an_ssim_of_exactly_one():
    images = torch.full((2, 3, 16, 16), 254, dtype=torch.uint8)
    images[1] = picture(16, 16)
    found = fidelity(images, images.clone())
    assert found.psnr.tolist() == [torch.inf, torch.inf]
    assert found.ssim.tolist() == [1, 1]


def test_a_view_of_another_size_has_no_fidelity_and_a_small_image_no_ssim():
    originals = torch.stack([picture(40, 40), picture(40, 40, 1)])
    thumbnails = originals[..., ::2, ::2]
    assert all(column.isnan().all() for column in fidelity(originals, thumbnails))
    small = originals[..., :10]
    found = fidelity(small, small ^ 1)
    assert found.psnr.tolist() == pytest.approx([20 * np.log10(255)] * 2)
    assert found.ssim.isnan().all()
    some = fidelity([originals[0], originals[1]], [thumbnails[0], originals[1] ^ 1])
    assert some.psnr.isnan().tolist() == [True, False]


def test_no_images_have_no_fidelity():
    none = torch.empty(0, 3, 1, 1, dtype=torch.uint8)
    assert [len(column) for column in fidelity(none, none)] == [0, 0]
    assert len(bits_per_pixel(torch.empty(0, dtype=torch.int64), torch.empty(0, 2, dtype=torch.int64))) == 0


def test_bits_are_per_pixel_of_the_source_image():
    encoded_bytes = torch.tensor([100, 100, NOT_ENCODED])
    sizes = torch.tensor([[10, 8], [20, 20], [20, 20]])
    assert bits_per_pixel(encoded_bytes, sizes).tolist() == pytest.approx([10, 2, torch.nan], nan_ok=True)
