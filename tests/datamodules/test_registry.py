from dataclasses import dataclass

import pytest
from PIL import Image

from datamodules.degradations import Degraded, OneNumber, degrade, parse, register, registry
from datamodules.errors import UserError


def kind(name, head):
    @dataclass(frozen=True)
    class Kind(OneNumber):
        level: float
        lowest, highest = 0, 9

        def __call__(self, image):
            return Degraded(image.point(lambda value: value // 2), None)

    Kind.head, Kind.__qualname__ = head, name
    return Kind


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})


def test_a_registered_kind_is_parsed_chained_and_offered_in_errors():
    register(kind("Half", "half"))
    assert parse("half-2+jpeg-50").name == "half-2+jpeg-50"
    assert degrade(Image.new("L", (2, 2), 200), "half-1").image.getpixel((0, 0)) == (100, 100, 100)
    with pytest.raises(UserError, match="half-LEVEL"):
        parse("quarter-1")
    with pytest.raises(UserError, match="half level 10 is out of range, choose 0 to 9"):
        parse("half-10")


def test_a_cell_that_runs_again_replaces_its_own_class_only():
    register(kind("Half", "half"))
    again = register(kind("Half", "half"))
    assert type(parse("half-2")) is again
    with pytest.raises(UserError, match="head 'half' is that of Half: choose another for Other"):
        register(kind("Other", "half"))
    with pytest.raises(UserError, match="head 'jpeg' is that of Jpeg"):
        register(kind("Other", "jpeg"))


@pytest.mark.parametrize("head", ["", "a+b", "a b", "a/b", "../a", "-a", "a_b\n"])
def test_a_head_that_cannot_be_part_of_a_view_is_refused(head):
    with pytest.raises(UserError, match="use letters, digits"):
        register(kind("Odd", head))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "RGB"])
def test_one_image_of_any_mode_is_degraded_as_pillow_does_and_left_as_it_is(mode):
    from io import BytesIO

    image = Image.effect_mandelbrot((32, 24), (-2, -1, 1, 1), 50).convert("RGB").convert(mode)
    before = image.copy()
    buffer = BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=75)
    degraded = degrade(image, "jpeg-75")
    assert degraded.image.tobytes() == Image.open(buffer).tobytes()
    assert degraded.encoded_bytes == len(buffer.getvalue())
    assert (image.mode, image.tobytes(), image.info) == (before.mode, before.tobytes(), before.info)
    assert degrade(image, "original").image.tobytes() == image.convert("RGB").tobytes()


@pytest.mark.parametrize(
    ("view", "period", "factor"),
    [
        ("original", None, 1),
        ("jpeg-75", 8, 1),
        ("jpeg-75-444-x3-shift5", 8, 1),
        ("cifar10c-jpeg-2", 8, 1),
        ("webp-50", None, 1),
        ("webp-lossless", None, 1),
        ("avif-50", None, 1),
        ("jp2-psnr-35", None, 1),
        ("noise-0.1", None, 1),
        ("resize-0.5", None, 0.5),
        ("downup-0.5", None, 1),
        ("resize-0.5+jpeg-50", 8, 0.5),
        ("jpeg-50+resize-0.5", 4, 0.5),
        ("jpeg-50+webp-50+resize-0.25", None, 0.25),
        ("resize-0.5+jpeg-50+resize-0.5+jpeg-10", 8, 0.25),
        ("resize-256+crop-224", None, None),
        ("resize-256+crop-224+imagenetc-jpeg-3", 8, None),
        ("jpeg-50+crop-224", 8, 1),
        ("jpeg-50+resize-256", None, None),
    ],
)
def test_a_view_knows_the_period_of_its_blocks_and_at_which_scale(view, period, factor):
    degradation = parse(view)
    assert (degradation.block_period, degradation.size_factor) == (period, factor)


def test_the_period_is_where_the_blocks_are_in_the_pixels():
    """The mean step across columns, of noise that JPEG flattens: largest at the borders of blocks."""
    import numpy as np

    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8))
    for view in ("jpeg-5", "resize-0.5+jpeg-5"):
        pixels = np.asarray(degrade(noise, view).image).astype(float)
        steps = np.abs(np.diff(pixels, axis=1)).mean(axis=(0, 2))
        by_phase = [steps[phase::8].mean() for phase in range(8)]
        assert int(np.argmax(by_phase)) == 7, view  # between pixels 7 and 8
