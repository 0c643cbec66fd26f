"""Kills a sweep at random moments, lets two race on one folder, and compares what they leave with an undisturbed one.

python -m benchmarks.sweep_kills --kills 20 -- --config configs/demo_sweep.yaml --data.limit 100

Everything after `--` goes to `lightning sweep`. Each kill is a SIGKILL, by turns of the sweep alone, whose cell lives
on without it, and of all its processes; the same command follows, until the kills are used up and it may finish.
"""

import argparse
import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.runs.folder import TABLE
from bench.runs.provenance import software
from bench.runs.record import RESULTS

_OWN = ("results", "minutes", "encode_ms", "decode_ms")
"""Columns of a report's tables that differ between sweeps that did the same."""


def main() -> None:
    """Print a line per kill and a verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("options", nargs="+")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    print(f"torch {software().packages['torch']}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as root:
        undisturbed, killed, raced = (Path(root, name) for name in ("undisturbed", "killed", "raced"))
        started = time.monotonic()
        _start(arguments.options, undisturbed).wait()
        seconds = time.monotonic() - started
        cells = len(list(undisturbed.rglob(RESULTS)))
        print(f"undisturbed: {cells} cells in {seconds:.0f} s")
        for number in range(arguments.kills):
            process = _start(arguments.options, killed)
            time.sleep(chance.uniform(0, 2 * seconds / cells))
            if number % 2:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
            process.wait()
            print(
                f"  killed {'all' if number % 2 else 'alone'}; {len(list(killed.rglob(RESULTS)))} cells are done",
                flush=True,
            )
        codes = [_start(arguments.options, killed).wait()]
        good = _compare("killed", codes, killed, undisturbed)
        both = [_start(arguments.options, raced) for _ in range(2)]
        good &= _compare("raced", [process.wait() for process in both], raced, undisturbed)
    raise SystemExit(not good)


def _start(options: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "bench", "sweep", *options, "--output", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def _compare(name: str, codes: Sequence[int], folder: Path, undisturbed: Path) -> bool:
    """Whether both folders have the same cells with the same tables and reports, and no cell was finished twice."""
    expected = _tables(undisturbed)
    found = _tables(folder)
    finished = [log.read_text().count("written to") for log in folder.rglob("sweep.log")]
    reports = [_report(folder), _report(undisturbed)]
    print(
        f"{name}: exit {list(codes)}, {len(found)} of {len(expected)} cells, same tables: {found == expected}, "
        f"runs finished per cell: {sorted(finished)}, same report: {reports[0] == reports[1]}"
    )
    return not any(codes) and found == expected and set(finished) == {1} and reports[0] == reports[1]


def _tables(folder: Path) -> dict[str, bytes]:
    return {str(file.parent.relative_to(folder)): file.read_bytes() for file in folder.rglob(TABLE)}


def _report(folder: Path) -> dict[str, list[dict[str, str]]]:
    """All tables of a report without what no two sweeps share: the names of their files, and times."""
    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, "-m", "bench", "report", str(folder), "--output", output]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found = {}
        for table in Path(output, "tables").glob("*.csv"):
            with table.open(newline="") as file:
                rows = list(csv.DictReader(file))
            found[table.name] = [{key: value for key, value in row.items() if key not in _OWN} for row in rows]
        return found


if __name__ == "__main__":
    main()
