import subprocess
import sys

import pytest

from bench.runs import locks

HOLD = (
    "import sys, pathlib; from bench.runs import locks; "
    "print(locks.acquire(pathlib.Path(sys.argv[1])), flush=True); input()"
)


@pytest.fixture
def holder(repository, tmp_path):
    """Another process that has been told to take the lock; its answer and itself."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock")],
        cwd=repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        yield process.stdout.readline().strip(), process
        process.kill()


def test_taken_by_another_process_until_that_is_killed(holder, tmp_path):
    answer, process = holder
    assert answer == "True"
    assert not locks.acquire(tmp_path / "lock")
    process.kill()
    process.wait()
    assert locks.acquire(tmp_path / "lock")
    locks.release(tmp_path / "lock")


def test_one_process_may_ask_twice_and_gives_it_back_once(repository, tmp_path):
    assert locks.acquire(tmp_path / "lock")
    assert locks.acquire(tmp_path / "lock")
    locks.release(tmp_path / "lock")
    locks.release(tmp_path / "lock")
    answer = subprocess.run(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock")],
        cwd=repository, input="\n", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert answer.stdout.strip() == "True"
