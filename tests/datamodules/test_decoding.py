import warnings
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from datamodules.decoding import to_rgb

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 7, 3), dtype=np.uint8)
RGB = Image.fromarray(PIXELS)


def encoded(image, format="PNG", **options):
    buffer = BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


def reopened(image, format="PNG", **options):
    return Image.open(BytesIO(encoded(image, format, **options)))


class TestToRgb:
    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV"])
    def test_converts_as_pillow_does(self, mode):
        image = RGB.convert("P").convert("PA") if mode == "PA" else RGB.convert(mode)
        result = to_rgb(image.copy())
        assert result.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(result), np.asarray(image.convert("RGB")))

    def test_converts_lab_to_srgb(self):
        lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
        muted = Image.fromarray(PIXELS // 4 + 96)  # strong colours lose more in 8 bits per channel
        result = to_rgb(ImageCms.applyTransform(muted, lab))
        assert np.abs(np.asarray(result, dtype=int) - np.asarray(muted)).max() <= 4

    def test_drops_alpha_without_blending(self):
        image = RGB.copy()
        image.putalpha(0)
        np.testing.assert_array_equal(np.asarray(to_rgb(image)), PIXELS)

    @pytest.mark.parametrize("transparency", [1, bytes([0, 128])])
    def test_palette_transparency_changes_no_colour_and_warns_of_nothing(self, transparency):
        palette = RGB.quantize(8)
        transparent = reopened(palette, transparency=transparency)
        np.testing.assert_array_equal(np.asarray(to_rgb(transparent)), np.asarray(palette.convert("RGB")))

    @pytest.mark.parametrize("mode", ["I;16", "I;16B", "I;16L", "I"])
    def test_scales_16_bits_to_8(self, mode):
        values = np.array([[0, 128, 129, 257, 32768, 65278, 65535]])
        dtype = {"I;16B": ">u2", "I": "<i4"}.get(mode, "<u2")
        image = Image.frombytes(mode, (values.size, 1), values.astype(dtype).tobytes())
        expected = [0, 0, 1, 1, 128, 254, 255]  # values / 257, rounded
        np.testing.assert_array_equal(np.asarray(to_rgb(image))[0], np.array([expected] * 3).T)

    def test_reads_a_16_bit_png_at_full_range(self):
        ramp = Image.fromarray(np.linspace(0, 65535, 256).round().astype(np.uint16)[None])
        np.testing.assert_array_equal(np.asarray(to_rgb(reopened(ramp)))[0, :, 0], np.arange(256))

    @pytest.mark.parametrize(
        ("image", "complaint"),
        [
            (Image.new("F", (2, 2)), "a 32-bit float image has no defined range"),
            (Image.new("I", (2, 2), 65536), "beyond 16 bits has no defined range"),
            (Image.new("I", (2, 2), -1), "beyond 16 bits has no defined range"),
            (Image.new("RGB", (0, 3)), "no pixels"),
        ],
    )
    def test_refuses_images_without_a_defined_range_or_pixels(self, image, complaint):
        with pytest.raises(ValueError, match=complaint):
            to_rgb(image)

    @pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
    @pytest.mark.parametrize("orientation", range(10))
    def test_applies_exif_orientation_once(self, orientation, format):
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"lossless": True} if format == "WEBP" else {}
        content = encoded(RGB, format, exif=exif, **options)
        expected = ImageOps.exif_transpose(Image.open(BytesIO(content)))
        np.testing.assert_array_equal(np.asarray(to_rgb(Image.open(BytesIO(content)))), np.asarray(expected))
        assert (expected.size != RGB.size) == (orientation in (5, 6, 7, 8))

    def test_applies_the_orientation_of_a_16_bit_image(self):
        exif = Image.Exif()
        exif[0x0112] = 6
        deep = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257)
        expected = PIXELS[..., 0][::-1].T
        np.testing.assert_array_equal(np.asarray(to_rgb(reopened(deep, exif=exif)))[..., 0], expected)

    @pytest.mark.parametrize(
        "exif", [b"", b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12" * 9, b"x" * 99]
    )
    def test_broken_exif_costs_nothing_but_the_orientation(self, exif):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as loader processes do
            np.testing.assert_array_equal(np.asarray(to_rgb(reopened(RGB, exif=exif))), PIXELS)

    @pytest.mark.parametrize("format", ["GIF", "PNG", "TIFF", "MPO"])
    def test_takes_the_first_frame(self, format):
        red, blue = (Image.new("RGB", (16, 16), colour) for colour in ("red", "blue"))
        pixels = np.asarray(to_rgb(reopened(red, format, save_all=True, append_images=[blue])), dtype=int)
        assert np.abs(pixels - [255, 0, 0]).max() <= 2

    def test_keeps_nothing_but_pixels(self):
        image = reopened(RGB.quantize(8), "GIF", comment=b"long" * 99)
        assert image.info
        assert to_rgb(image).info == {}
