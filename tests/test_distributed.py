"""Many processes, same numbers: gloo ranks on this machine against one process."""

import os
import subprocess
import sys

import pandas as pd
import pytest

from tests.support.options import WITHOUT_PICTURES
from tests.support.processes import run_ranks
from tests.support.results import read_record, repeatable

SUMMED = ("loss", "probability", "confidence", "loss_increase", "calibration_error")  # in another order


@pytest.fixture(scope="session")
def evaluate(repository, tmp_path_factory, tiny_clip):
    """Runs the demo's evaluation in processes of its own; gives the table and the record."""

    def evaluate(launcher, world, images):
        folder = tmp_path_factory.mktemp(f"{launcher}-{world}-{images}")
        options = [
            *("test", "--config", repository / "configs/demo.yaml", *tiny_clip),
            *("--trainer.accelerator=cpu", f"--trainer.devices={world}", "--trainer.enable_progress_bar=false"),
            *("--data.num_workers=0", "--data.batch_size=16", f"--data.limit={images}"),
            WITHOUT_PICTURES,
            f"--trainer.logger.save_dir={folder}",
        ]
        if world > 1:
            options.append("--trainer.strategy=ddp")
        if launcher == "ranks":
            run_ranks(options, folder, world)
        else:
            module = ["-m", "bench"]
            if launcher == "torchrun":
                module = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}", "-m", "bench"]
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(repository)}
            command = [sys.executable, *module, *options]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
            assert done.returncode == 0, done.stderr[-3000:]
        [run] = (folder / "demo").iterdir()
        return run / "images.csv", read_record(run)

    return evaluate


def assert_same(measured, expected, images):
    """Every image once, and the same bytes: batches are the same whatever rank they go to."""
    table, record = measured
    expected_table, expected_record = expected
    assert pd.read_csv(table)["index"].unique().tolist() == list(range(images))
    assert table.read_bytes() == expected_table.read_bytes()
    for view, metrics in repeatable(expected_record).items():
        assert ("encode_ms" in record["metrics"][view]) == (view != "original")
        for name, value in metrics.items():
            if name in SUMMED:
                assert record["metrics"][view][name] == pytest.approx(value, rel=1e-6), name
            else:
                assert record["metrics"][view][name] == value, name


def test_two_processes_equal_one_on_an_odd_number_of_images(evaluate):
    measured = evaluate("ranks", 2, 37)
    assert measured[1]["run"]["processes"] == 2
    assert_same(measured, evaluate("ranks", 1, 37), 37)


LATE = "import datamodules; datamodules.Synthetic.incomplete = lambda data: True"  # as if it had to be downloaded

PYTHON = """
import bench, callbacks, datamodules
from lightning.pytorch import Trainer

trainer = Trainer(
    accelerator="cpu", devices=2, strategy="ddp", logger=False, default_root_dir="runs/demo/python",
    enable_progress_bar=False, enable_model_summary=False, callbacks=[callbacks.ResultsWriter()],
)
module = bench.ZeroShotEvaluation(encoder="{encoder}", pretrained="{pretrained}")
trainer.test(module, datamodules.Synthetic(limit=5, num_workers=0, degradations=["jpeg-50"]), verbose=False)
"""


@pytest.mark.parametrize("program", [False, True], ids=["data that are not there yet", "a program of Python"])
def test_two_processes_that_claim_their_folder_once_they_have_met(repository, tmp_path, tiny_clip, program):
    options = [
        *("test", "--config", repository / "configs/demo.yaml", *tiny_clip, WITHOUT_PICTURES, "--trainer.strategy=ddp"),
        *("--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.enable_progress_bar=false"),
        *("--data.num_workers=0", "--data.limit=5"),
    ]
    _, encoder, _, pretrained = tiny_clip
    if program:
        run_ranks(["--version"], tmp_path, 2, before=PYTHON.format(encoder=encoder, pretrained=pretrained))
    else:
        run_ranks(options, tmp_path, 2, before=LATE)
    [run] = (tmp_path / "runs/demo").iterdir()
    assert read_record(run)["run"]["processes"] == 2
    assert pd.read_csv(run / "images.csv")["index"].unique().tolist() == list(range(5))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("images", [1, 2, 7, 100, 1001])
def test_every_world_size_and_launcher_equals_one_process(evaluate, images):
    expected = evaluate("ddp", 1, images)
    for world in (1, 2, 3):
        assert_same(evaluate("torchrun", world, images), expected, images)
    for world in (2, 3):
        assert_same(evaluate("ddp", world, images), expected, images)
