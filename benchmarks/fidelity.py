"""What PSNR and SSIM of a view cost on one CPU core: `python -m benchmarks.fidelity`."""

import argparse
import statistics
import time

import numpy as np
import torch
from PIL import Image

from bench.fidelity import fidelity
from benchmarks.timing import machine, ratios, spread, take_turns
from datamodules.degradations import degrade

_SIDE = 1000  # pixels: one megapixel
_VIEW = "jpeg-75"


def main() -> None:
    """Print seconds per megapixel and view, and their ratio to making the view."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    noise = np.random.default_rng(0).integers(0, 256, (_SIDE // 20, _SIDE // 20, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    original, view = (_tensor(one) for one in (image, degrade(image, _VIEW).image))
    contestants = {"fidelity": lambda: fidelity(original, view), _VIEW: lambda: degrade(image, _VIEW)}
    seconds = take_turns(contestants, options.repetitions, clock=time.thread_time)
    print(machine())
    print(f"seconds per megapixel and view: {statistics.median(seconds['fidelity']):.2f}")
    print(f"times as long as a {_VIEW} round trip: {spread(ratios(seconds['fidelity'], seconds[_VIEW]))}")


def _tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].contiguous()


if __name__ == "__main__":
    main()
