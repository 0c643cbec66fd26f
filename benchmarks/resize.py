"""Images per second of the device resize and of Pillow, one core each: `python -m benchmarks.resize`.

Both turn the same uint8 images into the same float32 batch in [0, 1]; that the batches are equal bit for bit is checked
first. Pillow's bare `Image.resize`, without crop and conversion, is timed as well. The contestants take turns in every
repetition and are measured in processor time, so other load on the machine disturbs them alike.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize, ToTensor

from bench.clip.preprocess import Preprocess
from benchmarks.timing import machine, ratios, spread, take_turns

SIDES = (64, 224, 288, 336, 384, 448)


def compare(height: int, width: int, side: int, repetitions: int) -> tuple[float, float, list[float], list[float]]:
    """Time one size.

    Returns:
        Images per second of the device resize and of Pillow (medians), and per repetition the ratio to Pillow's
        pipeline and the ratio to its bare resize.

    Raises:
        RuntimeError: a pixel differs.
    """
    count = max(4, min(64, 64 * 224 * 224 // (max(side, height) * max(side, width))))
    noise = np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    batch = torch.from_numpy(noise).permute(0, 3, 1, 2).contiguous()
    pictures = [Image.fromarray(image) for image in noise]
    transform = Compose([Resize(side, InterpolationMode.BICUBIC), CenterCrop(side), ToTensor()])
    short = min(height, width)
    resized_width, resized_height = (side if n == short else int(side * n / short) for n in (width, height))
    preprocess = Preprocess(side, (0.5,) * 3, (0.5,) * 3)

    def pillow() -> Tensor:
        return torch.stack([transform(picture) for picture in pictures])

    def bare() -> list[Image.Image]:
        return [picture.resize((resized_width, resized_height), Image.Resampling.BICUBIC) for picture in pictures]

    device = partial(preprocess.pixels, batch)
    if not torch.equal(device(), pillow()):
        raise RuntimeError(f"{height}x{width} to {side}: the device resize differs from Pillow")
    contestants: dict[str, Callable[[], object]] = {"device": device, "pillow": pillow, "bare": bare}
    seconds = take_turns(contestants, repetitions, clock=time.thread_time)
    rates = {name: count / statistics.median(of) for name, of in seconds.items()}
    to_pillow, to_bare = (ratios(seconds[name], seconds["device"]) for name in ("pillow", "bare"))
    return rates["device"], rates["pillow"], to_pillow, to_bare


def main() -> None:
    """Print a table, one row per source and target size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=9)
    repetitions = parser.parse_args().repetitions
    torch.set_num_threads(1)
    odd = np.random.default_rng(1).integers(20, 320, (4, 2)) * 2 + 1
    sources = [(32, 32), (96, 96), *((int(h), int(w)) for h, w in odd)]
    print(f"{machine()}; {repetitions} repetitions")
    print("source     side  device/s  pillow/s   ratio (min to max)     to bare resize (min to max)")
    for height, width in sources:
        for side in SIDES:
            device, pillow, ratios, bare = compare(height, width, side, repetitions)
            rates = f"{device:>8.0f}  {pillow:>8.0f}"
            print(f"{height:>4}x{width:<5} {side:>4}  {rates}   {spread(ratios)}     {spread(bare)}", flush=True)


if __name__ == "__main__":
    main()
