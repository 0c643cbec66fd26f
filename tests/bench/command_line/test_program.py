"""What a run shows and leaves, in this process."""

import shutil
from pathlib import Path

import pytest
import torch
from lightning.fabric.accelerators.cuda import _check_cuda_matmul_precision
from lightning.pytorch import Trainer

from bench.cli import main
from bench.command_line.checks import check_trainer, say_what_is_slow
from bench.command_line.screen import ProgressLines, arrange_progress, plain_messages
from datamodules.errors import UserError

QUICK = ("--trainer.accelerator=cpu", "--trainer.devices=1", "--data.num_workers=0", "--data.batch_size=8")


@pytest.fixture
def run(tmp_path, monkeypatch, tiny_clip):
    """Runs a command on 24 images in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["lightning"])

    def run(command, config, *options):
        main([command, "--config", config, *tiny_clip, *QUICK, "--data.limit=24", *options])

    return run


@pytest.fixture
def meanwhile(monkeypatch):
    """Does something in the second of three batches."""
    from bench.evaluation import ZeroShotEvaluation

    def meanwhile(action):
        step = ZeroShotEvaluation.test_step

        def acting(self, batch, batch_idx):
            if batch_idx == 1:
                action(Path(self.trainer.log_dir))
            return step(self, batch, batch_idx)

        monkeypatch.setattr(ZeroShotEvaluation, "test_step", acting)

    return meanwhile


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (shutil.rmtree, "is gone, and what it held"),
        (lambda folder: (folder / "results.json").mkdir(), "is a folder in the place of a file"),
    ],
)
def test_a_folder_that_changes_in_mid_run_ends_in_one_line(run, meanwhile, capsys, action, said):
    meanwhile(action)
    with pytest.raises(SystemExit, match="2"):
        run("test", "demo")
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert said in errors[0]


def test_the_table_is_the_last_thing_on_the_screen_and_nothing_is_advertised(run, capsys):
    run("test", "demo")
    shown = capsys.readouterr()
    assert shown.out.splitlines()[-1] == "written to runs/demo/version_0"
    assert "precision  " in shown.out
    assert "\r" not in shown.out + shown.err
    for word in ("Tip", "litlogger", "litmodels", "TPU", "lightning.ai"):
        assert word not in shown.out + shown.err


@pytest.mark.parametrize(("command", "config"), [("test", "image_folder"), ("fit", "finetune/consistency")])
def test_images_that_are_not_there_are_missed_before_weights_are_loaded(run, monkeypatch, capsys, command, config):
    monkeypatch.setattr("bench.evaluation.load_encoder", None)
    monkeypatch.setattr("bench.finetuning.tuning.load_encoder", None)
    with pytest.raises(SystemExit, match="2"):
        run(command, config, "--data.root=nowhere", *(() if command == "test" else ["--data.download=false"]))
    assert "nowhere" in capsys.readouterr().err.splitlines()[-1]


def test_a_gpu_with_tensor_cores_is_answered_with_an_option(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    with plain_messages():
        _check_cuda_matmul_precision(torch.device("cuda"))
    assert "--trainer.precision bf16-mixed can be faster" in caplog.text
    assert "set_float32_matmul_precision" not in caplog.text


def test_a_trial_fit_leaves_nothing(run, tmp_path):
    run("fit", "demo_finetune", "--trainer.fast_dev_run=1")
    assert not list(tmp_path.rglob("*.ckpt"))
    assert not list(tmp_path.rglob("*.json"))


def test_early_stopping_on_a_metric_that_is_not_there_is_one_line(run, capsys):
    stopping = "{class_path: lightning.pytorch.callbacks.EarlyStopping, init_args: {monitor: nothing}}"
    with pytest.raises(SystemExit, match="2"):
        run("fit", "demo_finetune", f"--trainer.callbacks=[{stopping}]", "--trainer.log_every_n_steps=1")
    assert "error: Early stopping conditioned on metric `nothing`" in capsys.readouterr().err


class TestProgressLines:
    @pytest.fixture
    def lines(self, capsys):
        """Lines of a progress over batches that take four seconds each."""
        seconds = iter(range(0, 4000, 4))
        progress = ProgressLines(seconds=10, clock=lambda: next(seconds))

        def lines(batches, total, shown=True):
            if not shown:
                progress.disable()
            progress.begin("testing")
            for done in range(1, batches + 1):
                progress.count(done, total)
            return capsys.readouterr().err.splitlines()

        return lines

    def test_a_line_every_ten_seconds_says_how_far_and_how_long(self, lines):
        assert lines(9, 12) == [
            "testing: 3 of 12 batches (25%), about 0:00:36 left",
            "testing: 6 of 12 batches (50%), about 0:00:24 left",
            "testing: 9 of 12 batches (75%), about 0:00:12 left",
        ]

    def test_without_a_total_there_is_no_end(self, lines):
        assert lines(3, float("inf")) == ["testing: 3"]

    def test_other_processes_are_silent(self, lines):
        assert lines(9, 12, shown=False) == []


def test_bars_give_way_to_lines_only_where_there_is_no_terminal(tmp_path, monkeypatch):
    def progress_of(terminal, **options):
        trainer = Trainer(accelerator="cpu", logger=False, default_root_dir=tmp_path, **options)
        chosen.append(type(trainer.progress_bar_callback).__name__)
        monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
        arrange_progress(trainer)
        return type(trainer.callbacks[0]).__name__, type(trainer.progress_bar_callback).__name__

    chosen: list[str] = []
    assert progress_of(terminal=True) == (chosen[0], chosen[0])
    assert chosen[0] in ("TQDMProgressBar", "RichProgressBar")  # the second where rich is installed
    assert progress_of(terminal=False) == ("ProgressLines", "ProgressLines")
    assert progress_of(terminal=False, enable_progress_bar=False)[1] == "NoneType"


@pytest.mark.parametrize("limit", ["limit_train_batches", "limit_val_batches"])
def test_a_fit_of_some_batches_would_not_say_which_images_it_saw(limit):
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, **{limit: 2})
    with pytest.raises(UserError, match=f"`{limit}` 2 counts batches"):
        check_trainer(trainer, "fit")


@pytest.mark.parametrize(
    ("precision", "instructions", "said"),
    [("bf16-mixed", False, True), ("bf16-mixed", True, False), ("32-true", False, False)],
)
def test_bfloat16_on_a_processor_without_it_is_said_to_be_slow(precision, instructions, said, monkeypatch, caplog):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: instructions)
    say_what_is_slow(Trainer(accelerator="cpu", precision=precision, logger=False, enable_checkpointing=False))
    assert ("32-true" in caplog.text) == said
