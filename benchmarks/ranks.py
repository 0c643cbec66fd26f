"""Two ranks with one thread each against one process with two threads, on two cores: `python -m benchmarks.ranks`.

Both run `lightning test` on the same rendered images with random weights, uncompiled, and take turns. Time is that of
the run as its record has it (from setting up to the written results, without imports and loading), and from command to
end. That `images.csv` is the same to the byte is checked where the number of threads per process is the same:
tests/test_distributed.py; here the predictions are compared.
"""

import argparse
import statistics
import tempfile
from functools import partial
from pathlib import Path

import pandas as pd

from bench.runs.folder import TABLE
from benchmarks.checkpoints import ARCHITECTURES, random_checkpoint
from benchmarks.commands import QUIET, record, timed_run
from benchmarks.timing import collect, machine, ratios, spread


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", choices=list(ARCHITECTURES), default="ViT-B/32")
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    print(f"{machine()}; {arguments.encoder}, {arguments.images} images x 4 views")
    whole: dict[int, list[float]] = {1: [], 2: []}
    predictions = {}
    with tempfile.TemporaryDirectory() as place:
        weights = str(random_checkpoint(arguments.encoder, Path(place)))

        def run(ranks: int) -> float:
            folder = Path(place, f"{ranks}-{len(whole[ranks])}")
            command = ["test", "--config", "configs/demo.yaml", "--model.encoder", arguments.encoder, *QUIET]
            command += ["--model.pretrained", weights, "--model.compile", "false", "--trainer.accelerator", "cpu"]
            command += ["--data.limit", str(arguments.images), "--data.batch_size", "16"]
            command += ["--trainer.devices", str(ranks), "--trainer.logger.save_dir", str(folder)]
            whole[ranks].append(timed_run(command, threads=2 // ranks)[0])
            (table,) = folder.rglob(TABLE)
            predictions[ranks] = pd.read_csv(table)["prediction"]
            return float(record(folder)["run"]["seconds"])

        own = collect({"one": partial(run, 1), "two": partial(run, 2)}, arguments.repetitions)
    for name, one, two in [("run", own["one"], own["two"]), ("command", whole[1], whole[2])]:
        medians = f"{statistics.median(one):.1f} s and {statistics.median(two):.1f} s"
        print(f"{name:8s} one process and two ranks {medians}: two ranks are {spread(ratios(one, two))} times as fast")
    print(f"equal predictions: {int((predictions[1] == predictions[2]).sum())} of {len(predictions[1])}")


if __name__ == "__main__":
    main()
