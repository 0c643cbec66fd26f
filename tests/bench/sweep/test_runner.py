import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from bench.runs.folder import FAILED, RunFolder
from bench.runs.record import RunInfo
from bench.sweep import attempts, runner
from bench.sweep.attempts import LOG, CellProcesses, State, state
from bench.sweep.cells import Cell
from bench.sweep.places import Place
from bench.sweep.runner import run_cells
from tests.support.made_up import nested, run_record

MACHINE = [Place()]
BASE = {"data": {"init_args": {"split": "test"}}}


@pytest.fixture
def cells(tmp_path):
    config = tmp_path / "base.yaml"
    config.write_text(yaml.safe_dump(BASE))
    return [
        Cell({"n": name}, str(config), {"data.limit": limit}, tmp_path / name) for limit, name in enumerate("abc", 1)
    ]


def complete(cell):
    """What a test run leaves."""
    saved = {"data": {"init_args": {"split": "test", "limit": cell.options["data.limit"], "every": 1}}}
    (cell.folder / "config.yaml").write_text(yaml.safe_dump(saved))
    made = run_record(nested({"original": 3, "jpeg-75": 2}, 4))
    replace(made, run=RunInfo("test", seconds=2.0)).write(cell.folder)
    return 0


@pytest.fixture
def sweep(cells, monkeypatch):
    """Runs a sweep whose runs are a function; gives its outcome, the cells that ran and the lines said."""

    def sweep(run=complete, *, retry=False, wait=False, work=lambda cell: 1.0, cells=cells, places=MACHINE):
        ran, lines = [], []

        def recorded(_processes, cell, _place):
            ran.append(cell.name)
            return run(cell)

        monkeypatch.setattr(CellProcesses, "run", recorded)
        return run_cells(cells, retry=retry, wait=wait, work=work, say=lines.append, places=places), ran, lines

    return sweep


def failing(name, code=1, said="error: out of memory"):
    def run(cell):
        if cell.name != name:
            return complete(cell)
        (cell.folder / LOG).write_text(f"Traceback\n{said}\n")
        return code

    return run


def test_every_cell_once_and_the_second_time_none(sweep):
    outcome, ran, lines = sweep()
    assert ran == ["a", "b", "c"]
    assert outcome.done == {"a": True, "b": True, "c": True}
    assert lines[-1].startswith("[3/3] c: done in")
    outcome, ran, _ = sweep()
    assert ran == []
    assert outcome.done == {"a": False, "b": False, "c": False}


def test_goes_on_past_a_failing_cell_and_runs_it_again_on_demand_only(sweep, cells):
    outcome, ran, lines = sweep(failing("b"))
    assert ran == ["a", "b", "c"]
    assert list(outcome.failed) == ["b"]
    assert outcome.failed["b"].startswith("out of memory; see ")
    assert any("FAILED: out of memory" in line for line in lines)
    assert json.loads((cells[1].folder / FAILED).read_text())["command"][:3] == ["lightning", "test", "--config"]
    outcome, ran, _ = sweep()
    assert (ran, list(outcome.failed)) == ([], ["b"])
    outcome, ran, _ = sweep(retry=True)
    assert (ran, outcome.failed) == (["b"], {})
    assert not (cells[1].folder / FAILED).exists()


def test_a_killed_cell_says_by_what(sweep):
    outcome, _, _ = sweep(failing("a", code=-9))
    assert outcome.failed["a"].startswith("killed by SIGKILL, perhaps for want of memory")


def test_a_cell_that_ends_well_without_results_has_failed(sweep):
    outcome, _, _ = sweep(failing("a", code=0, said="bye"))
    assert outcome.failed["a"].startswith("bye; see")


def test_a_run_that_did_something_else_than_it_was_asked_for_says_what(sweep, cells):
    def run(cell):
        complete(cell)
        (cell.folder / LOG).write_text("written to a\n")
        config = yaml.safe_load((cell.folder / "config.yaml").read_text())
        config["data"]["init_args"]["limit"] = 9
        (cell.folder / "config.yaml").write_text(yaml.safe_dump(config))
        return 0

    outcome, _, _ = sweep(run, cells=cells[:1])
    assert outcome.failed == {"a": f"{cells[0].folder} holds results with another data.limit: remove it"}


def test_results_of_another_configuration_are_neither_used_nor_overwritten(sweep, cells):
    sweep()
    before = (cells[0].folder / "results.json").read_bytes()
    changed = Cell(cells[0].labels, cells[0].config, {"data.limit": 9}, cells[0].folder)
    outcome, ran, _ = sweep(cells=[changed], retry=True)
    assert ran == []
    assert "holds results with another data.limit: remove it" in outcome.failed["a"]
    assert (cells[0].folder / "results.json").read_bytes() == before


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", "3", '{"metrics": 1', "[" * 100_000])
def test_damaged_results_are_reported(sweep, cells, content):
    sweep()
    (cells[0].folder / "results.json").write_text(content)
    outcome, ran, _ = sweep()
    assert ran == []
    assert "remove it" in outcome.failed["a"]


@pytest.mark.parametrize("content", ["null", "[]", "{}", '{"reason"', "[" * 100_000, "\xff"])
def test_a_damaged_note_of_a_failure_is_a_failure(cells, content):
    cells[0].folder.mkdir()
    (cells[0].folder / FAILED).write_text(content)
    found, reason = state(cells[0])
    assert found is State.FAILED
    assert "remove it" in reason
    assert "\n" not in reason


@pytest.mark.parametrize("name", ["results.json", FAILED])
def test_a_folder_where_a_file_should_be_is_a_failure(cells, name):
    (cells[0].folder / name).mkdir(parents=True)
    assert state(cells[0])[0] is State.FAILED


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("victim", path)])
def test_what_is_no_regular_file_in_the_place_of_the_log_is_a_failure(cells, tmp_path, monkeypatch, make):
    monkeypatch.chdir(tmp_path)
    cells[0].folder.mkdir()
    make(cells[0].folder / LOG)
    outcome = run_cells(cells[:1], retry=False, wait=False, work=lambda cell: 1.0, say=lambda line: None)
    assert "it is not a regular file: delete it" in outcome.failed["a"]
    assert not list(tmp_path.rglob("victim"))


def test_the_reason_of_a_failure_is_printable(sweep):
    outcome, _, _ = sweep(failing("a", said="error: \x1b[31mred \u202e" + "x" * 5000))
    assert outcome.failed["a"].startswith("\\x1b[31mred \\u202ex")
    assert len(outcome.failed["a"]) <= 600


class TestSideBySide:
    def test_as_many_cells_run_at_once_as_there_are_places_and_each_has_its_own(self, cells, monkeypatch):
        together, places = threading.Barrier(2, timeout=20), [Place(("0",)), Place(("1",))]
        used = []

        def run(_processes, cell, place):
            used.append(place)
            if cell.name != "c":
                together.wait()
            return complete(cell)

        monkeypatch.setattr(CellProcesses, "run", run)
        outcome = run_cells(cells, retry=False, wait=False, work=lambda cell: 1.0, say=lambda line: None, places=places)
        assert set(used[:2]) == set(places)
        assert outcome.done == {"a": True, "b": True, "c": True}

    def test_a_failure_does_not_stop_the_others(self, sweep):
        outcome, ran, _ = sweep(failing("b"), places=MACHINE * 2)
        assert sorted(ran) == ["a", "b", "c"]
        assert (sorted(outcome.done), list(outcome.failed)) == (["a", "c"], ["b"])

    def test_an_error_of_one_ends_the_processes_of_all(self, cells, monkeypatch, tmp_path):
        """And neither cell counts as failed: nothing is known about them."""
        started = []

        def start(place, command, environment, log):
            if started:
                raise KeyboardInterrupt
            started.append(subprocess.Popen(["sleep", "60"]))
            return started[0]

        monkeypatch.setattr(Place, "start", start)
        with pytest.raises(KeyboardInterrupt):
            run_cells(
                cells[:2], retry=False, wait=False, work=lambda cell: 1.0, say=lambda line: None, places=MACHINE * 2
            )
        assert [process.poll() for process in started] == [-signal.SIGTERM]
        assert not list(tmp_path.rglob(FAILED))


def test_how_far_a_running_cell_is_can_be_followed(cells, monkeypatch):
    line = "testing: 3 of 8 batches (38%), about 0:00:50 left"

    def start(place, command, environment, log):
        return subprocess.Popen(["sh", "-c", f"echo '{line}'; echo noise; sleep 0.5"], stdout=log)

    monkeypatch.setattr(Place, "start", start)
    monkeypatch.setattr(attempts, "_FOLLOW_SECONDS", 0.1)
    said = []
    run_cells(cells[:1], retry=False, wait=False, work=lambda cell: 1.0, say=said.append, follow=True)
    assert said.count(f"  a: {line}") == 1


class TestBesideAnotherProcess:
    @pytest.fixture
    def elsewhere(self, repository):
        """Another process that holds a lock until it is released."""
        code = (
            "import pathlib, sys; from bench.runs import locks; assert locks.acquire(pathlib.Path(sys.argv[1])); "
            "print(flush=True); input()"
        )
        started = []

        def elsewhere(file: Path):
            file.parent.mkdir(parents=True, exist_ok=True)
            process = subprocess.Popen(
                [sys.executable, "-c", code, str(file)], cwd=repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            started.append(process)
            process.stdout.readline()
            return process

        yield elsewhere
        for process in started:
            with process:
                process.kill()

    @pytest.mark.parametrize("lock", [".sweep.lock", "unfinished/lock"])
    def test_a_cell_at_work_there_is_left_alone(self, sweep, cells, elsewhere, lock):
        elsewhere(cells[1].folder / lock)
        outcome, ran, _ = sweep()
        assert ran == ["a", "c"]
        assert outcome.elsewhere == ["b"]

    def test_waiting_takes_over_what_came_to_nothing_there(self, sweep, cells, elsewhere):
        process = elsewhere(cells[1].folder / ".sweep.lock")

        def run(cell):
            if cell.name == "c":
                process.kill()
                process.wait()
            return complete(cell)

        outcome, ran, _ = sweep(run, wait=True)
        assert ran == ["a", "c", "b"]
        assert list(outcome.done) == ["a", "c", "b"]

    def test_a_run_that_is_refused_because_another_is_at_work_has_not_failed(self, sweep, cells, elsewhere):
        def run(cell):
            elsewhere(cell.folder / "unfinished/lock")
            return 2

        outcome, _, _ = sweep(run, cells=cells[:1])
        assert (outcome.failed, outcome.elsewhere) == ({}, ["a"])
        assert state(cells[0])[0] is State.OPEN


def test_a_lock_left_by_a_killed_run_is_no_obstacle(sweep, cells):
    folder = RunFolder(cells[0].folder)
    folder.claim({"a": 1})
    folder.journal.close(forget=False)
    assert sweep()[1] == ["a", "b", "c"]


class TestTimeLeft:
    def test_learns_from_done_cells_in_proportion_to_their_work(self, cells):
        progress = runner._Progress(cells, lambda cell: {"a": 1.0, "b": 2.0, "c": 5.0}[cell.name])
        assert progress.seconds_left() is None
        progress.finished(cells[0], 10.0)
        assert progress.seconds_left() == pytest.approx(70)
        progress.finished(cells[1], 50.0)
        assert progress.seconds_left() == pytest.approx(100)

    def test_counts_cells_where_work_is_unknown(self, cells):
        progress = runner._Progress(cells, lambda cell: None if cell.name == "c" else 1.0)
        progress.finished(cells[0], 10.0)
        assert progress.seconds_left() == pytest.approx(20)

    def test_is_shared_by_cells_side_by_side(self, cells):
        progress = runner._Progress(cells, lambda cell: 1.0, jobs=2)
        progress.finished(cells[0], 10.0)
        assert progress.seconds_left() == pytest.approx(10)
        progress.finished(cells[1], 10.0)
        assert progress.seconds_left() == pytest.approx(10)

    def test_a_failed_cell_teaches_nothing(self, cells):
        progress = runner._Progress(cells, lambda cell: 1.0)
        progress.finished(cells[0], None)
        assert progress.seconds_left() is None
