"""What of a machine each of several runs side by side may use."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import torch

_Item = TypeVar("_Item", str, int)

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_THREADS = "OMP_NUM_THREADS"


@dataclass(frozen=True)
class Place:
    """A share of the machine.

    Attributes:
        devices: GPUs, as `CUDA_VISIBLE_DEVICES` names them; None for whatever there is.
        cores: Numbers of processor cores; None for whatever there is.
    """

    devices: tuple[str, ...] | None = None
    cores: tuple[int, ...] | None = None

    def start(self, command: Sequence[str], environment: Mapping[str, str], log: int) -> subprocess.Popen[bytes]:
        """Start a process here, without input, whose output goes to a file.

        Args:
            command: The program and its arguments.
            environment: Of the process, but for what this place says.
            log: Descriptor of the file.
        """
        own = dict(environment)
        if self.devices is not None:
            own[_VISIBLE] = ",".join(self.devices)
        if self.cores is not None:
            own.setdefault(_THREADS, str(len(self.cores)))
        process = subprocess.Popen(command, env=own, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        if self.cores is not None and hasattr(os, "sched_setaffinity"):
            with suppress(ProcessLookupError):  # it has ended
                os.sched_setaffinity(process.pid, self.cores)  # its threads and loader processes inherit it
        return process


def places(jobs: int, devices: Sequence[str], cores: Sequence[int]) -> list[Place]:
    """Deal a machine among jobs: neighbours stay together, and what is short is shared.

    Args:
        jobs: Number of runs side by side, at least 1. One alone has all of the machine.
        devices: Names of GPUs; none where there are none.
        cores: Numbers of processor cores, at least one.

    >>> [place.devices for place in places(2, ["0", "1", "2", "3"], [0, 1])]
    [('0', '1'), ('2', '3')]
    >>> [(place.devices, place.cores) for place in places(3, ["0"], [0, 1])]
    [(('0',), (0,)), (('0',), (1,)), (('0',), (0,))]
    """
    if jobs == 1:
        return [Place()]
    return [Place(_share(devices, job, jobs) if devices else None, _share(cores, job, jobs)) for job in range(jobs)]


def places_here(jobs: int) -> list[Place]:
    """The GPUs and processor cores that this process may use, dealt among jobs; see `places`."""
    return places(jobs, visible_devices(), usable_core_numbers())


def visible_devices() -> list[str]:
    """GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    named = os.environ.get(_VISIBLE)
    if named is not None:
        return [name for name in named.split(",") if name]
    return [str(number) for number in range(torch.cuda.device_count())]


def usable_core_numbers() -> list[int]:
    """Numbers of the processor cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def _share(items: Sequence[_Item], job: int, jobs: int) -> tuple[_Item, ...]:
    if len(items) < jobs:
        return (items[job % len(items)],)
    return tuple(items[job * len(items) // jobs : (job + 1) * len(items) // jobs])
