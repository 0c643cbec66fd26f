"""Photographs: `lightning test` as it ships against the script one would write without it.

    python -m benchmarks.photographs [--size 500x375 --images 48 ...] [--encoder ViT-B/32] [--repetitions 3]

Real photographs (`benchmarks.pictures`) as PNG files in two class folders, four views, an encoder with random weights.
The contestants take turns, each a process of its own with everything included, from its start to its end:

- ours: `python -m bench test --config configs/image_folder.yaml` with the peer's four views in place of the
  configuration's twelve, and nothing else changed: journal, table, results, TensorBoard and all;
- peer: `python -m benchmarks.plain_loop`, with as many loader processes.

Processor time is that of all processes of a contestant, and says more than seconds where other work shares the machine.
Peak memory is that of all processes of a contestant together, pages that they share counted once (Linux' PSS, looked
at twenty times a second). Predictions have to be equal; the program ends with status 1 where they are not.

Before the commands run, printed is the processor time that one loader process takes for an image, ours and the peer's
by turns; --loading-only stops there.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pandas as pd
from torch.utils.data import default_collate

from bench.clip.blueprints import open_clip_name
from bench.clip.kept_classifiers import FOLDER_VARIABLE
from benchmarks.allocation import stock_allocation
from benchmarks.checkpoints import ARCHITECTURES, random_checkpoint
from benchmarks.pictures import photographs
from benchmarks.plain_loop import Views
from benchmarks.timing import collect, machine, ratios, spread, take_turns
from datamodules import ImageFolder
from datamodules.allocation import keep_freed_memory
from datamodules.geometry import Geometry

VIEWS = ("original", "jpeg-75", "jpeg-50", "jpeg-25")
_MIB = 2**20
_LOOK_EVERY = 0.05  # seconds
_LOADED = 4  # images whose loading is timed


class Run(NamedTuple):
    """What a process and its children took: seconds, processor seconds, and bytes at their peak."""

    seconds: float
    processor: float
    peak: int


def watched(words: Sequence[str]) -> Run:
    """Run a Python module to its end.

    Raises:
        RuntimeError: It failed.
    """
    with tempfile.TemporaryFile() as said:
        start, peak = time.perf_counter(), 0
        process = subprocess.Popen(
            [sys.executable, "-m", *words], stdout=said, stderr=said, env=os.environ | {FOLDER_VARIABLE: ""}
        )
        while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
            peak = max(peak, sum(map(_proportional_bytes, _family(process.pid))))
            time.sleep(_LOOK_EVERY)
        seconds, (_, status, usage) = time.perf_counter() - start, ended
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(said.read().decode()[-4000:])
    return Run(seconds, usage.ru_utime + usage.ru_stime, peak)


def _family(pid: int) -> list[int]:
    """A process and what it started, and so on."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:  # it has ended, or this is no Linux
        return []
    return [pid, *(member for child in children for member in _family(int(child)))]


def _proportional_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


class Contest:
    """The two contestants on one folder.

    Args:
        folder: Where images, weights and outputs go.
        encoder: Of open_clip's, or one of the paper's.
        count: Number of images.
        size: Their width and height in pixels.
    """

    def __init__(self, folder: Path, encoder: str, count: int, size: tuple[int, int]) -> None:
        self.folder, self.encoder, self.images = folder, encoder, folder / "images"
        self.runs: dict[str, list[Run]] = {"ours": [], "peer": []}
        for number, image in enumerate(photographs(count, *size)):
            place = self.images / f"class {number % 2}" / f"{number:04d}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            image.save(place, compress_level=1)

    @cached_property
    def pretrained(self) -> Path:
        """Random weights."""
        return random_checkpoint(self.encoder, self.folder)

    def ours(self) -> float:
        """Seconds of a run of this project."""
        output = self.folder / f"run {len(self.runs['ours'])}"
        words = [
            *("bench", "test", "--config", "configs/image_folder.yaml", f"--data.root={self.images}"),
            *(f"--model.encoder={self.encoder}", f"--model.pretrained={self.pretrained}"),
            *(f"--data.degradations=[{','.join(VIEWS)}]", f"--trainer.logger.init_args.save_dir={output}"),
        ]
        self.runs["ours"].append(watched(words))
        self.table = next(output.rglob("images.csv"))
        return self.runs["ours"][-1].seconds

    def peer(self) -> float:
        """Seconds of a run of the plain loop."""
        self.written = self.folder / "peer.json"
        name = ARCHITECTURES.get(self.encoder, self.encoder)
        words = [
            *("benchmarks.plain_loop", str(self.images), "--encoder", name, "--pretrained", str(self.pretrained)),
            *("--views", *VIEWS, "--output", str(self.written)),
        ]
        self.runs["peer"].append(watched(words))
        return self.runs["peer"][-1].seconds

    def loading(self, repetitions: int) -> dict[str, list[float]]:
        """Processor seconds of one loader process for an image, ours and the peer's."""
        from open_clip import get_model_config
        from open_clip.transform import image_transform

        config = get_model_config(open_clip_name(self.encoder))
        side, half = config["vision_cfg"]["image_size"], (0.5, 0.5, 0.5)
        plain = Views(self.images, list(VIEWS), image_transform(side, is_train=False, mean=half, std=half))
        data = ImageFolder(self.images, degradations=VIEWS)
        data.setup("test")
        chosen = range(min(_LOADED, len(plain)))
        ours = data.views_of(chosen, geometry=Geometry(side))
        contestants = {
            "ours": lambda: ours.collate([ours[place] for place in chosen]),
            "peer": stock_allocation()(lambda: default_collate([plain[place] for place in chosen])),
        }
        keep_freed_memory()
        seconds = take_turns(contestants, repetitions, clock=time.thread_time)
        return {name: [total / len(chosen) for total in of] for name, of in seconds.items()}

    def differing(self) -> int:
        """Predictions of the last runs that differ."""
        table, peer = pd.read_csv(self.table), json.loads(self.written.read_text(encoding="utf-8"))
        ours = {view: rows.sort_values("path")["prediction"].tolist() for view, rows in table.groupby("view")}
        return sum(one != other for view in VIEWS for one, other in zip(ours[view], peer[view], strict=True))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row per size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", action="append", help="WIDTHxHEIGHT, repeatable; default 500x375 and 4000x3000")
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--encoder", default="ViT-B/32")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--loading-only", action="store_true")
    options = parser.parse_args(arguments)
    print(f"{machine()}; {options.images} images x {len(VIEWS)} views, {options.encoder}, {os.cpu_count()} cores")
    print("size        ours, s   peer, s   times as fast        in processor time    MiB, ours    peer   differ")
    differing = 0
    for size in options.size or ("500x375", "4000x3000"):
        width, height = map(int, size.split("x"))
        with tempfile.TemporaryDirectory() as folder:
            contest = Contest(Path(folder), options.encoder, options.images, (width, height))
            loading = contest.loading(options.repetitions)
            medians = ", ".join(f"{name} {1000 * median(of):.1f} ms" for name, of in loading.items())
            print(f"{size:10s} one loader process, per image: {medians}, times as fast", end="")
            print(spread(ratios(loading["peer"], loading["ours"])), flush=True)
            if options.loading_only:
                continue
            seconds = collect({"ours": contest.ours, "peer": contest.peer}, options.repetitions)
            used = {name: [run.processor for run in runs] for name, runs in contest.runs.items()}
            peaks = {name: max(run.peak for run in runs) / _MIB for name, runs in contest.runs.items()}
            differ = contest.differing()
        medians = "  ".join(f"{median(of):8.1f}" for of in seconds.values())
        differing += differ
        compared = "  ".join(spread(ratios(of["peer"], of["ours"])) for of in (seconds, used))
        print(f"{size:10s} {medians}  {compared}", end="")
        print(f"  {peaks['ours']:16.0f} {peaks['peer']:6.0f}   {differ} of {options.images * len(VIEWS)}", flush=True)
    if differing:
        sys.exit(1)


if __name__ == "__main__":
    main()
