"""Commands as a user types them, run and timed from outside."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.clip.kept_classifiers import FOLDER_VARIABLE
from bench.runs.record import RESULTS

QUIET = ("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false")


def timed_run(arguments: Sequence[str], threads: int | None = None) -> tuple[float, str]:
    """Run `python -m bench ...`, which makes its text classifier whatever is kept.

    Args:
        arguments: Of the command.
        threads: Per process; None leaves it to torch.

    Returns:
        Seconds from start to end, and what it printed.

    Raises:
        RuntimeError: It failed.
    """
    environment = os.environ | {FOLDER_VARIABLE: ""} | ({} if threads is None else {"OMP_NUM_THREADS": str(threads)})
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "bench", *arguments], capture_output=True, text=True, env=environment, check=False
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return seconds, done.stdout


def record(folder: Path) -> dict[str, Any]:
    """The one result record below a folder."""
    (path,) = folder.rglob(RESULTS)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
