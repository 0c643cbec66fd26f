import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# torchmetrics imports torchvision, scipy.signal, matplotlib and with them torch._dynamo, whatever is used of it
STATISTICS = {"pandas", "statsmodels"}  # for the report and for a figure at the end of a run
MODELS = {
    "open_clip",
    "timm",
}  # once there is a model to be built; torchmetrics imports transformers
OTHERS = {"captum", "sklearn", "skimage", "tensorflow"}  # test oracles, or never


def test_neither_models_nor_statistics_are_imported_before_they_are_used():
    program = """
import json, sys
from bench.cli import main

def note(words):
    try:
        main(words)
    except SystemExit:
        pass

import callbacks, datamodules, bench.clip.encoders, bench.clip.zero_shot
imported = {"packages": [*sys.modules]}
note(["test", "--help"])
imported["help"] = [*sys.modules]
note(["sweep", "--config", "configs/demo_sweep.yaml", "--dry-run"])
imported["dry run"] = [*sys.modules]
print(json.dumps(imported))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, cwd=ROOT)
    imported = {step: set(names) for step, names in json.loads(done.stdout.splitlines()[-1]).items()}
    assert "bench.sweep.grid" in imported["dry run"], done.stderr
    assert not imported["help"] & (STATISTICS | MODELS | OTHERS)
    assert not imported["dry run"] & (STATISTICS | OTHERS)
