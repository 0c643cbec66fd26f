"""What an attribution costs against captum's default and against bare gradients, at which error of the map.

    python -m benchmarks.attribution_speed IMAGES --encoder A.json --pretrained A.safetensors \
                                                  --encoder B.json --pretrained B.safetensors

IMAGES is as in `benchmarks.attribution`. The error and the number of gradients come from the trained encoders: relative
L1 distance of maps to 500 Gauss-Legendre points on the same model. The time per gradient comes from `--architecture`,
which have random weights: gradients of those cost the same, and take turns. Contestants are this project's Integrated
Gradients, captum's default (50 Gauss-Legendre points) on open_clip's model as it is and in memory as a process usually
has it, captum on the model and in memory as this project prepares them, and there a bare loop of forward and backward
passes, too.

The factor of an attribution is (captum's gradients x its time for one) / (ours x ours), with an encoder of the same
kind giving the numbers of gradients. A gradient that several paths share counts once. Needs captum, which the `tests`
extra brings.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from bench.attribution.adaptive import Adaptive
from bench.attribution.explainer import for_gradients
from bench.attribution.integrated_gradients import Attribution, Loss, cross_entropy, integrated_gradients
from bench.attribution.quadrature import GaussLegendre, Quadrature
from bench.clip.encoders import Encoder, load_encoder
from bench.clip.zero_shot import ZeroShotClassifier
from bench.paper import TEMPLATE
from benchmarks.allocation import stock_allocation
from benchmarks.attribution import captum, map_errors, paths, read_images
from benchmarks.checkpoints import ARCHITECTURES, random_checkpoint
from benchmarks.timing import collect, machine, ratios, spread
from datamodules.allocation import keep_freed_memory
from datamodules.views import Batch

_CAPTUM = "captum gausslegendre"
_STEPS = 50
RULES: list[Quadrature] = [
    Adaptive(),
    Adaptive(tolerance=0.04),
    Adaptive(tolerance=0.0125),
    Adaptive(smooth_tolerance=1e-5),
    GaussLegendre(16),
]
_NAME = 72


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--encoder", action="append", default=[], help="trained: model configuration; repeatable")
    parser.add_argument("--pretrained", action="append", default=[], help="its weights file, one per encoder")
    parser.add_argument("--architecture", nargs="*", default=list(ARCHITECTURES), help="to be timed")
    parser.add_argument("--n", type=int, default=16, help="images whose maps are judged, three JPEG qualities each")
    parser.add_argument("--every", type=int, default=1, help="take every so-manieth image of the data set")
    parser.add_argument("--timed", type=int, default=8, help="images whose gradients are timed, three qualities each")
    parser.add_argument("--max-batch", type=int, default=24)
    parser.add_argument("--repetitions", type=int, default=5)
    arguments = parser.parse_args()
    if len(arguments.encoder) != len(arguments.pretrained):
        parser.error("give one --pretrained for each --encoder")
    print(machine())
    batch, names = read_images(arguments.images, arguments.n, arguments.every)
    gradients: dict[bool, dict[str, float]] = {}
    for encoder, pretrained in zip(arguments.encoder, arguments.pretrained, strict=True):
        clip = load_encoder(encoder, pretrained)
        print(f"\n{clip.name}: {len(batch.labels)} images x {len(batch.views) - 1} views", flush=True)
        judged = judge(ZeroShotClassifier(clip, names, [TEMPLATE]), batch, RULES)
        gradients[_convolutional(clip)] = {name: one.gradients for name, one in judged.items()}
    batch, names = read_images(arguments.images, arguments.timed, arguments.every)
    for architecture in arguments.architecture:
        with TemporaryDirectory() as folder:
            clip = load_encoder(architecture, str(random_checkpoint(architecture, Path(folder))))
        print(f"\n{architecture}, random weights, batches of {arguments.max_batch}", flush=True)
        classifier = ZeroShotClassifier(clip, names, [TEMPLATE])
        seconds = time_gradients(classifier, batch, arguments.max_batch, arguments.repetitions)
        _print_times(seconds, gradients.get(_convolutional(clip), {}))


def _convolutional(encoder: Encoder) -> bool:
    return encoder.patch_period == 32 and not hasattr(encoder.model.visual, "patch_size")


@dataclass(frozen=True)
class Judged:
    """A contestant's maps: `errors` [B] relative to the converged ones, and gradients computed per path."""

    errors: Tensor
    gradients: float


class _Counted:
    """A loss that counts the images whose gradient is taken."""

    def __init__(self, loss: Loss) -> None:
        self.loss, self.images = loss, 0

    def __call__(self, pixels: Tensor, labels: Tensor) -> Tensor:
        self.images += len(pixels) if pixels.requires_grad else 0
        return self.loss(pixels, labels)


def judge(
    classifier: ZeroShotClassifier, batch: Batch, rules: list[Quadrature], reference: int = 500, max_batch: int = 48
) -> dict[str, Judged]:
    """Errors and gradients of each rule and of captum's default, printed as a table too."""
    prepared = for_gradients(classifier)
    baseline, target, labels = paths(prepared, batch)
    ours, theirs = cross_entropy(prepared.pixel_logits), cross_entropy(classifier.pixel_logits)

    def run(loss: Loss, rule: Quadrature) -> Attribution:
        return integrated_gradients(loss, baseline, target, labels, rule, max_batch)

    truth = run(ours, GaussLegendre(reference))
    contestants: dict[str, tuple[Loss, Callable[[Loss], Attribution]]] = {
        str(rule): (ours, partial(run, rule=rule)) for rule in rules
    }
    contestants[_CAPTUM] = (
        theirs,
        partial(captum, baseline=baseline, target=target, labels=labels, method="gausslegendre", max_batch=_STEPS),
    )
    print(f"{'rule':{_NAME}s} {'median %':>9s} {'p95 %':>9s} {'worst %':>9s} {'gradients':>9s}")
    judged = {}
    for name, (loss, attribute) in contestants.items():
        counted = _Counted(loss)
        errors = map_errors(attribute(counted), truth)
        judged[name] = Judged(errors, counted.images / len(labels))
        quantiles = " ".join(f"{100 * errors.quantile(q):9.5f}" for q in (0.5, 0.95, 1.0))
        print(f"{name:{_NAME}s} {quantiles} {judged[name].gradients:9.1f}", flush=True)
    return judged


def time_gradients(
    classifier: ZeroShotClassifier, batch: Batch, max_batch: int, repetitions: int
) -> dict[str, list[float]]:
    """Seconds per gradient of each contestant, turn by turn; captum takes one full batch, ours every pair."""
    prepared = for_gradients(classifier)
    baseline, target, labels = paths(prepared, batch)
    loss = cross_entropy(prepared.pixel_logits)
    as_it_is = cross_entropy(classifier.pixel_logits)
    rule = Adaptive(max_points=9)  # nine on every path, whatever the weights
    counted = _Counted(loss)
    integrated_gradients(counted, baseline, target, labels, rule, max_batch)
    bare = max(1, round(counted.images / max_batch))
    images = target[torch.arange(max_batch) % len(target)]
    classes = labels[torch.arange(max_batch) % len(target)]

    def step() -> None:
        pixels = images.clone().requires_grad_()
        torch.autograd.grad(loss(pixels, classes).sum(), pixels)

    def loop() -> None:
        for _ in range(bare):
            step()

    def theirs(of: Loss) -> Attribution:
        return captum(of, baseline[:1], target[:1], labels[:1], "gausslegendre", max_batch, max_batch)

    tower = classifier.model.visual
    assert isinstance(tower, torch.nn.Module)

    def on_open_clips_layout() -> Attribution:
        tower.to(memory_format=torch.contiguous_format)  # no time beside the gradients
        return theirs(as_it_is)

    def timed(run: Callable[[], object]) -> float:
        step()  # maps memory, or finds it kept
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    keep_freed_memory()
    seconds = collect(
        {
            "bare": partial(timed, loop),
            "ours": partial(timed, lambda: integrated_gradients(loss, baseline, target, labels, rule, max_batch)),
            _CAPTUM: partial(stock_allocation()(timed), on_open_clips_layout),
            f"{_CAPTUM}, our model": partial(timed, lambda: theirs(loss)),
        },
        repetitions,
        warmup=1,
    )
    spent = {"bare": bare * max_batch, "ours": counted.images}
    return {name: [s / spent.get(name, max_batch) for s in rounds] for name, rounds in seconds.items()}


def _print_times(seconds: dict[str, list[float]], gradients: dict[str, float]) -> None:
    for name, rounds in seconds.items():
        print(f"{name:{_NAME}s} {statistics.median(rounds):8.4f} s per gradient")
    print(f"{'gradients per second, ours / bare':{_NAME}s} {spread(ratios(seconds['bare'], seconds['ours']))}")
    for rule, count in gradients.items():
        for name in (_CAPTUM, f"{_CAPTUM}, our model"):
            if rule != _CAPTUM:
                factor = [one * _STEPS / count for one in ratios(seconds[name], seconds["ours"])]
                print(f"{f'attributions per second, {rule} / {name}':{_NAME + 40}s} {spread(factor)}")


if __name__ == "__main__":
    main()
