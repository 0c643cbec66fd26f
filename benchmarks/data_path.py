"""Degraded views per second of the data path and of raw Pillow, one core each: `python -m benchmarks.data_path`.

Both sides begin with the same RGB images of Pillow in memory and make the same views, original and JPEG at 75, 50 and
25.

- The data path is what a loader process does for a batch: `DegradedViews.__getitem__` of every image and `collate`. At
  native size every view becomes a tensor and is stacked to uint8 [B, 3, H, W]; fitted, every view is brought to a
  square of 224 pixels as soon as it is made, and that is stacked.
- Raw Pillow calls `image.save(buffer, "JPEG", quality=quality)` and `Image.open(buffer).load()` for each view but the
  original, for which it does nothing. Against fitted views it calls `resize`, `crop` and `tobytes` for all four. It
  makes no tensors.

That the views equal Pillow's is checked first, pixel for pixel and byte for byte. The contestants take turns in every
repetition and are measured in processor time of their one thread, so other load on the machine disturbs them alike.
Each has the memory allocation of its own: a loader process keeps what is freed, a plain one does not. The ratio is raw
Pillow's time to the data path's: above 1, the data path is faster.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.allocation import stock_allocation
from benchmarks.pictures import photographs
from benchmarks.timing import machine, ratios, spread, take_turns
from datamodules import CIFAR10, Synthetic
from datamodules.allocation import keep_freed_memory
from datamodules.base import DegradedDataModule
from datamodules.dataset import DegradedViews
from datamodules.degradations import ORIGINAL, Jpeg, parse_all
from datamodules.geometry import Geometry
from datamodules.pixels import picture
from datamodules.sources import UNLABELLED, Source
from datamodules.views import Batch

QUALITIES = (75, 50, 25)
_SQUARE = Geometry(224)
_PIXELS = 2**23  # of the photographs of a batch


class _Pictures(Source):
    """Images that lie in memory as Pillow has them."""

    classes = ("thing",)

    def __init__(self, pictures: Sequence[Image.Image]) -> None:
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def load(self, index: int) -> Image.Image:
        return self.pictures[index]

    def label(self, index: int) -> int:
        return UNLABELLED

    def path(self, index: int) -> None:
        return None

    def content(self) -> str:
        return ""


def compare(
    pictures: Sequence[Image.Image], repetitions: int, geometry: Geometry | None
) -> tuple[float, float, list[float]]:
    """Time one batch.

    Args:
        pictures: RGB images.
        repetitions: Turns that each side takes.
        geometry: What views are fitted to; None leaves them at their native size.

    Returns:
        Views per second of the data path and of raw Pillow (medians; the original counts as a view of both), and per
        repetition the ratio of raw Pillow's time to the data path's.

    Raises:
        RuntimeError: A pixel or an encoded size differs.
    """
    degradations = parse_all([Jpeg(quality).name for quality in QUALITIES])
    data = DegradedViews(_Pictures(pictures), degradations, geometry=geometry)

    def data_path() -> Batch:
        return data.collate([data[position] for position in range(len(data))])

    @stock_allocation()
    def pillow() -> None:
        for image in pictures:
            if geometry is not None:
                _fit(image, geometry)
            for quality in QUALITIES:
                _, degraded = _round_trip(image, quality)
                if geometry is not None:
                    _fit(degraded, geometry)

    keep_freed_memory()
    _check(data_path(), pictures, geometry)
    seconds = take_turns({"data path": data_path, "pillow": pillow}, repetitions, clock=time.thread_time)
    views = len(pictures) * len(degradations)
    rates = {name: views / statistics.median(of) for name, of in seconds.items()}
    return rates["data path"], rates["pillow"], ratios(seconds["pillow"], seconds["data path"])


def _round_trip(image: Image.Image, quality: int) -> tuple[int, Image.Image]:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    degraded = Image.open(buffer)
    degraded.load()
    return buffer.getbuffer().nbytes, degraded


def _fit(image: Image.Image, geometry: Geometry) -> bytes:
    side, short = geometry.size, min(image.size)
    width, height = (side if length == short else int(side * length / short) for length in image.size)
    left, top = round((width - side) / 2), round((height - side) / 2)
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    return resized.crop((left, top, left + side, top + side)).tobytes()


def _check(batch: Batch, pictures: Sequence[Image.Image], geometry: Geometry | None) -> None:
    for quality in QUALITIES:
        name = Jpeg(quality).name
        for place, image in enumerate(pictures):
            size, degraded = _round_trip(image, quality)
            expected = degraded.tobytes() if geometry is None else _fit(degraded, geometry)
            found = batch.views[name][place].permute(1, 2, 0).numpy().tobytes()
            if found != expected or size != int(batch.encoded_bytes[name][place]):
                raise RuntimeError(f"{name} of image {place}: the data path differs from Pillow")


def _pictures(data: DegradedDataModule, count: int) -> list[Image.Image]:
    data.setup("test")
    return [picture(np.asarray(sample.pixels[ORIGINAL])) for sample in data.views_of(range(count), []).samples()]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table, one row per kind of image and of batch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, nargs="?", help="folder with a cifar-10-batches-py that you trust")
    parser.add_argument("--batch_size", type=int, default=128, help="of thumbnails; larger images come in fewer")
    parser.add_argument("--size", action="append", help="of photographs, repeatable; default 500x375 and 4000x3000")
    parser.add_argument("--repetitions", type=int, default=9)
    options = parser.parse_args(arguments)
    count = options.batch_size
    torch.set_num_threads(1)
    print(f"{machine()}; {options.repetitions} repetitions")
    print("images               batch  ratio (min to max)   path, views/s  Pillow, views/s  bytes per view")
    small = Synthetic(size=32) if options.images is None else CIFAR10(options.images, verify_checksums=False)
    kinds = {
        "thumbnails" if options.images is None else "CIFAR-10": _pictures(small, count),
        "rendered": _pictures(Synthetic(size=96), count),
    }
    for name, pictures in kinds.items():
        _print_row(name, pictures, None, options.repetitions)
    for size in options.size or ("500x375", "4000x3000"):
        width, height = map(int, size.split("x"))
        pictures = list(photographs(max(2, min(count, _PIXELS // (width * height))), width, height))
        for geometry in (None, _SQUARE):
            _print_row("photographs" if geometry is None else "fitted", pictures, geometry, options.repetitions)


def _print_row(name: str, pictures: Sequence[Image.Image], geometry: Geometry | None, repetitions: int) -> None:
    ours, pillow, compared = compare(pictures, repetitions, geometry)
    width, height = pictures[0].size
    moved = 3 * (width * height if geometry is None else geometry.size**2)
    rates = f"{ours:>14,.1f}  {pillow:>15,.1f}  {moved:>14,}"
    print(f"{name:<11} {f'{width}x{height}':>9}  {len(pictures):>5}  {spread(compared)}  {rates}", flush=True)


if __name__ == "__main__":
    main()
