"""Two ranks against one process that tune alike, on two cores: `python -m benchmarks.fit_ranks [--images N]`.

Both fit the demo's encoder without labels (`configs/demo_finetune.yaml`). Each step is on the same images and random
views in both; gradients are summed in another order. A third fit, of one process with another seed, says how far fits
are apart in any case. Printed are precisions on held-out images, with the weights before and after, seconds from
command to end, and the greatest difference between the weights of two fits, as a share of the greatest step that a
weight took.
"""

import argparse
import tempfile
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from bench.runs.finetuning_record import FINETUNING, FineTuningRecord
from benchmarks.commands import QUIET, timed_run
from benchmarks.timing import machine

_CONFIG = "configs/demo_finetune.yaml"
_BEFORE = "configs/models/demo-rn.safetensors"
_IMAGES_PER_STEP = 128
_FITS = {"one process": (1, 0), "two ranks": (2, 0), "one process, another seed": (1, 1)}  # and the seed


def main() -> None:
    """Print what they learnt."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()
    print(f"{machine()}; {arguments.images} images, {arguments.epochs} epochs, {_IMAGES_PER_STEP} images per step")
    start = load_file(_BEFORE)
    with tempfile.TemporaryDirectory() as place:
        weights: dict[str, dict[str, Tensor]] = {}
        for name, (ranks, seed) in _FITS.items():
            folder = Path(place, name)
            command = ["fit", "--config", _CONFIG, *QUIET, "--trainer.accelerator", "cpu"]
            command += ["--seed_everything", str(seed), "--data.seed", str(seed)]
            command += ["--trainer.devices", str(ranks), "--trainer.max_epochs", str(arguments.epochs)]
            command += ["--data.limit", str(arguments.images), "--data.batch_size", str(_IMAGES_PER_STEP // ranks)]
            seconds, _ = timed_run([*command, "--trainer.logger.save_dir", str(folder)], threads=2 // ranks)
            (path,) = folder.rglob(FINETUNING)
            record = FineTuningRecord.read(path)
            if not weights:
                print(f"{'frozen':28s}{_precisions(record, 0.0)}")
            print(f"{name:28s}{_precisions(record, 1.0)}  {seconds:.0f} s")
            (whole,) = (export for export in record.exports if export.alpha == 1)
            weights[name] = load_file(path.with_name(whole.file))
    one, *others = weights
    step = max((weights[one][key] - start[key]).abs().max().item() for key in start)
    for other in others:
        apart = max((weights[one][key] - weights[other][key]).abs().max().item() for key in start)
        print(f"greatest difference between weights, {one} and {other}: {apart / step:.2f} of the greatest step")


def _precisions(record: FineTuningRecord, alpha: float) -> str:
    return "  ".join(f"{view} {found['precision']:.4f}" for view, found in record.interpolation[alpha].items())


if __name__ == "__main__":
    main()
