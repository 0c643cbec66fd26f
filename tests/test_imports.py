import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# torchmetrics imports torchvision, scipy.signal, matplotlib and with them torch._dynamo, whatever is used of it
STATISTICS = {"pandas", "statsmodels"}  # for the report and for a figure at the end of a run
MODELS = {
    "open_clip",
    "timm",
}  # once there is a model to be built; torchmetrics imports transformers
OTHERS = {"captum", "sklearn", "skimage", "tensorflow"}  # test oracles, or never


def _imported(program: str) -> set[str]:
    """Top-level modules of a process that has run a program, whatever status it exits with."""
    watched = f"import atexit, sys\natexit.register(lambda: print(*sys.modules, file=sys.stderr))\n{program}"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", watched], capture_output=True, text=True, cwd=ROOT)
    modules = set(done.stderr.splitlines()[-1].split())
    assert "bench.cli" in modules, done.stderr
    return modules


@pytest.mark.parametrize(
    "program",
    ["import bench.cli, callbacks, datamodules", "from bench.cli import main; main(['test', '--help'])"],
    ids=["packages", "help"],
)
def test_neither_models_nor_statistics_are_imported_before_they_are_used(program):
    assert not _imported(program) & (STATISTICS | MODELS | OTHERS)


def test_a_dry_run_imports_no_statistics():
    program = "from bench.cli import main; main(['sweep', '--config', 'configs/demo_sweep.yaml', '--dry-run'])"
    assert not _imported(program) & (STATISTICS | OTHERS)
