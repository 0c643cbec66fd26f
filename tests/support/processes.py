"""Commands in processes of their own that need not import torch and Lightning again.

Each is forked from one that has imported what the program needs (and done nothing else). It has a process number, takes
signals and ends with a status as `python -m bench` does.
"""

import atexit
import multiprocessing
import os
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

_IMPORTED = [
    *("bench.command_line.program", "bench.evaluation", "bench.finetuning.robust", "bench.clip.encoders"),
    *("callbacks", "callbacks.results_writer", "callbacks.tensorboard_report", "callbacks.integrated_gradients"),
    *("datamodules.synthetic", "open_clip", "torch.utils.tensorboard", "matplotlib.pyplot", "pandas"),
]
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload([*_IMPORTED, __name__])


def _run(words: list[str], before: str, folder: str, environment: Mapping[str, str], out: str, err: str) -> None:
    os.setsid()
    for path, number in ((out, 1), (err, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["lightning", *words]
    sys.modules["__main__"] = import_module("bench.__main__")  # what Lightning starts further ranks by
    warnings.simplefilter("ignore")
    try:
        exec(before, {"__name__": "before"})
        from bench.cli import main

        main(words)
    finally:
        atexit._run_exitfuncs()  # which multiprocessing leaves out
        sys.stdout.flush()
        sys.stderr.flush()


class Command:
    """A command at work, the leader of a session of its own.

    Args:
        words: The command and its options.
        folder: Where it runs, and where files beside it keep what it prints.
        before: Python that its process executes first.
        environment: Variables besides those of this process.
    """

    def __init__(
        self, words: Sequence[object], folder: Path, before: str = "", environment: Mapping[str, str] | None = None
    ) -> None:
        files = [folder.with_name(f"{folder.name}-{time.monotonic_ns()}.{name}") for name in ("out", "err")]
        for file in files:
            file.touch()
        self._out, self._err = files
        variables = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
        arguments = ([str(word) for word in words], before, str(folder), variables, *map(str, files))
        self._process = _forks.Process(target=_run, args=arguments)
        self._process.start()
        self.pid = int(self._process.pid or 0)

    @property
    def printed(self) -> str:
        """Its standard output so far."""
        return self._out.read_text(encoding="utf-8")

    @property
    def errors(self) -> str:
        """Its standard error so far."""
        return self._err.read_text(encoding="utf-8")

    @property
    def status(self) -> int | None:
        """Its exit status, minus the signal that killed it, or None while it runs."""
        return self._process.exitcode

    def wait(self, seconds: float = 120) -> int:
        """Its exit status once it has ended.

        Raises:
            TimeoutError: It has not ended in that time.
        """
        self._process.join(seconds)
        if self.status is None:
            raise TimeoutError(self.errors)
        return self.status

    def wait_for(self, condition: Callable[[], object], seconds: float = 60) -> None:
        """Return once a condition holds; that it never does, or that the command ends before, is a failed test."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited in vain: {self.errors}"
            assert self.status is None, (self.status, self.errors)
            time.sleep(0.02)

    def send(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, *_: object) -> None:
        """Leave no process of its session behind."""
        if self.status is None:
            os.killpg(self.pid, signal.SIGKILL)
        self._process.join()


def run_ranks(words: Sequence[object], folder: Path, world: int, before: str = "") -> None:
    """Run a command as that many ranks of one job, each told who it is as a launcher such as `torchrun` would.

    One rank is told nothing. A rank that fails fails the test.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world), "NODE_RANK": "0"}
    told = [{**meeting, "LOCAL_RANK": str(rank)} if world > 1 else {} for rank in range(world)]
    ranks = [Command(words, folder, before, environment=variables) for variables in told]
    try:
        for rank in ranks:
            assert rank.wait(240) == 0, rank.errors[-3000:]
    finally:
        for rank in ranks:
            rank.__exit__()
