"""How commands end, in processes of their own."""

import os
import signal
import subprocess
import sys
import threading

import pytest
import yaml

from bench.command_line.ending import (
    LONGEST_LINE,
    ended_by_signals,
    fail,
    mistakes_in_one_line,
    one_line,
    silent_where_nobody_reads,
)
from datamodules.errors import UserError
from tests.support.processes import Command

QUICK = ("--trainer.accelerator=cpu", "--trainer.devices=1", "--data.num_workers=0")
MARK = "waiting to be ended"
HELD = f"""
import time
from bench.evaluation import ZeroShotEvaluation
from bench.finetuning.robust import RobustFineTuning
def held(step):
    def run(self, batch, batch_idx, *rest):
        if batch_idx == 2:
            print({MARK!r}, flush=True)
            time.sleep(60)
        return step(self, batch, batch_idx, *rest)
    return run
ZeroShotEvaluation.test_step = held(ZeroShotEvaluation.test_step)
ZeroShotEvaluation.predict_step = held(ZeroShotEvaluation.predict_step)
RobustFineTuning.training_step = held(RobustFineTuning.training_step)
"""


def ended_by(number, words, folder, before):
    """The status and the error lines of a command that a signal ends once it waits."""
    with Command(words, folder, before) as command:
        command.wait_for(lambda: MARK in command.printed)
        command.send(number)
        return command.wait(60), command.errors


@pytest.mark.parametrize(
    ("number", "command", "config"),
    [
        (signal.SIGTERM, "test", "demo"),
        (signal.SIGINT, "test", "demo"),
        (signal.SIGTERM, "predict", "demo"),
        (signal.SIGTERM, "fit", "demo_finetune"),
        pytest.param(signal.SIGINT, "fit", "demo_finetune", marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_a_run_with_its_status_and_what_was_measured_is_kept(
    tiny_clip, tmp_path, number, command, config
):
    words = [command, "--config", config, *tiny_clip, *QUICK, "--data.limit=60", "--data.batch_size=8"]
    status, errors = ended_by(number, words, tmp_path, HELD)
    assert status == 128 + number
    assert "Traceback" not in errors
    [folder] = (tmp_path / "runs" / config).iterdir()
    assert not (folder / "results.json").exists()
    assert not list(folder.rglob(".*"))
    if command != "fit":
        assert len(list((folder / "unfinished").glob("*.safetensors"))) == 1


def test_a_signal_ends_a_sweep_and_its_cell_with_its_status(tmp_path):
    waits = (
        "import subprocess\nfrom bench.sweep.places import Place\n"
        f"Place.start = lambda *_: (subprocess.Popen(['sleep', '60']), print({MARK!r}, flush=True))[0]"
    )
    words = ["sweep", "--config", "demo_sweep", "--jobs", "2"]
    assert ended_by(signal.SIGTERM, words, tmp_path, waits) == (143, "")
    assert not list(tmp_path.rglob("failed.json"))


@pytest.mark.parametrize("words", ["--help", "references", "sweep --config demo_sweep --dry-run"])
def test_a_reader_that_leaves_ends_a_command_with_the_status_of_sigpipe(words):
    reading, writing = os.pipe()
    os.close(reading)
    program = [sys.executable, "-m", "bench", *words.split()]
    done = subprocess.run(program, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_another_broken_pipe_is_raised(capfd):
    with pytest.raises(BrokenPipeError), silent_where_nobody_reads():
        raise BrokenPipeError


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit, match="143"), ended_by_signals():
        signal.raise_signal(signal.SIGTERM)
    assert before == (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UserError("\x1b[31mred\u202e\nline"), "error: \\x1b[31mred\\u202e line\n"),
        (IsADirectoryError(21, "Is a directory", "results.json"), "error: 'results.json': Is a directory; once"),
        (FileNotFoundError(2, "No such file or directory", "runs/x"), "error: 'runs/x': No such file or directory"),
        (yaml.YAMLError("x"), "error: a value is no YAML (x): quote it"),
        (RecursionError("x"), "error: a value is nested too deeply"),
    ],
)
def test_mistakes_are_one_printable_line(capsys, error, said):
    with pytest.raises(SystemExit, match="2"), mistakes_in_one_line():
        raise error
    assert capsys.readouterr().err.startswith(said)


def run_in_a_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@pytest.mark.parametrize(
    ("resumes", "mend"),
    [(True, "give the same command again, which keeps what is finished"), (False, "give the same command again")],
)
def test_trouble_that_a_thread_has_with_the_disk_is_one_line(capsys, resumes, mend):
    def write():
        raise OSError(28, "No space left on device", "events")

    before = threading.excepthook
    with pytest.raises(SystemExit, match="2"), mistakes_in_one_line(resumes=resumes):
        run_in_a_thread(write)
    assert capsys.readouterr().err == f"error: 'events': No space left on device; once that is mended, {mend}\n"
    assert threading.excepthook is before


def test_a_defect_of_a_thread_keeps_its_traceback(monkeypatch):
    told = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    with mistakes_in_one_line():
        run_in_a_thread(lambda: {}["x"])
    assert [type(found.exc_value) for found in told] == [KeyError]


def test_a_defect_keeps_its_traceback():
    with pytest.raises(KeyError), mistakes_in_one_line():
        raise KeyError("x")


def test_long_lines_are_cut_in_the_middle(capsys):
    with pytest.raises(SystemExit):
        fail("begin " + "x" * 10_000 + " end")
    line = capsys.readouterr().err.strip()
    assert line.startswith("error: begin xxx")
    assert line.endswith("xxx end")
    assert len(line) <= len("error: ") + LONGEST_LINE
    assert one_line("short") == "short"
