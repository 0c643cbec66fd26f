"""What the benchmarks share: contestants that take turns, ratios with their spread, and the machine they ran on."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import metadata

import torch

from bench.clip.kept_classifiers import FOLDER_VARIABLE

_PACKAGES = ("torch", "torchvision", "lightning", "open_clip_torch", "Pillow", "numpy")


def take_turns(
    contestants: Mapping[str, Callable[[], object]],
    repetitions: int,
    warmup: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each call, by contestant.

    Args:
        contestants: What to call, by name.
        repetitions: Rounds that count.
        warmup: Rounds before them that do not.
        clock: `time.thread_time` for processor seconds of one thread, which other load disturbs less.
    """

    def timed(contestant: Callable[[], object]) -> float:
        start = clock()
        contestant()
        return clock() - start

    return collect({name: partial(timed, one) for name, one in contestants.items()}, repetitions, warmup)


def collect(
    contestants: Mapping[str, Callable[[], float]], repetitions: int, warmup: int = 0
) -> dict[str, list[float]]:
    """What each contestant says of itself; every other round runs backwards, so that a drift hits all alike."""
    order = list(contestants)
    found: dict[str, list[float]] = {name: [] for name in order}
    for turn in range(-warmup, repetitions):
        for name in reversed(order) if turn % 2 else order:
            value = contestants[name]()
            if turn >= 0:
                found[name].append(value)
    return found


def ratios(numerator: Sequence[float], denominator: Sequence[float]) -> list[float]:
    """Round by round.

    >>> ratios([2.0, 3.0], [1.0, 2.0])
    [2.0, 1.5]
    """
    return [one / other for one, other in zip(numerator, denominator, strict=True)]


def spread(values: Sequence[float]) -> str:
    """Median, least and greatest.

    >>> spread([1.0, 1.5, 1.1])
    ' 1.10 (1.00 to 1.50)'
    """
    return f"{statistics.median(values):5.2f} ({min(values):.2f} to {max(values):.2f})"


def make_every_classifier() -> None:
    """Have runs of this process and its children make their text classifiers, as what they are held against does."""
    os.environ[FOLDER_VARIABLE] = ""


def machine() -> str:
    """Processor, threads and versions, in one line."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES)
    return f"{_processor()}, {torch.get_num_threads()} threads; Python {platform.python_version()}, {versions}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
