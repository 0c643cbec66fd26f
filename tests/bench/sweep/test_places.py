"""Shares of a machine."""

import os
import sys

import pytest

from bench.sweep.places import Place, places, visible_devices


@pytest.mark.parametrize("jobs", [2, 3, 5])
@pytest.mark.parametrize("count", [0, 1, 4, 7, 8])
def test_all_devices_are_dealt_evenly_and_none_twice_where_there_are_enough(jobs, count):
    names = [f"GPU-{number}" for number in range(count)]
    dealt = [place.devices for place in places(jobs, names, range(16))]
    if count == 0:
        assert dealt == [None] * jobs
    elif count < jobs:
        assert all(len(own) == 1 for own in dealt)
        assert {name for own in dealt for name in own} == set(names)
    else:
        assert [name for own in dealt for name in own] == names
        assert max(map(len, dealt)) - min(map(len, dealt)) <= 1


def test_one_job_has_the_machine():
    assert places(1, ["0", "1"], [0, 1]) == [Place()]


@pytest.mark.parametrize(("named", "devices"), [("", []), ("3", ["3"]), ("GPU-8a,GPU-9b", ["GPU-8a", "GPU-9b"])])
def test_devices_are_those_that_the_environment_leaves(monkeypatch, named, devices):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_devices() == devices


def test_a_process_and_its_children_stay_in_their_place(tmp_path):
    core = min(os.sched_getaffinity(0))
    code = (
        "import os, subprocess, sys, time; deadline = time.monotonic() + 10\n"
        "while len(os.sched_getaffinity(0)) > 1 and time.monotonic() < deadline: time.sleep(0.01)\n"
        "child = 'import os; print(os.sched_getaffinity(0))'\n"
        "print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['OMP_NUM_THREADS'], flush=True)\n"
        "subprocess.run([sys.executable, '-c', child])"
    )
    with open(tmp_path / "log", "wb") as log:
        environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        Place(("2", "5"), (core,)).start([sys.executable, "-c", code], environment, log.fileno()).wait()
    assert (tmp_path / "log").read_text() == f"2,5 1\n{{{core}}}\n"


def test_threads_that_the_user_chose_are_left(tmp_path):
    with open(tmp_path / "log", "wb") as log:
        Place(None, (0,)).start(
            ["printenv", "OMP_NUM_THREADS"], {**os.environ, "OMP_NUM_THREADS": "7"}, log.fileno()
        ).wait()
    assert (tmp_path / "log").read_text() == "7\n"


def test_a_process_that_ends_at_once_is_no_error(tmp_path, monkeypatch):
    def gone(pid, cores):
        raise ProcessLookupError

    monkeypatch.setattr(os, "sched_setaffinity", gone)
    with open(tmp_path / "log", "wb") as log:
        assert Place(None, (0,)).start(["true"], os.environ, log.fileno()).wait() == 0
