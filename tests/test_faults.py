"""What becomes of a run that does not end as it should, and of the next one."""

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from bench.cli import main
from bench.runs import locks
from bench.runs.folder import UNFINISHED
from bench.runs.provenance import SoftwareRecord
from tests.support.options import WITHOUT_PICTURES
from tests.support.processes import Command
from tests.support.results import read_record, repeatable

QUICK = [
    *("--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.enable_progress_bar=false"),
    *("--data.num_workers=0", "--data.limit=50", "--data.batch_size=8"),
]
FLUSH = "{class_path: callbacks.ResultsWriter, init_args: {flush_seconds: 0}}"
FLUSHING = f"--trainer.callbacks=[{FLUSH}]"
SLOW = """
import time
from bench.evaluation import ZeroShotEvaluation
step = ZeroShotEvaluation.test_step
ZeroShotEvaluation.test_step = lambda self, batch, index: (time.sleep(0.2), step(self, batch, index))[1]
"""
PICTURES = f"--trainer.callbacks=[{FLUSH}, {{class_path: callbacks.TensorBoardReport}}]"


class Killed(BaseException):
    """Stands in for the end of the process: nothing catches it."""


@pytest.fixture
def run(repository, tmp_path, monkeypatch, tiny_clip, capsys):
    """Runs a command in an empty folder; gives what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["lightning"])

    def run(*options, command="test", config="demo"):
        main([command, "--config", str(repository / "configs" / f"{config}.yaml"), *tiny_clip, *QUICK, *options])
        return capsys.readouterr().out

    yield run
    for file in tmp_path.rglob("lock"):  # which the end of the process would have given back
        locks.release(file)


@pytest.fixture
def interrupt(run, monkeypatch, tmp_path):
    """A run that ends as if killed in a batch, by number; its folder."""

    def interrupt(batch, *options, **choice):
        from bench.evaluation import ZeroShotEvaluation

        def step(self, data, batch_idx):
            if batch_idx == batch:
                raise Killed
            return self._classify(data)

        with monkeypatch.context() as patched:
            patched.setattr(ZeroShotEvaluation, "test_step", step)
            patched.setattr(ZeroShotEvaluation, "predict_step", step)
            patched.setattr("callbacks.ResultsWriter.on_exception", lambda *_: None)
            with pytest.raises(Killed):
                run(FLUSHING, *options, **choice)
        [folder] = (tmp_path / "runs" / choice.get("config", "demo")).iterdir()
        for file in folder.rglob("lock"):
            locks.release(file)
        return folder

    return interrupt


@pytest.fixture(scope="module")
def undisturbed(repository, tmp_path_factory, tiny_clip):
    """The folder of a run that nothing happened to."""
    root = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sys.argv", ["lightning"])
        options = [*tiny_clip, *QUICK, f"--trainer.logger.save_dir={root}"]
        main(["test", "--config", str(repository / "configs/demo.yaml"), *options])
    return root / "demo/version_0"


def assert_complete(folder, undisturbed, taken_up):
    record, expected = read_record(folder), read_record(undisturbed)
    assert record["run"]["images_taken_up"] == taken_up
    assert (folder / "images.csv").read_bytes() == (undisturbed / "images.csv").read_bytes()
    for view, metrics in repeatable(expected).items():
        for name, value in metrics.items():
            np.testing.assert_allclose(record["metrics"][view][name], value, rtol=1e-6, atol=1e-6, err_msg=name)
    assert not (folder / UNFINISHED).exists()


class TestTakingUp:
    @pytest.mark.parametrize("batch", [0, 3, 6])
    def test_the_same_command_completes_a_killed_run(self, run, interrupt, undisturbed, batch):
        folder = interrupt(batch)
        assert {"results.json", "images.csv"}.isdisjoint(file.name for file in folder.iterdir())
        run(FLUSHING)
        assert [file.name for file in folder.parent.iterdir()] == [folder.name]
        assert_complete(folder, undisturbed, taken_up=8 * batch)

    def test_a_run_killed_between_its_last_batch_and_its_results_classifies_nothing_again(
        self, run, interrupt, undisturbed, monkeypatch
    ):
        def kill(*_):
            raise Killed

        with monkeypatch.context() as patched:
            patched.setattr("bench.runs.record.RunRecord.write", kill)
            folder = interrupt(None)
        run(FLUSHING)
        assert_complete(folder, undisturbed, taken_up=50)

    def test_killed_again_and_again(self, run, interrupt, undisturbed):
        folder = interrupt(1)
        for _ in range(3):
            interrupt(1)
        run(FLUSHING)
        assert_complete(folder, undisturbed, taken_up=32)

    def test_batches_of_another_size_may_finish_it(self, run, interrupt, undisturbed):
        folder = interrupt(3)
        run(FLUSHING, "--data.batch_size=5")
        assert read_record(folder)["run"]["images_taken_up"] == 24
        found, expected = (read_record(path)["metrics"]["jpeg-25"] for path in (folder, undisturbed))
        assert found["precision"] == expected["precision"]
        assert "batch_size: 5" in (folder / "config.yaml").read_text()

    def test_figures_show_flips_of_images_classified_before(self, run, interrupt, undisturbed):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        folder = interrupt(5, PICTURES)
        run(PICTURES)
        pictures = []
        for path in (folder, undisturbed):
            events = EventAccumulator(str(path))
            events.Reload()
            pictures.append(events.Images("report/flips/jpeg-25")[-1].encoded_image_string)
        assert pictures[0] == pictures[1]

    def test_predicting_takes_up_too(self, run, interrupt):
        folder = interrupt(2, command="predict")
        run(FLUSHING, command="predict")
        assert read_record(folder)["run"]["images_taken_up"] == 16

    def test_an_exception_keeps_what_was_measured(self, run, monkeypatch, tmp_path):
        """A flush that time has not come for."""
        from bench.evaluation import ZeroShotEvaluation

        def step(self, data, batch_idx):
            if batch_idx == 4:
                raise KeyError("something")
            return self._classify(data)

        with monkeypatch.context() as patched:
            patched.setattr(ZeroShotEvaluation, "test_step", step)
            with pytest.raises(KeyError):
                run(WITHOUT_PICTURES)
        run(WITHOUT_PICTURES)
        assert read_record(tmp_path / "runs/demo/version_0")["run"]["images_taken_up"] == 32


class TestNotTakingUp:
    @pytest.mark.parametrize(
        "change", ["--data.limit=40", "--data.degradations=[jpeg-75]", "--model.templates=['a {}']"]
    )
    def test_a_run_that_measures_something_else_gets_a_folder_of_its_own(self, run, interrupt, change):
        folder = interrupt(3)
        run(FLUSHING, change)
        assert read_record(folder.parent / "version_1")["run"]["images_taken_up"] == 0
        assert (folder / UNFINISHED).exists()

    def test_a_run_with_other_software_neither(self, run, interrupt, monkeypatch):
        folder = interrupt(3)
        monkeypatch.setattr("callbacks.results_writer.software", lambda *_: SoftwareRecord(python="2.7"))
        run(FLUSHING)
        assert (folder.parent / "version_1/results.json").exists()

    def test_a_finished_run_is_left_alone(self, run, tmp_path):
        run(WITHOUT_PICTURES)
        run(WITHOUT_PICTURES)
        assert len(list(tmp_path.rglob("results.json"))) == 2

    def test_a_folder_where_another_process_is_at_work_is_refused(self, repository, run, tmp_path, capsys):
        folder = tmp_path / "own"
        (folder / UNFINISHED).mkdir(parents=True)
        hold = (
            "import pathlib, sys; from bench.runs import locks; locks.acquire(pathlib.Path(sys.argv[1])); "
            "print(flush=True); input()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", hold, str(folder / UNFINISHED / "lock")],
            cwd=repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        ) as holder:  # fmt: skip
            holder.stdout.readline()
            alone = "--trainer.callbacks=[callbacks.ResultsWriter]"
            with pytest.raises(SystemExit, match="2"):
                run("--trainer.logger=false", alone, f"--trainer.default_root_dir={folder}")
            holder.kill()
        assert "error: another process is at work in" in capsys.readouterr().err


class TestDisk:
    """Trouble with the disk is the user's to mend: one line, status 2, nothing half-written."""

    def test_output_folder_below_a_file(self, run, tmp_path, capsys):
        (tmp_path / "file").write_text("")
        with pytest.raises(SystemExit, match="2"):
            run(f"--trainer.logger.save_dir={tmp_path / 'file'}")
        [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert "Not a directory" in line

    @pytest.mark.parametrize("name", ["images.csv", "results.json", "safetensors"])
    def test_full_disk(self, run, tmp_path, monkeypatch, capsys, name):
        def full(path, content):
            if path.name.endswith(name):
                raise OSError(28, "No space left on device", str(path))
            path.write_bytes(content if isinstance(content, bytes) else "".join(content).encode())

        with monkeypatch.context() as patched:
            for module in ("bench.runs.shards", "bench.runs.journal", "bench.runs.record", "callbacks.results_writer"):
                patched.setattr(f"{module}.write_atomically", full)
            with pytest.raises(SystemExit, match="2"):
                run(FLUSHING)
        [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert "No space left on device" in line
        assert "give the same command again, which keeps what is finished" in line
        assert not list(tmp_path.rglob("results.json"))
        run(FLUSHING)
        assert (tmp_path / "runs/demo/version_0/results.json").exists()

    def test_full_disk_while_the_table_is_written_as_parquet(self, run, tmp_path, monkeypatch, capsys):
        parquet = pytest.importorskip("pyarrow.parquet", reason="an extra")

        def full(*_, **__):
            raise OSError(28, "No space left on device")

        table = "--trainer.callbacks.table=parquet"
        with monkeypatch.context() as patched:
            patched.setattr(parquet.ParquetWriter, "write_table", full)
            with pytest.raises(SystemExit, match="2"):
                run(FLUSHING, table)
        [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert "images.parquet': No space left on device" in line
        assert not list(tmp_path.rglob("*images.parquet*"))
        run(FLUSHING, table)
        assert (tmp_path / "runs/demo/version_0/images.parquet").exists()

    def test_a_disk_that_is_full_once_all_is_measured_costs_nothing_that_was_measured(self, run, tmp_path, monkeypatch):
        def full(*_):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr("callbacks.TensorBoardReport.finish", full)
            with pytest.raises(SystemExit, match="2"):
                run(PICTURES)
        run(PICTURES)
        [folder] = (tmp_path / "runs/demo").iterdir()
        assert read_record(folder)["run"]["images_taken_up"] == 50

    @pytest.mark.parametrize("room", [1, 12])
    def test_a_disk_that_is_full_for_the_thread_of_tensorboard_is_one_line_before_any_result(
        self, run, tmp_path, monkeypatch, capsys, room
    ):
        from tensorboard.summary.writer.record_writer import RecordWriter

        write, written = RecordWriter.write, []

        def full(self, data):
            if len(written) >= room:
                raise OSError(28, "No space left on device")
            written.append(data)
            write(self, data)

        with monkeypatch.context() as patched:
            patched.setattr(RecordWriter, "write", full)
            with pytest.raises(SystemExit, match="2"):
                run(PICTURES)
        errors = capsys.readouterr().err
        assert errors.count("No space left on device") == errors.count("error: ") == 1
        assert "Exception in thread" not in errors
        assert not list(tmp_path.rglob("results.json"))
        run(PICTURES)
        [folder] = (tmp_path / "runs/demo").iterdir()
        assert read_record(folder)["run"]["images_taken_up"] == 50

    @pytest.mark.parametrize("what", ["folder", "results"])
    def test_a_folder_deleted_or_a_file_barred_in_mid_run(self, run, tmp_path, monkeypatch, capsys, what):
        from bench.evaluation import ZeroShotEvaluation

        classify = ZeroShotEvaluation.test_step

        def step(self, data, batch_idx):
            if batch_idx == 3:
                [folder] = (tmp_path / "runs/demo").iterdir()
                if what == "folder":
                    shutil.rmtree(folder)
                else:
                    (folder / "results.json").mkdir()
            return classify(self, data, batch_idx)

        monkeypatch.setattr(ZeroShotEvaluation, "test_step", step)
        with pytest.raises(SystemExit, match="2"):
            run(FLUSHING)
        [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert ("is gone" if what == "folder" else "is a folder in the place of a file: delete it") in line


class TestManyProcesses:
    @pytest.fixture
    def start(self, repository, tmp_path, tiny_clip):
        """Starts two ranks under Lightning's ddp, the second by the first."""
        started = []

        def start(before=""):
            words = [
                *("test", "--config", repository / "configs/demo.yaml", *tiny_clip), *QUICK, FLUSHING,
                *(f"--trainer.logger.save_dir={tmp_path}", "--trainer.devices=2", "--trainer.strategy=ddp"),
                *("--data.limit=160", "--data.batch_size=8", "--model.fidelity=false"),
            ]  # fmt: skip
            started.append(Command(words, tmp_path, before, environment={"PYTHONPATH": str(repository)}))
            return started[-1]

        yield start
        for command in started:
            command.__exit__()

    @pytest.mark.slow
    @pytest.mark.parametrize("victim", ["first", "second"])
    def test_the_death_of_a_rank_ends_the_job_and_the_next_completes_it(self, start, tmp_path, undisturbed, victim):
        job = start(SLOW)
        folder = tmp_path / "demo/version_0"
        job.wait_for(lambda: len(list((folder / UNFINISHED).glob("*.safetensors"))) > 4)
        children = ranks_below(job.pid)
        os.kill(job.pid if victim == "first" else children[0], signal.SIGKILL)
        assert job.wait(60) != 0, job.errors
        wait_for(lambda: not any(alive(child) for child in children))
        assert not (folder / "results.json").exists()
        assert not list(folder.glob(".*"))
        assert start().wait(120) == 0
        record = read_record(folder)
        assert record["images"] == 160
        assert record["run"]["images_taken_up"] > 0


def ranks_below(parent):
    """Process numbers of the ranks that another one started."""
    found = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(parent)], capture_output=True, text=True, check=True
    )
    return [int(line.split()[0]) for line in found.stdout.splitlines() if "bench" in line]


def alive(process):
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False)
    return state.stdout.strip() not in ("", "Z", "Zl")


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
