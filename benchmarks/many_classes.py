"""What a thousand classes cost beside ten: `python -m benchmarks.many_classes [--images 1000] [--rounds 3]`.

`configs/image_folder.yaml` as shipped, with the demo's encoder, on 1,000 classes x 1 small image and on 10 classes x
100 of the same images, in turns; then the size of the larger run's `results.json`, and `lightning report` on it.
"""

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from bench.runs.record import RESULTS
from benchmarks.commands import QUIET, timed_run
from benchmarks.timing import collect, machine, ratios, spread

_ROOT = Path(__file__).parents[1]
_SIDE = 48


def write_images(folder: Path, classes: int, images: int) -> Path:
    """A folder of so many classes that share the images evenly; noise of one seed, 48 pixels a side."""
    random = np.random.default_rng(0)
    for number in range(images):
        place = folder / f"class {number % classes:04d}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (_SIDE, _SIDE, 3), dtype=np.uint8)).save(place / f"{number}.png")
    return folder


def run(data: Path, output: Path, views: str | None) -> float:
    """Seconds of one test run into a folder of its own."""
    demo = _ROOT / "configs/models/demo-rn"
    options = [
        "test", "--config", str(_ROOT / "configs/image_folder.yaml"), "--data.root", str(data),
        "--model.encoder", f"{demo}.json", "--model.pretrained", f"{demo}.safetensors",
        "--trainer.logger.save_dir", str(output / str(time.monotonic_ns())), *QUIET,
    ]  # fmt: skip
    if views is not None:
        options += ["--data.degradations", views]
    return timed_run(options)[0]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--views", help="in place of the configuration's, for example '[jpeg-{50,25}]'")
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        sets = {
            classes: write_images(Path(folder, f"data-{classes}"), classes, options.images)
            for classes in (10, options.images)
        }
        runs = {
            str(classes): partial(run, data, Path(folder, f"runs-{classes}"), options.views)
            for classes, data in sets.items()
        }
        seconds = collect(runs, options.rounds)
        few, many = seconds.values()
        print(f"10 classes: {spread(few)} s")
        print(f"{options.images} classes: {spread(many)} s, ratio {spread(ratios(many, few))}")
        record = next(Path(folder, f"runs-{options.images}").rglob(RESULTS))
        print(f"results.json of the latter: {record.stat().st_size / 1e6:.2f} MB")
        report = Path(folder, "report")
        took, _ = timed_run(["report", str(record.parent), "--output", str(report)])
        print(f"lightning report: {took:.1f} s, index.html {(report / 'index.html').stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
