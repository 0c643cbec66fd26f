"""What test-time adaptation (TENT) gains under compression, and what it depends on.

    python -m benchmarks.adaptation --root FOLDER --encoder RN50 --pretrained openai [--every 5] [--batch-size 200]

An ordinary test, and `bench.TestTimeAdaptation` on the same images, of a folder of class folders:

    shuffled             in several orders
    classes              class by class, as the folder has them
    anew                 shuffled, each batch from the original weights
    statistics           shuffled, with the batch's statistics and nothing else (learning rate 0); with BatchNorm only
    statistics-classes   the same class by class
    gains                shuffled, gains and biases alone, with the encoder's own statistics; with BatchNorm only

Printed are precision by view, where there are several orders as mean and range, and the gain on each view minus that on
the originals, if they gain anything. The price is counted, not timed: floating-point operations per image of the image
tower, forward and for a step.
"""

import argparse
import logging
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch.utils.flop_counter import FlopCounterMode

import bench
from bench.adaptation.entropy import Stream, Tent, has_batch_norms
from bench.clip.towers import image_tower
from bench.evaluation import ZeroShotEvaluation
from bench.runs.table import align
from datamodules import ImageFolder
from datamodules.degradations import ORIGINAL

VIEWS = ("original", "jpeg-50", "jpeg-25", "jpeg-10")

Precisions = Mapping[str, Sequence[float]]
"""By view, of each order."""


def measured(module: ZeroShotEvaluation, data: ImageFolder) -> dict[str, float]:
    """Precision by view of a test."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            devices=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            default_root_dir=folder,
        )  # fmt: skip
        trainer.test(module, data, verbose=False)
    return {view: found.metrics["precision"] for view, found in module.measured.items()}


def arms(orders: int, *, batch_norms: bool) -> dict[str, list[dict[str, Any]]]:
    """Options of `bench.TestTimeAdaptation` by what is compared, of each order."""
    found: dict[str, list[dict[str, Any]]] = {
        "shuffled": [{"shuffle": seed} for seed in range(orders)],
        "classes": [{"shuffle": None}],
        "anew": [{"reset": "batch"}],
    }
    if batch_norms:
        found |= {
            "statistics": [{"learning_rate": 0.0, "shuffle": seed} for seed in range(orders)],
            "statistics-classes": [{"learning_rate": 0.0, "shuffle": None}],
            "gains": [{"statistics": "source", "shuffle": seed} for seed in range(orders)],
        }
    return found


def price(module: ZeroShotEvaluation, images: int = 2) -> tuple[float, float]:
    """Floating-point operations of the image tower per image: of a forward pass, and of that and a step."""
    encoder = module.encoder
    classifier = bench.ZeroShotClassifier(encoder, ["cat", "dog"])
    stream, inputs = Stream(classifier, Tent()), torch.rand(images, 3, encoder.image_size, encoder.image_size)
    with FlopCounterMode(display=False) as step:
        stream.embed(inputs)
    return encoder.flops(), step.get_total_flops() / images


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="folder of class folders")
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--pretrained")
    parser.add_argument("--views", nargs="+", default=list(VIEWS))
    parser.add_argument("--every", type=int, default=1, help="use every n-th image (default: 1)")
    parser.add_argument("--batch-size", type=int, default=200)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--orders", type=int, default=3, help="of the shuffled images (default: 3)")
    parser.add_argument("--arms", nargs="+", help="some of those above (default: all)")
    parser.add_argument("--workers", type=int, help="loader processes")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    views = [ORIGINAL, *(view for view in options.views if view != ORIGINAL)]
    model = {"encoder": options.encoder, "pretrained": options.pretrained, "fidelity": False}

    def tested(module: ZeroShotEvaluation) -> dict[str, float]:
        data = ImageFolder(
            options.root, degradations=views, every=options.every, batch_size=options.batch_size,
            num_workers=options.workers,
        )  # fmt: skip
        return measured(module, data)

    plain = bench.ZeroShotEvaluation(**model)
    forward, step = price(plain)
    print(f"{forward / 1e6:,.1f} MFLOPs per image of a forward pass, {step / forward:.2f} times that with a step")
    without = tested(plain)
    rows = [["precision", *views], ["without", *(f"{without[view]:.4f}" for view in views)]]
    gains = [["gain beyond that on the originals (points)", *views[1:]]]
    batch_norms = has_batch_norms(image_tower(plain.encoder.model))
    every = arms(options.orders, batch_norms=batch_norms)
    if unknown := set(options.arms or ()) - set(every):
        parser.error(f"{min(unknown)} is none of {', '.join(every)}")
    for name in options.arms or every:
        found = [
            tested(bench.TestTimeAdaptation(**model, **{"learning_rate": options.learning_rate, **arm}))
            for arm in every[name]
        ]
        after = {view: [one[view] for one in found] for view in views}
        rows.append([name, *(_shown(after[view]) for view in views)])
        gained = {view: 100 * (mean(after[view]) - without[view]) for view in views}
        gains.append([name, *(f"{gained[view] - max(gained[ORIGINAL], 0):+.2f}" for view in views[1:])])
        print(f"{name}: {len(found)} done", flush=True)
    print(align(rows), align(gains), sep="\n\n")


def _shown(values: Sequence[float]) -> str:
    """Mean and range.

    >>> _shown([0.5]), _shown([0.5, 0.6])
    ('0.5000', '0.5500 (0.5000 to 0.6000)')
    """
    spread = f" ({min(values):.4f} to {max(values):.4f})" if len(values) > 1 else ""
    return f"{mean(values):.4f}{spread}"


if __name__ == "__main__":
    main()
