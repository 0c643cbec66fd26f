"""What a folder of a million files costs before the first batch: `python -m benchmarks.many_files [--files 1000000]`.

A thousand class folders that share hard links to 300 small files. Listing, the digest of paths and sizes, and the look
for lossy formats are timed in processor seconds, in a process of their own, beside torchvision's `ImageFolder` on the
same folder; memory is what each process has more than one that has only imported the same modules. Forked workers then
read every label and path, as loader processes do, and say how much memory is theirs alone.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.timing import machine

_CLASSES, _DISTINCT = 1000, 300
_MIB = 2**20
_STATUS = Path("/proc/self/smaps_rollup")


def make_files(root: Path, count: int) -> None:
    """Fill a folder; the content of a file is its number among the distinct ones, which no listing reads."""
    distinct = root.with_name("distinct")
    distinct.mkdir()
    for number in range(_DISTINCT):
        (distinct / str(number)).write_text(str(number))
    for number in range(count):
        folder = f"{root}/n{number % _CLASSES:08d}"
        if number < _CLASSES:
            os.makedirs(folder)
        os.link(distinct / str(number * 7 % _DISTINCT), f"{folder}/n{number % _CLASSES:08d}_{number}.png")


def resident() -> int:
    """Bytes of this process that lie in memory."""
    return _status("Rss")


def own() -> int:
    """Bytes that no other process shares."""
    return _status("Private_Clean") + _status("Private_Dirty")


def _status(name: str) -> int:
    [line] = [line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1]) * 1024


def ours(root: Path) -> dict[str, float]:
    """Seconds and bytes of this project's source."""
    from datamodules.folders import FolderSource

    before, found = resident(), {}

    def timed(name: str, work: Callable[[], object]) -> object:
        start = time.process_time()
        result = work()
        found[name] = time.process_time() - start
        return result

    source = timed("listing (s)", lambda: FolderSource(root))
    assert isinstance(source, FolderSource)
    timed("digest of sizes (s)", source.content)
    timed("lossy formats (s)", source.already_lossy)
    found["memory (MiB)"] = (resident() - before) / _MIB
    reader, writer = os.pipe()
    if os.fork() == 0:
        start = own()
        for index in range(len(source)):
            source.label(index)
            source.path(index)
        os.write(writer, json.dumps((own() - start) / _MIB).encode())
        os._exit(0)
    found["own memory of a worker (MiB)"] = json.loads(os.read(reader, 100))
    return found


def torchvisions(root: Path) -> dict[str, float]:
    """The same of torchvision's."""
    from torchvision.datasets import ImageFolder

    before, start = resident(), time.process_time()
    data = ImageFolder(str(root))
    found = {"listing (s)": time.process_time() - start, "memory (MiB)": (resident() - before) / _MIB}
    reader, writer = os.pipe()
    if os.fork() == 0:
        started = own()
        for path, label in data.samples:
            assert path
            assert label >= 0
        os.write(writer, json.dumps((own() - started) / _MIB).encode())
        os._exit(0)
    found["own memory of a worker (MiB)"] = json.loads(os.read(reader, 100))
    return found


_MEASURES = {"this project": ours, "torchvision": torchvisions}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", nargs=2, metavar=("WHAT", "ROOT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(_MEASURES[options.measure[0]](Path(options.measure[1]))))
        return
    print(f"{options.files:,} files; {machine()}")
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary, "images")
        make_files(root, options.files)
        for name in _MEASURES:
            command = [sys.executable, "-m", "benchmarks.many_files", "--measure", name, str(root)]
            rounds = [json.loads(subprocess.check_output(command)) for _ in range(options.rounds)]
            print(name)
            for quantity in rounds[0]:
                values = sorted(round_[quantity] for round_ in rounds)
                print(f"  {quantity:32} {values[0]:8.2f} to {values[-1]:.2f}")


if __name__ == "__main__":
    main()
