"""What the size of a run costs beside the encoder: `python -m benchmarks.many_images [--images 50000] [--views 12]`.

As many images, classes and views as an evaluation on ImageNet's validation images has. Two whole `test` runs with a
stub for the encoder (`benchmarks.stub_run`), TensorBoard's pictures included; then `lightning report` on the first, and
on both, which are compared image by image. Each step is a process of its own; printed are its seconds, its processor
seconds and its peak memory, and the sizes of its files.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from bench.clip.kept_classifiers import FOLDER_VARIABLE
from benchmarks.stub_run import ENCODERS, VIEWS
from benchmarks.timing import machine

_FIGURE = re.compile(r"  .*: [\d.,]+ \w+")
_LARGE = 100_000  # bytes


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--views", type=int, default=12, help=f"1 to {len(VIEWS)}")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--runs", type=int, choices=(1, 2), default=2, help="1 leaves out what compares two")
    parser.add_argument("--table", choices=("csv", "parquet"), default="csv")
    parser.add_argument("--keep", type=Path, help="an empty folder for runs and reports, which stay there")
    options = parser.parse_args()
    print(f"{options.images:,} images x {options.views} views, {options.classes} classes; {machine()}")
    with nullcontext(options.keep) if options.keep else tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        runs = [folder / "runs" / name for name in ENCODERS[: options.runs]]
        size = ("--images", options.images, "--views", options.views, "--classes", options.classes)
        for number, run in enumerate(runs):
            words = ("benchmarks.stub_run", run, *size, "--encoder", number, "--table", options.table)
            _step(f"run {number + 1}", words, run)
        for count in range(1, 1 + options.runs):
            output = folder / f"report-{count}"
            _step(f"report of {count}", ("bench", "report", *runs[:count], "--output", output), output)


def _step(name: str, words: Sequence[object], folder: Path) -> None:
    """Run a module with its arguments and print what it took, what it says of itself, and what it wrote."""
    with tempfile.NamedTemporaryFile() as file:
        measured = (sys.executable, "-m", "benchmarks.usage", file.name, sys.executable, "-m", *map(str, words))
        environment = os.environ | {FOLDER_VARIABLE: ""}
        done = subprocess.run(measured, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        seconds, processor, peak = json.loads(Path(file.name).read_text(encoding="utf-8"))
    print(f"\n{name}: {seconds:.1f} s, {processor:.1f} s of processor time, peak memory {peak:,.0f} MiB")
    print(*(line for line in done.stdout.splitlines() if _FIGURE.fullmatch(line)), sep="\n")
    sizes = {file.relative_to(folder): file.stat().st_size for file in folder.rglob("*") if file.is_file()}
    large = {file: size for file, size in sorted(sizes.items()) if size >= _LARGE}
    print(*(f"  {size / 1e6:8.2f} MB {file}" for file, size in large.items()), sep="\n")
    if rest := len(sizes) - len(large):
        print(f"  {(sum(sizes.values()) - sum(large.values())) / 1e6:8.2f} MB in {rest} more files")


if __name__ == "__main__":
    main()
