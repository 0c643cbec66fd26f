"""`lightning sweep` and `lightning report` as a user types them."""

import os
import re
import subprocess
import sys

import pytest
import yaml

from bench.cli import main
from tests.support.results import read_record


def ended(arguments):
    """The exit status of a command."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return caught.value.code or 0


@pytest.fixture
def sweep(repository, tmp_path, tiny_clip, monkeypatch):
    """A grid of a tiny CLIP and one whose weights are missing, in an empty folder; its arguments."""
    monkeypatch.chdir(tmp_path)
    encoder, weights = str(tiny_clip[1]), str(tiny_clip[3])
    content = {
        "output": "runs",
        "options": {"config": str(repository / "configs/demo.yaml"), "data.num_workers": 0, "data.batch_size": 16},
        "grid": {
            "encoder": {
                "tiny": {"model.encoder": encoder, "model.pretrained": weights},
                "lost": {"model.encoder": encoder, "model.pretrained": "lost.safetensors"},
            },
            "data.split": ["test"],
        },
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return ["sweep", "--config", "sweep.yaml", "--data.limit=20", "--trainer.accelerator=cpu"]


def test_a_sweep_runs_reports_its_failures_and_is_skipped_the_second_time(sweep, tmp_path, capsys):
    assert ended(sweep) == 1
    printed = capsys.readouterr().out
    assert "2 cells: 1 done now, 0 done before, 1 failed, 0 at work elsewhere" in printed
    assert "lost/test: weights file lost.safetensors" in printed
    assert read_record(tmp_path / "runs/tiny/test")["images"] == 20
    assert yaml.safe_load((tmp_path / "runs/tiny/test/config.yaml").read_text())["data"]["init_args"]["limit"] == 20
    assert ended([*sweep, "--only", "encoder=tiny"]) == 0
    assert "1 cell: 0 done now, 1 done before" in capsys.readouterr().out
    assert ended(["report", "runs", "--output", "report"]) == 0
    assert "1 result file, 1 encoder" in capsys.readouterr().out
    page = (tmp_path / "report/index.html").read_text()
    assert "synthetic/test, 20 images" in page


def test_a_dry_run_costs_nothing_and_leaves_nothing(sweep, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    assert ended([*sweep, "--dry-run", "--only", "encoder=tiny"]) == 0
    assert "1 cell: " in capsys.readouterr().out
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep"], "--config"),
        (["sweep", "--config", "nowhere.yaml"], "'nowhere.yaml' is no file"),
        (["sweep", "--config", "sweep.yaml", "--bogus"], "--bogus' is no option of a sweep nor of its cells"),
        (["sweep", "--config", "sweep.yaml", "--data.limit"], "needs a value"),
        (["sweep", "--config", "sweep.yaml", "--only", "encoder=huge"], "choose from tiny, lost"),
        (["sweep", "--config", "sweep.yaml", "--dry-run", "--tflops", "0"], "is not positive"),
        (["report", "nowhere"], "'nowhere' does not exist"),
    ],
)
def test_mistakes_are_one_line(sweep, capsys, arguments, message):
    assert ended(arguments) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert message in line


@pytest.fixture
def cluster(tmp_path, repository, monkeypatch):
    """Programs like SLURM's and ours on the path: `srun` runs its command in two tasks, which know their numbers."""
    programs = {
        "srun": """
            while [ "${1#--}" != "$1" ]; do shift; done
            for task in 0 1; do
              SLURM_NTASKS=2 SLURM_PROCID=$task SLURM_LOCALID=$task SLURM_NODEID=0 SLURM_JOB_NAME=x "$@" &
              tasks="$tasks $!"
            done
            status=0
            for task in $tasks; do wait $task || status=1; done
            exit $status""",
        "lightning": f'exec {sys.executable} -m bench "$@"',
    }
    (tmp_path / "bin").mkdir()
    for name, script in programs.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(repository))


@pytest.mark.slow
def test_the_script_for_a_cluster_makes_every_cell_once_with_a_rank_of_its_own(sweep, cluster, repository, tmp_path):
    [script] = re.findall(r"^```bash\n(.*?)^```", (repository / "docs/slurm.md").read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "sweep.sh").write_text(script)
    grid = yaml.safe_load((tmp_path / "sweep.yaml").read_text())
    grid["grid"] |= {"encoder": {"tiny": grid["grid"]["encoder"]["tiny"]}, "data.split": ["test", "train"]}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(grid, sort_keys=False))
    command = ["bash", "sweep.sh", *sweep[1:], "--trainer.devices=1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    logs = [log.read_text() for log in sorted(tmp_path.rglob("sweep.log"))]
    assert [log.count("written to") for log in logs] == [1, 1]
    assert [read_record(tmp_path / "runs/tiny" / split)["images"] for split in ("test", "train")] == [20, 20]
