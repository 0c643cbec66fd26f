"""Kills an evaluation at random moments, again and again, and compares what the same command makes of it in the end.

python -m benchmarks.kills --kills 30 --processes 1 2 -- test --config configs/demo.yaml --data.num_workers 0

Everything after `--` is a `lightning` command that ends with results. It runs undisturbed once per number of processes;
then it is started, killed with SIGKILL (all its processes at once) and started again, until the
kills are used up and it may finish. Each number of processes has its share of the kills, in several such series.
"""

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.runs.folder import TABLE, UNFINISHED
from bench.runs.provenance import software
from bench.runs.record import RESULTS, RunRecord

_LONGEST_SERIES = 5


def main() -> None:
    """Print a line per kill and a verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    print(f"torch {software().packages['torch']}, {os.cpu_count()} cores")
    bad = 0
    for processes in arguments.processes:
        left = arguments.kills // len(arguments.processes)
        with tempfile.TemporaryDirectory() as root:
            command = _command(arguments.command, processes)
            started = time.monotonic()
            _start(command, Path(root, "undisturbed")).wait()
            seconds = time.monotonic() - started
            [expected] = Path(root, "undisturbed").rglob(TABLE)
            record = RunRecord.read(expected.parent)
            busy, images = record.run.seconds or 0.0, record.images
            print(f"\n{processes} processes, undisturbed: {seconds:.0f} s, of these {busy:.0f} s for {images} images")
            lost: list[float] = []
            series = 0
            while left:
                series += 1
                folder = Path(root, str(series))
                kills = 0
                for _ in range(min(left, chance.randint(1, _LONGEST_SERIES))):
                    work = _kill_once(command, folder, seconds - busy, seconds, chance)
                    if work is None:
                        break
                    kills += 1
                    lost.append(work)
                    safe = len(list(folder.rglob("*.safetensors")))
                    print(f"  killed; {safe} shards are safe, {work:.1f} s of work are lost", flush=True)
                left -= kills
                code = _start(command, folder).wait() if not list(folder.rglob(RESULTS)) else 0
                same = code == 0 and [file.read_bytes() for file in folder.rglob(TABLE)] == [expected.read_bytes()]
                bad += not same
                taken_up = [RunRecord.read(file).run.images_taken_up for file in folder.rglob(RESULTS)]
                print(f"series {series} of {kills} kills: exit {code}, images taken up {taken_up}, same table: {same}")
            share = statistics.median(lost) / busy
            print(f"work lost per kill: median {statistics.median(lost):.1f} s ({share:.1%}), most {max(lost):.1f} s")
    print(f"\n{bad} series ended in another table")
    raise SystemExit(bad > 0)


def _command(options: Sequence[str], processes: int) -> list[str]:
    strategy = ["--trainer.strategy=ddp"] if processes > 1 else []
    several = ["--trainer.accelerator=cpu", f"--trainer.devices={processes}", *strategy]
    return [sys.executable, "-m", "bench", *options, *several, "--trainer.enable_progress_bar=false"]


def _start(command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    cores = len(os.sched_getaffinity(0))
    environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, cores // 2))}  # one order of sums in every run
    return subprocess.Popen(
        [*command, f"--trainer.logger.save_dir={folder}"],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def _kill_once(
    command: Sequence[str], folder: Path, start_up: float, seconds: float, chance: random.Random
) -> float | None:
    """Start, and kill at a random moment; seconds of work that are lost, None if the results were written before."""
    began = time.time()
    process = _start(command, folder)
    finished = _wait(process, chance.uniform(0.5 * start_up, seconds))
    killed = time.time()
    if not finished:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if list(folder.rglob(RESULTS)):
        return None
    shards = [file.stat().st_mtime for file in folder.rglob(f"{UNFINISHED}/*.safetensors")]
    return max(0.0, killed - max([began + start_up, *shards]))


def _wait(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether it ended in time."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


if __name__ == "__main__":
    main()
