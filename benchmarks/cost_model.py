"""How well a reckoning predicts the time of `lightning test`: `python -m benchmarks.cost_model`.

For each of three runs that differ in encoder, images and views: time the parts (FLOP/s of the encoder with what
surrounds it, seconds to make a view, and a run of one batch for start-up and report), put them into
`bench.sweep.costs.Machine`, and time the command. Prints the ratio of predicted to measured time, then what the same
reckoning says for the paper's 36 runs on one and on eight GPUs and for a million
images, with the assumptions it makes about GPUs.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from bench.clip.allocation import keep_freed_memory
from bench.clip.encoders import load_encoder
from bench.clip.zero_shot import ZeroShotClassifier
from bench.fidelity import fidelity
from bench.metrics import ViewMetrics
from bench.outcomes import Outcomes
from bench.paper import TEMPLATE, VIEWS
from bench.sweep.costs import Machine, cell_cost, encoder_cost
from bench.sweep.grid import read_sweep
from benchmarks.checkpoints import random_checkpoint
from benchmarks.commands import QUIET, timed_run
from benchmarks.timing import machine
from datamodules import Synthetic
from datamodules.cores import usable_cores
from datamodules.degradations import ORIGINAL, parse_all
from datamodules.views import DegradedViews

_SAMPLE = 32
_DEMO = ("configs/models/demo-rn.json", "configs/models/demo-rn.safetensors")


@dataclass(frozen=True)
class Run:
    """A command to predict."""

    encoder: str
    pretrained: str
    images: int
    size: Literal[32, 96]
    views: tuple[str, ...]

    def arguments(self, images: int, folder: Path) -> list[str]:
        """Those of `lightning test`."""
        command = ["test", "--config", "configs/demo.yaml", *QUIET, "--trainer.accelerator", "cpu"]
        command += ["--model.encoder", self.encoder, "--model.pretrained", self.pretrained, "--model.compile", "false"]
        command += ["--data.size", str(self.size), "--data.degradations", str(list(self.views))]
        command += ["--data.batch_size", str(_SAMPLE)]
        return [*command, "--data.limit", str(images), "--trainer.logger.save_dir", str(folder)]

    def parts(self) -> tuple[float, float, float]:
        """FLOPs of a view, seconds to classify and measure a view, and seconds to make one on one core."""
        data = Synthetic(size=self.size, degradations=self.views, batch_size=_SAMPLE)
        data.setup("test")
        views = DegradedViews(data._sources["test"], parse_all(list(self.views)), range(_SAMPLE))
        start = time.perf_counter()
        batch = views.collate([views[position] for position in range(_SAMPLE)])
        making = (time.perf_counter() - start) / (_SAMPLE * len(views.names))
        encoder = load_encoder(self.encoder, self.pretrained)
        classifier = ZeroShotClassifier(encoder, data.class_names, [TEMPLATE])

        original = batch.views[ORIGINAL]
        metrics = {
            view: ViewMetrics(len(data.class_names), labelled=True, paired=view != ORIGINAL) for view in views.names
        }

        def classify() -> None:
            rows = {}
            for view, images in batch.views.items():
                outcome = Outcomes.from_logits(
                    classifier(images), batch.labels, batch.indices, batch.encoded_bytes[view]
                )
                rows[view] = outcome if view == ORIGINAL else replace(outcome, **fidelity(original, images)._asdict())
                metrics[view].update(rows[view], rows[ORIGINAL])

        with torch.inference_mode():
            classify()
            start = time.perf_counter()
            classify()
        seconds = (time.perf_counter() - start) / (_SAMPLE * len(views.names))
        return encoder.flops(), seconds, making


def predict(run: Run, folder: Path) -> tuple[float, float]:
    """Predicted and measured seconds of a command."""
    first_batch, _ = timed_run(run.arguments(_SAMPLE, folder / "first"))
    flops, seconds, making = run.parts()
    views = len(parse_all(list(run.views)))
    model = Machine(flops=flops / seconds, view_seconds=making, cores=usable_cores(), startup=first_batch, shared=True)
    others = (run.images - _SAMPLE) * views
    predicted = model.seconds(flops * others, others)
    measured, _ = timed_run(run.arguments(run.images, folder / "all"))
    return predicted, measured


def main() -> None:
    """Print predictions beside measurements, and what follows."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(machine())
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as place:
        vit, resnet = (str(random_checkpoint(name, Path(place))) for name in ("ViT-B/32", "RN50"))
        runs = [
            Run(*_DEMO, 2000, 32, VIEWS),
            Run("ViT-B/32", vit, 192, 32, VIEWS),
            Run("RN50", resnet, 96, 96, ("original", "jpeg-50", "webp-50", "avif-50", "jp2-psnr-30")),
        ]
        for number, run in enumerate(runs):
            predicted, measured = predict(run, Path(place, str(number)))
            name = run.encoder.removeprefix("configs/models/")
            what = f"{name}, {run.images} images of {run.size} px x {len(run.views)} views"
            print(f"{what:52s} predicted {predicted:6.1f} s, measured {measured:6.1f} s: {predicted / measured:.2f}")
    _outlook()


def _outlook() -> None:
    cells = [cell_cost(cell) for cell in read_sweep(Path("configs/paper.yaml"), None, {})]
    print(
        "\nReckoned, not measured: GPUs that sustain 10 TFLOP/s in float32, 0.3 ms per view and core, 20 s of start-up"
    )
    for devices in (1, 8):
        gpus = Machine(flops=10e12, devices=devices, cores=8 * devices)
        seconds = sum(gpus.seconds(float(cost.flops or 0), (cost.images or 0) * cost.views) for cost in cells)
        print(f"configs/paper.yaml, 36 runs, {devices} GPU{'s' * (devices > 1)}: {seconds / 3600:.1f} hours")
    for encoder in ("ViT-B/32", "ViT-L/14@336px"):
        cost: Any = encoder_cost(encoder, "openai")
        for devices in (1, 8):
            gpus = Machine(flops=10e12, devices=devices, cores=8 * devices)
            hours = gpus.seconds(4e6 * cost.flops, 4_000_000) / 3600
            print(f"a million thumbnails x 4 views, {encoder}, {devices} GPU{'s' * (devices > 1)}: {hours:.2f} hours")


if __name__ == "__main__":
    main()
