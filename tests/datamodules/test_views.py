import multiprocessing
import os
import pickle
import random
import resource
import warnings
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from datamodules.dataset import DegradedViews
from datamodules.degradations import parse_all
from datamodules.image_formats import open_image
from datamodules.jpeg_xl_size import claimed_size
from datamodules.sources import UNLABELLED, ArraySource, Source, digest
from datamodules.views import NOT_ENCODED, PADDING, Batch, Sample, Unreadable

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 7, 3), dtype=np.uint8)
RGB = Image.fromarray(PIXELS)


class Files(Source):
    """Encoded images held in memory."""

    classes = ("thing",)

    def __init__(self, *contents):
        self.contents = contents

    def __len__(self):
        return len(self.contents)

    def load(self, index):
        return Image.open(BytesIO(self.contents[index]))

    def label(self, index):
        return UNLABELLED

    def path(self, index):
        return f"{index}.bin"

    def content(self):
        return digest([], self.contents)


def encoded(image, format="PNG", **options):
    buffer = BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


def reopened(image, format="PNG", **options):
    return Image.open(BytesIO(encoded(image, format, **options)))


def views_of(*contents, views=("jpeg-75",)):
    return DegradedViews(Files(*contents), parse_all(list(views)))


def only_view(content):
    return views_of(content, views=())[0]


class TestSamples:
    def test_views_are_pillows_pixels_at_native_size_and_bytes_are_counted(self):
        sample = views_of(encoded(RGB), views=["jpeg-30", "jpeg-90-444"])[0]
        assert list(sample.views) == ["original", "jpeg-30", "jpeg-90-444"]
        for name, options in [("jpeg-30", {"quality": 30}), ("jpeg-90-444", {"quality": 90, "subsampling": 0})]:
            content = encoded(RGB, "JPEG", **options)
            view = sample.views[name]
            assert (view.dtype, tuple(view.shape), view.is_contiguous()) == (torch.uint8, (3, 6, 7), True)
            np.testing.assert_array_equal(view.permute(1, 2, 0), np.asarray(Image.open(BytesIO(content))))
            assert sample.encoded_bytes[name] == len(content)
        np.testing.assert_array_equal(sample.views["original"].permute(1, 2, 0), PIXELS)
        assert sample.encoded_bytes["original"] == NOT_ENCODED

    def test_a_comment_in_the_source_adds_no_bytes_to_its_views(self):
        with_comment = encoded(RGB.quantize(8), "GIF", comment=b"long" * 9999)
        without = encoded(RGB.quantize(8), "GIF")
        data = views_of(with_comment, without)
        assert data[0].encoded_bytes == data[1].encoded_bytes

    @pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1)])
    def test_slivers_are_images(self, size):
        sample = views_of(encoded(Image.new("RGB", size)))[0]
        assert {tuple(view.shape) for view in sample.views.values()} == {(3, size[1], size[0])}

    def test_a_20_megapixel_image_is_an_image(self):
        sample = views_of(encoded(Image.new("RGB", (5000, 4000)), compress_level=1))[0]
        assert sample.views["jpeg-75"].shape == (3, 4000, 5000)

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "UnidentifiedImageError: cannot identify"),
            (b"no image", "UnidentifiedImageError: cannot identify"),
            (encoded(RGB)[:60], "OSError: image file is truncated"),
            (encoded(RGB.resize((64, 64)), "JPEG")[:-400], "OSError: image file is truncated"),
            (encoded(Image.new("F", (2, 2)), "TIFF"), "ValueError: a 32-bit float image has no defined range"),
            (encoded(Image.new("1", (65501, 1))), "ValueError: 65501 x 1 pixels: JPEG holds at most 65500 on a side"),
        ],
    )
    def test_what_cannot_be_had_is_named_with_its_reason_in_one_line(self, content, reason):
        result = views_of(encoded(RGB), content)[1]
        assert isinstance(result, Unreadable)
        assert (result.index, result.path) == (1, "1.bin")
        assert result.reason.startswith(reason)
        assert len(result.reason.splitlines()) == 1

    def test_a_decompression_bomb_is_unreadable_and_a_large_photo_is_not(self, monkeypatch):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        large, bomb = (encoded(Image.new("RGB", (10, height))) for height in (20, 21))
        data = views_of(large, bomb)
        assert isinstance(data[0], Sample)
        assert data[1].reason.startswith("DecompressionBombError")

    @pytest.mark.parametrize("boxes", [False, True])
    def test_a_jpeg_xl_bomb_never_reaches_the_plugin(self, monkeypatch, tmp_path, boxes):
        plugin = pytest.importorskip("pillow_jxl.JpegXLImagePlugin", reason="an extra")
        metadata = {"exif": b"Exif\0\0" + bytes(40)} if boxes else {}
        content = encoded(Image.new("RGB", (300, 200)), "JXL", **metadata)
        assert content.startswith(b"\0\0\0\x0cJXL" if boxes else b"\xff\x0a")
        (tmp_path / "bomb.jxl").write_bytes(content)
        for make in (lambda: tmp_path / "bomb.jxl", lambda: BytesIO(content)):
            file = make()
            with monkeypatch.context() as patched:
                with open_image(file) as image:
                    assert image.size == (300, 200)
                patched.setattr(Image, "MAX_IMAGE_PIXELS", 29_999)
                patched.setattr(plugin.JXLImageFile, "_open", lambda *_: pytest.fail("decodes"))
                with pytest.raises(Image.DecompressionBombError, match="300 x 200 pixels are too many"):
                    open_image(make())

    @pytest.mark.parametrize(
        "boxes",
        [b"", b"\0\0", b"\0\0\0\0free", b"\0\0\0\x08free" * 5000, b"\0\0\0\x01free" + b"\xff" * 8],
    )
    def test_a_jpeg_xl_file_whose_boxes_lead_nowhere_claims_no_size(self, tmp_path, boxes):
        (file := tmp_path / "odd.jxl").write_bytes(b"\0\0\0\x0cJXL \r\n\x87\n" + boxes)
        with file.open("rb") as opened:
            assert claimed_size(opened) is None
            assert opened.tell() == 0
        assert claimed_size(BytesIO(file.read_bytes())) is None

    def test_a_reason_is_valid_utf8_and_holds_no_absolute_path(self):
        class Missing(Files):
            def load(self, index):
                raise [FileNotFoundError(2, "No such file or directory", "/home/me/x.png"), ValueError("\udcff\n\n x")][
                    index
                ]

        data = DegradedViews(Missing(b"", b""), parse_all([]))
        assert data[0].reason == "FileNotFoundError: No such file or directory"
        assert data[1].reason == r"ValueError: \udcff x"

    def test_indices_choose_and_order(self):
        data = DegradedViews(Files(*[encoded(RGB)] * 5), parse_all([]), indices=[4, 0])
        assert [data[position].index for position in range(len(data))] == [4, 0]


class TestBatches:
    def batch(self, *contents):
        data = views_of(*contents)
        return data.collate([data[index] for index in range(len(data))])

    def test_equal_sizes_stack_and_unequal_ones_list(self):
        same = self.batch(encoded(RGB), encoded(RGB))
        assert {images.shape for images in same.views.values()} == {(2, 3, 6, 7)}
        mixed = self.batch(encoded(RGB), encoded(RGB.resize((3, 2))))
        assert {tuple(image.shape for image in images) for images in mixed.views.values()} == {((3, 6, 7), (3, 2, 3))}

    def test_columns_are_in_the_order_of_the_samples(self):
        source = ArraySource(np.stack([PIXELS] * 3), [2, 0, 1], "abc")
        data = DegradedViews(source, parse_all(["jpeg-50"]), indices=[2, 0])
        batch = data.collate([data[0], data[1]])
        assert (batch.indices.tolist(), batch.labels.tolist(), batch.paths) == ([2, 0], [1, 2], [None, None])
        assert batch.encoded_bytes["original"].tolist() == [NOT_ENCODED] * 2
        assert batch.encoded_bytes["jpeg-50"].tolist() == [len(encoded(RGB, "JPEG", quality=50))] * 2
        assert {column.dtype for column in (batch.indices, batch.labels, *batch.encoded_bytes.values())} == {
            torch.int64
        }

    def test_padding_vanishes_and_unreadable_images_are_listed(self):
        data = views_of(encoded(RGB), b"broken")
        batch = data.collate([data[0], data[PADDING], data[1]])
        assert len(batch) == 1
        assert [image.index for image in batch.unreadable] == [1]

    @pytest.mark.parametrize("positions", [[], [PADDING], [PADDING, 0]])
    def test_a_batch_without_images_has_every_view_and_column(self, positions):
        data = views_of(b"broken")
        batch = data.collate([data[position] for position in positions])
        assert len(batch) == len(batch.indices) == len(batch.paths) == 0
        assert {name: tuple(images.shape) for name, images in batch.views.items()} == {
            "original": (0, 3, 1, 1),
            "jpeg-75": (0, 3, 1, 1),
        }
        assert {column.dtype for column in (batch.labels, *batch.encoded_bytes.values())} == {torch.int64}

    @pytest.mark.parametrize("second", [RGB, RGB.resize((3, 2))], ids=["equal", "mixed"])
    def test_to_moves_every_tensor_and_keeps_the_rest(self, second):
        batch = self.batch(encoded(RGB), encoded(second), b"broken")
        moved = batch.to("meta")
        tensors = [*moved.encoded_bytes.values(), moved.labels, moved.indices]
        tensors += [image for images in moved.views.values() for image in images]
        assert {tensor.device.type for tensor in tensors} == {"meta"}
        assert (moved.paths, moved.unreadable) == (batch.paths, batch.unreadable)
        assert batch.labels.device.type == "cpu"

    @pytest.mark.parametrize("second", [RGB, RGB.resize((3, 2))], ids=["equal", "mixed"])
    def test_pickling_keeps_everything(self, second):
        batch = self.batch(encoded(RGB), encoded(second), b"broken")
        copy = pickle.loads(pickle.dumps(batch))
        assert type(copy.views["original"]) is type(batch.views["original"])
        for name, images in batch.views.items():
            assert all(torch.equal(ours, its) for ours, its in zip(images, copy.views[name], strict=True))
        assert copy.unreadable == batch.unreadable
        assert torch.equal(copy.encoded_bytes["jpeg-75"], batch.encoded_bytes["jpeg-75"])

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="pinned memory belongs to a GPU")
    @pytest.mark.parametrize("second", [RGB, RGB.resize((3, 2))], ids=["equal", "mixed"])
    def test_pinned_batches_arrive_on_the_gpu_unchanged(self, second):
        batch = self.batch(encoded(RGB), encoded(second))
        pinned = batch.pin_memory()
        assert pinned.labels.is_pinned()
        assert all(image.is_pinned() for image in pinned.views["original"])
        on_gpu = pinned.to("cuda")
        torch.cuda.synchronize()
        for ours, its in zip(batch.views["jpeg-75"], on_gpu.views["jpeg-75"], strict=True):
            assert torch.equal(ours, its.cpu())

    def test_lightning_moves_a_batch_by_its_own_method(self):
        from lightning.fabric.utilities.apply_func import move_data_to_device

        moved = move_data_to_device(self.batch(encoded(RGB), encoded(RGB.resize((3, 2)))), torch.device("meta"))
        assert isinstance(moved, Batch)
        assert moved.views["original"][1].device.type == "meta"


def test_workers_need_few_open_files_for_images_of_unequal_size():
    source = Files(*[encoded(Image.new("RGB", (2 + index % 3, 2))) for index in range(192)])
    data = DegradedViews(source, parse_all(["jpeg-9"]))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + 100, hard))
    try:
        batches = list(DataLoader(data, 96, num_workers=1, collate_fn=data.collate))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [len(batch) for batch in batches] == [96, 96]


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_give_what_the_process_itself_gives(method):
    data = views_of(encoded(RGB), encoded(RGB.resize((3, 2))), encoded(RGB)[:60], encoded(RGB))
    context = multiprocessing.get_context(method)
    [alone], [apart] = (
        list(DataLoader(data, 4, num_workers=workers, collate_fn=data.collate, multiprocessing_context=start))
        for workers, start in [(0, None), (1, context)]
    )
    assert alone.unreadable == apart.unreadable
    assert torch.equal(alone.indices, apart.indices)
    for name, images in alone.views.items():
        assert all(torch.equal(ours, its) for ours, its in zip(images, apart.views[name], strict=True))


FORMATS = (
    "PNG",
    "JPEG",
    "GIF",
    "BMP",
    "TIFF",
    "WEBP",
    "PPM",
    "TGA",
    "ICO",
    "JPEG2000",
    "PCX",
    "SGI",
    "DDS",
    "QOI",
    "AVIF",
)


def malformed(count, seed):
    """Images cut short, with flipped bits, overwritten stretches, or the header of another format."""
    rng = random.Random(seed)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "text"
    seeds = [
        encoded(image, format, **({"exif": exif} if format in ("PNG", "JPEG", "TIFF", "WEBP") else {}))
        for format in FORMATS
        for image in (
            RGB,
            RGB.resize((40, 33)),
            *([RGB.quantize(16)] if format in ("PNG", "GIF", "TIFF", "TGA") else []),
        )
    ]
    seeds += [encoded(RGB, "TIFF", compression=how) for how in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")]
    seeds += [
        encoded(RGB, "JPEG", progressive=True),
        encoded(RGB.convert("CMYK"), "JPEG"),
        encoded(RGB.convert("I;16"), "PNG"),
    ]
    seeds += [encoded(RGB, format, save_all=True, append_images=[RGB.rotate(90)]) for format in ("GIF", "PNG", "MPO")]
    for number in range(count):
        content = bytearray(rng.choice(seeds))
        match number % 5:
            case 0:
                del content[rng.randrange(len(content)) :]
            case 1:
                for _ in range(rng.choice([1, 3, 30])):
                    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            case 2:
                for _ in range(rng.choice([1, 3, 10])):  # most decisions of a decoder hang on the first bytes
                    content[rng.randrange(min(64, len(content)))] = rng.choice(
                        [0, 1, 127, 128, 255, rng.randrange(256)]
                    )
            case 3:
                start = rng.randrange(len(content))
                content[start : start + rng.randrange(40)] = rng.randbytes(rng.randrange(40))
            case 4:
                head = rng.randrange(1, 40)
                content[:head] = rng.choice(seeds)[:head]
        yield bytes(content)


def outcomes(count, seed):
    """How many malformed images became a sample, and how many were reported; anything else fails."""
    data = views_of(*malformed(count, seed), views=["jpeg-75", "jpeg-25-444"])
    found = {Sample: 0, Unreadable: 0}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for index in range(count):
            result = data[index]
            found[type(result)] += 1
            if isinstance(result, Unreadable):
                assert len(result.reason.splitlines()) == 1
            else:
                assert len({view.shape for view in result.views.values()}) == 1
    assert caught == []  # a loader worker would print each of them
    return found


@pytest.mark.timeout(60)
def test_malformed_images_are_read_or_reported():
    found = outcomes(400, seed=0)
    assert found[Sample] > 40
    assert found[Unreadable] > 100


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_thousands_of_malformed_images_are_read_or_reported():
    found = outcomes(6000, seed=2)
    assert sum(found.values()) == 6000
    assert min(found.values()) > 1000
