"""Degraded views per second of the data path and of raw Pillow, one core each: `python -m benchmarks.data_path`.

Both sides begin with the same images in memory and make the same views, original and JPEG at 75, 50 and 25.

- The data path is what a loader worker does for a batch: `DegradedViews.__getitem__` of every image (the source opens
  it, it becomes upright RGB, every degradation encodes and decodes it, every view becomes a tensor) and `collate` (the
  views are stacked to uint8 [B, 3, H, W], with labels, indices and encoded sizes).
- Raw Pillow is handed ready RGB images and does nothing for the original; for each other view it calls
  `image.save(buffer, "JPEG", quality=quality)` and `Image.open(buffer).load()`. It makes no tensors.

Reading and rendering of the images is done before. That the views equal Pillow's is checked first, pixel for pixel and
byte for byte. The contestants take turns in every repetition and are measured in processor time of their one thread, so
other load on the machine disturbs them alike. The ratio is raw Pillow's time to the data path's: above 1, the data path
is faster.

The last columns say what a worker hands to the device for an image and view, uint8 at native size, and what that would
be as the float32 of a 224 pixel encoder's input.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from benchmarks.timing import machine, ratios, spread, take_turns
from datamodules import CIFAR10, Synthetic
from datamodules.base import DegradedDataModule
from datamodules.dataset import DegradedViews
from datamodules.degradations import ORIGINAL, Jpeg, parse_all
from datamodules.sources import ArraySource
from datamodules.views import Batch

QUALITIES = (75, 50, 25)
_SIDE = 224  # pixels, of most encoders


def compare(images: npt.NDArray[np.uint8], repetitions: int) -> tuple[float, float, list[float]]:
    """Time one batch.

    Args:
        images: uint8 [B, H, W, 3].
        repetitions: Turns that each side takes.

    Returns:
        Views per second of the data path and of raw Pillow (medians; the original counts as a view of both), and per
        repetition the ratio of raw Pillow's time to the data path's.

    Raises:
        RuntimeError: a pixel or an encoded size differs.
    """
    degradations = parse_all([Jpeg(quality).name for quality in QUALITIES])
    data = DegradedViews(ArraySource(images, [0] * len(images), ["thing"]), degradations)
    pictures = [Image.fromarray(image) for image in images]

    def data_path() -> Batch:
        return data.collate([data[position] for position in range(len(data))])

    def pillow() -> None:
        for picture in pictures:
            for quality in QUALITIES:
                buffer = BytesIO()
                picture.save(buffer, "JPEG", quality=quality)
                Image.open(buffer).load()

    _check(data_path(), pictures)
    seconds = take_turns({"data path": data_path, "pillow": pillow}, repetitions, clock=time.thread_time)
    views = len(images) * len(degradations)
    rates = {name: views / statistics.median(of) for name, of in seconds.items()}
    return rates["data path"], rates["pillow"], ratios(seconds["pillow"], seconds["data path"])


def _check(batch: Batch, pictures: Sequence[Image.Image]) -> None:
    for quality in QUALITIES:
        name = Jpeg(quality).name
        for place, picture in enumerate(pictures):
            buffer = BytesIO()
            picture.save(buffer, "JPEG", quality=quality)
            expected = torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1)
            size = int(batch.encoded_bytes[name][place])
            if not torch.equal(batch.views[name][place], expected) or size != buffer.getbuffer().nbytes:
                raise RuntimeError(f"{name} of image {place}: the data path differs from Pillow")


def _thumbnails(root: Path | None, count: int) -> npt.NDArray[np.uint8]:
    data = Synthetic(size=32) if root is None else CIFAR10(root, verify_checksums=False)
    return _pixels(data, count)


def _photographs(width: int, height: int, count: int) -> npt.NDArray[np.uint8]:
    """Rendered pictures enlarged to cover the size, and as much noise as a small sensor's, so that detail is left."""
    side = max(width, height)
    box = ((side - width) // 2, (side - height) // 2, (side + width) // 2, (side + height) // 2)
    small = _pixels(Synthetic(size=96), count)
    large = [Image.fromarray(one).resize((side, side), Image.Resampling.BICUBIC).crop(box) for one in small]
    noise = np.random.default_rng(0).integers(-4, 5, (count, height, width, 3))
    return (np.stack([np.asarray(one) for one in large]) + noise).clip(0, 255).astype(np.uint8)


def _pixels(data: DegradedDataModule, count: int) -> npt.NDArray[np.uint8]:
    data.setup("test")
    samples = data.views_of(range(count), []).samples()
    return np.stack([sample.views[ORIGINAL].permute(1, 2, 0).contiguous() for sample in samples])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table, one row per kind of image."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, nargs="?", help="folder with a cifar-10-batches-py that you trust")
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--repetitions", type=int, default=9)
    options = parser.parse_args(arguments)
    count = options.batch_size
    torch.set_num_threads(1)
    print(f"{machine()}; {options.repetitions} repetitions, {count} images per batch")
    print(
        f"images               ratio (min to max)   path, views/s  Pillow, views/s  bytes per view  float32 at {_SIDE}"
    )
    for name, images in [
        ("thumbnails" if options.images is None else "CIFAR-10", _thumbnails(options.images, count)),
        ("rendered", _pixels(Synthetic(size=96), count)),
        ("photographs", _photographs(500, 375, count)),
    ]:
        ours, pillow, compared = compare(images, options.repetitions)
        _, height, width, _ = images.shape
        size = f"{width}x{height}"
        bytes_moved = f"{3 * height * width:>15,}  {3 * _SIDE**2 * 4:>14,}"
        print(f"{name:<11} {size:>7}  {spread(compared)}  {ours:>13,.0f}  {pillow:>15,.0f} {bytes_moved}", flush=True)


if __name__ == "__main__":
    main()
