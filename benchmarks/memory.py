"""Peak memory of `lightning test` against the number of images, and against the number of views.

    python -m benchmarks.memory [--images 1000 --images 10000 --images 60000] [--views 2 --views 4 --views 8]

Images of 32 pixels, hard links to a few hundred PNG files, classified by the demo's encoder without PSNR and SSIM; each
run is a process of its own. Loader workers are processes of their own, too, and hold the same whatever the number of
images; here there are none (`--data.num_workers 0`), so that the one process's peak is all there is.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.timing import machine

_MODEL = "configs/models/demo-rn"
_CLASSES = 10
_DISTINCT = 300
_SIZE = 32
_MIB = 2**20
_VIEWS = ("original", *(f"jpeg-{quality}" for quality in (75, 50, 25, 90, 60, 40, 10, 95, 85, 30, 20)))


def make_images(folder: Path, count: int) -> None:
    """Fill a folder with `count` images in ten class folders; the same files appear many times."""
    generator = np.random.default_rng(0)
    (folder / "distinct").mkdir(parents=True)
    for number in range(_DISTINCT):
        pixels = generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((_SIZE, _SIZE)).save(folder / "distinct" / f"{number}.png")
    root = folder / "images"
    for label in range(_CLASSES):
        (root / f"class {label}").mkdir(parents=True)
    for number in range(count):
        place = root / f"class {number % _CLASSES}" / f"{number:06d}.png"
        os.link(folder / "distinct" / f"{number % _DISTINCT}.png", place)


def peak(root: Path, output: Path, images: int, views: int) -> int:
    """Bytes: greatest resident set of one run's process."""
    words = [
        *(sys.executable, "-m", "bench", "test", "--data=datamodules.ImageFolder", "--model=bench.ZeroShotEvaluation"),
        *(f"--data.root={root}", f"--data.limit={images}", "--data.num_workers=0", "--data.batch_size=128"),
        f"--data.degradations=[{','.join(_VIEWS[:views])}]",
        *(f"--model.encoder={_MODEL}.json", f"--model.pretrained={_MODEL}.safetensors", "--model.fidelity=false"),
        *("--model.compile=false", "--trainer.accelerator=cpu", "--trainer.logger=false"),
        *("--trainer.enable_progress_bar=false", "--trainer.callbacks=callbacks.ResultsWriter"),
        f"--trainer.default_root_dir={output}",
    ]
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(words, stdout=said, stderr=said)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            said.seek(0)
            raise SystemExit(said.read().decode())
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, action="append", help="repeatable; default 1000, 10000, 60000")
    parser.add_argument("--views", type=int, action="append", help=f"repeatable, 1 to {len(_VIEWS)}; default 2, 4, 8")
    parser.add_argument("--usual-views", type=int, default=4, help="views of the runs against the number of images")
    parser.add_argument("--repetitions", type=int, default=1)
    arguments = parser.parse_args()
    sizes = sorted(arguments.images or [1000, 10_000, 60_000])
    views = sorted(arguments.views or [2, 4, 8])
    if not 1 <= min(*views, arguments.usual_views) <= max(*views, arguments.usual_views) <= len(_VIEWS):
        parser.error(f"choose 1 to {len(_VIEWS)} views")
    print(machine())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for size in sizes:
            make_images(folder / str(size), size)
        runs = [(size, arguments.usual_views) for size in sizes] + [(sizes[0], number) for number in views]
        peaks: dict[tuple[int, int], int] = {}
        for turn in range(arguments.repetitions):
            for place, run in enumerate(runs):
                found = peak(folder / str(run[0]) / "images", folder / f"run-{turn}-{place}", *run)
                peaks[run] = max(found, peaks.get(run, 0))
        print(f"\npeak memory against images, {arguments.usual_views} views")
        _table([(f"{size:,} images", peaks[size, arguments.usual_views]) for size in sizes])
        print(f"\npeak memory against views, {sizes[0]:,} images")
        _table([(f"{number} views", peaks[sizes[0], number]) for number in views])


def _table(rows: Sequence[tuple[str, int]]) -> None:
    for name, size in rows:
        print(f"  {name:16s} {size / _MIB:8.0f} MiB  {size / rows[0][1] - 1:+7.1%}")


if __name__ == "__main__":
    main()
