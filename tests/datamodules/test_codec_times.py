"""What encoding and decoding take, by a clock that only they move."""

import pickle

import pytest
import torch
from PIL import Image, JpegImagePlugin, WebPImagePlugin

from datamodules import Synthetic
from datamodules.degradations import Degraded, formats, parse

ENCODING, DECODING = 4.0, 1.0  # milliseconds
IMAGE = Image.effect_noise((48, 32), 80).convert("RGB")


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still but while Pillow encodes or decodes a JPEG or a WebP."""
    now = {"ms": 0.0}

    def slow(function, milliseconds):
        def slowly(*arguments, **options):
            now["ms"] += milliseconds
            return function(*arguments, **options)

        return slowly

    monkeypatch.setattr(formats, "process_time", lambda: now["ms"] / 1000)
    for module, key in ((JpegImagePlugin, "JPEG"), (WebPImagePlugin, "WEBP")):
        monkeypatch.setitem(Image.SAVE, key, slow(module._save, ENCODING))
    monkeypatch.setattr(Image.Image, "frombytes", slow(Image.Image.frombytes, DECODING))
    monkeypatch.setattr(WebPImagePlugin.WebPImageFile, "_open", slow(WebPImagePlugin.WebPImageFile._open, DECODING))
    return now


@pytest.mark.parametrize(
    ("view", "encodings", "decodings"),
    [
        ("jpeg-50", 1, 1),
        ("webp-50", 1, 1),
        ("jpeg-50-x3", 3, 3),
        ("jpeg-50-x3-shift2", 3, 3),
        ("resize-0.5+jpeg-50", 1, 1),
        ("jpeg-50+resize-0.5+webp-50", 2, 2),
        ("jpeg-tables-mozjpeg3-50", 1, 1),
    ],
)
def test_a_codecs_time_is_in_its_column_and_of_several_codecs_the_sum(view, encodings, decodings, clock):
    degraded = parse(view)(IMAGE)
    assert degraded.encode_ms == pytest.approx(encodings * ENCODING)
    assert degraded.decode_ms == pytest.approx(decodings * DECODING)


def test_of_a_view_held_to_a_rate_all_encodings_count_and_one_decoding(clock):
    degraded = parse("jpeg-8bpp")(IMAGE)
    assert clock["ms"] % (ENCODING + DECODING) == 0
    tried = clock["ms"] / (ENCODING + DECODING)
    assert tried > 5
    assert degraded.encode_ms == pytest.approx(tried * ENCODING)
    assert degraded.decode_ms == pytest.approx(DECODING)


@pytest.mark.parametrize("view", ["original", "resize-0.5", "blur-1", "resize-0.5+blur-1"])
def test_what_is_no_codec_takes_no_time(view):
    degraded = parse(view)(IMAGE)
    assert (degraded.encode_ms, degraded.decode_ms) == (None, None)


def test_times_do_not_tell_two_views_apart():
    assert Degraded(IMAGE, 7, b"", 1.0, 2.0) == Degraded(IMAGE, 7, b"", 3.0)


@pytest.mark.parametrize("workers", [0, 1])
def test_times_travel_with_their_images(workers, clock):
    data = Synthetic(degradations=["jpeg-50-x2", "blur-1"], limit=5, batch_size=3, num_workers=workers)
    data.setup("test")
    batches = list(data.test_dataloader())
    expected = {"original": (torch.nan, torch.nan), "jpeg-50-x2": (8.0, 2.0), "blur-1": (torch.nan, torch.nan)}
    for batch in (*batches, batches[0].joined(batches), pickle.loads(pickle.dumps(batches[0]))):
        for view, times in expected.items():
            whole = torch.tensor(times).expand(len(batch), 2)
            torch.testing.assert_close(batch.codec_ms[view], whole, equal_nan=True)
