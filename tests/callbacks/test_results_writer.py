"""The results of a run that Python code starts, without the command line."""

from contextlib import nullcontext

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger

from bench import ZeroShotEvaluation, load_run
from callbacks import ResultsWriter
from datamodules import Synthetic
from datamodules.errors import UserError
from tests.support.nodes import OtherDisk


@pytest.mark.parametrize(
    ("options", "command", "message"),
    [
        ({"limit_test_batches": 2}, "test", "`limit_test_batches` 2 counts batches"),
        ({"limit_predict_batches": 0.5}, "predict", "`limit_predict_batches` 0.5 counts batches"),
        ({"fast_dev_run": 1}, "test", "`fast_dev_run` True counts batches"),
    ],
)
def test_a_trainer_that_limits_batches_is_refused_before_anything_is_written(
    tmp_path, tiny_clip, options, command, message
):
    _, encoder, _, weights = tiny_clip
    trainer = Trainer(
        accelerator="cpu", devices=1, logger=False, default_root_dir=tmp_path, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[ResultsWriter()], **options,
    )  # fmt: skip
    with pytest.raises(UserError, match=f"{message}.*use `limit`, which counts images"):
        getattr(trainer, command)(
            ZeroShotEvaluation(encoder=encoder, pretrained=weights), Synthetic(limit=4, num_workers=0)
        )
    assert not list(tmp_path.iterdir())


class Kill(Callback):
    def on_test_batch_end(self, *_, **__):
        raise InterruptedError


@pytest.mark.parametrize(("logger", "taken_up"), [("none", 2), ("fixed", 2), ("counting", 0)])
def test_an_interrupted_run_is_taken_up_from_python_where_its_folder_stays(tmp_path, tiny_clip, logger, taken_up):
    _, encoder, _, weights = tiny_clip
    for callbacks in ([Kill()], []):
        loggers = {
            "none": False,
            "fixed": CSVLogger(tmp_path, name="", version="mine"),
            "counting": CSVLogger(tmp_path, name=""),
        }
        trainer = Trainer(
            accelerator="cpu", devices=1, logger=loggers[logger], default_root_dir=tmp_path, enable_progress_bar=False,
            enable_model_summary=False, callbacks=[ResultsWriter(flush_seconds=0), *callbacks],
        )  # fmt: skip
        data = Synthetic(limit=4, batch_size=2, num_workers=0, degradations=["jpeg-50"])
        module = ZeroShotEvaluation(encoder=encoder, pretrained=weights)
        with pytest.raises(InterruptedError) if callbacks else nullcontext():
            trainer.test(module, data, verbose=False)
    [results] = tmp_path.rglob("results.json")
    assert load_run(results).record.run.images_taken_up == taken_up


def test_nodes_that_do_not_share_the_output_folder_are_refused_before_anything_is_measured(tmp_path, tiny_clip):
    _, encoder, _, weights = tiny_clip
    trainer = Trainer(
        strategy=OtherDisk(), logger=False, default_root_dir=tmp_path,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[ResultsWriter()],
    )  # fmt: skip
    with pytest.raises(UserError, match="file system that all nodes share"):
        trainer.test(ZeroShotEvaluation(encoder=encoder, pretrained=weights), Synthetic(limit=4, num_workers=0))


class Elsewhere(Callback):
    """The run was on a GPU, as far as its end can tell."""

    def on_test_end(self, trainer, pl_module):
        trainer.strategy._root_device = torch.device("cuda", 0)

    on_predict_end = on_test_end


@pytest.mark.parametrize("command", ["test", "predict"])
def test_the_record_says_which_command_ran_and_where_though_the_device_is_left_by_then(tmp_path, tiny_clip, command):
    _, encoder, _, weights = tiny_clip
    trainer = Trainer(
        accelerator="cpu", devices=1, logger=False, default_root_dir=tmp_path, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[ResultsWriter(), Elsewhere()],
    )  # fmt: skip
    data = Synthetic(limit=4, num_workers=0, degradations=["jpeg-50"])
    getattr(trainer, command)(ZeroShotEvaluation(encoder=encoder, pretrained=weights), data)
    [results] = tmp_path.rglob("results.json")
    run = load_run(results).record.run
    assert (run.command, run.device) == (command, "cuda")
