"""What each quadrature rule costs and how far its attribution map is from the converged one, on real images.

    python -m benchmarks.attribution IMAGES --encoder A.json --pretrained A.safetensors \
                                            --encoder B.json --pretrained B.safetensors

IMAGES is an image folder (a subfolder per class) or the folder that holds torchvision's `cifar-10-batches-py`. Errors
are relative L1 distances of maps to a trapezoid of `--reference` steps; residuals are |sum of the map - loss
difference|. For the adaptive rule also, view by view, how large errors and estimates are, and the worst paths;
`--adaptive-only` leaves the other rules out. Wall times are of this process on this machine. Needs captum, which the
`tests` extra brings.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.attribution.adaptive import Adaptive
from bench.attribution.integrated_gradients import Attribution, Loss, cross_entropy, integrated_gradients
from bench.attribution.quadrature import GaussLegendre, Quadrature, RightRiemann, Trapezoid
from bench.clip.encoders import load_encoder
from bench.clip.zero_shot import ZeroShotClassifier
from bench.paper import TEMPLATE
from datamodules import CIFAR10, ImageFolder
from datamodules.base import DegradedDataModule
from datamodules.degradations import DEFAULT_DEGRADATIONS, ORIGINAL
from datamodules.views import Batch, Images

_VIEWS = ["jpeg-75", "jpeg-50", "jpeg-25", "jpeg-10", "resize-0.5+jpeg-50", "resize-0.5+jpeg-10"]
_RULES: list[Quadrature] = [
    RightRiemann(50),
    *(Trapezoid(n) for n in (10, 20, 50)),
    *(GaussLegendre(n) for n in (8, 16, 32)),
    Adaptive(),
]
_BUDGET = 17
_WORST = 5
_NAME = 76
_COLUMNS = f"{'median %':>10s} {'p95 %':>10s} {'worst %':>10s} {'residual':>9s} {'gradients':>9s} {'s/image':>8s}"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--encoder", action="append", required=True, help="name or model configuration; repeatable")
    parser.add_argument("--pretrained", action="append", required=True, help="tag or weights file, one per encoder")
    parser.add_argument("--n", type=int, default=64, help="source images; each counts once per view")
    parser.add_argument("--views", nargs="+", default=_VIEWS, help="degraded views")
    parser.add_argument("--adaptive-only", action="store_true", help="leave the other rules out")
    parser.add_argument("--every", type=int, default=1, help="take every so-manieth image of the data set")
    parser.add_argument("--reference", type=int, default=512, help="steps of the converged trapezoid")
    parser.add_argument("--max-batch", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    if len(arguments.encoder) != len(arguments.pretrained):
        parser.error("give one --pretrained for each --encoder")
    batch, class_names = read_images(arguments.images, arguments.n, arguments.every, arguments.views)
    for encoder, pretrained in zip(arguments.encoder, arguments.pretrained, strict=True):
        clip = load_encoder(encoder, pretrained)
        classifier = ZeroShotClassifier(clip, class_names, [TEMPLATE]).to(arguments.device)
        print(f"\n{clip.name}: {len(batch.labels)} images x {len(arguments.views)} views", flush=True)
        rules = _RULES[-1:] if arguments.adaptive_only else _RULES
        _compare(classifier, batch, rules, arguments.reference, arguments.max_batch)


def read_images(
    root: Path, n: int, every: int, views: Sequence[str] = DEFAULT_DEGRADATIONS
) -> tuple[Batch, tuple[str, ...]]:
    """The first `n` of every `every`-th image with its views, in one batch, and the class names."""
    options: dict[str, Any] = {
        "degradations": list(views),
        "batch_size": n,
        "limit": n,
        "every": every,
        "num_workers": 0,
    }
    data: DegradedDataModule
    if (root / "cifar-10-batches-py").is_dir():
        data = CIFAR10(root, verify_checksums=False, **options)
    else:
        data = ImageFolder(root, **options)
    data.setup("test")
    return next(iter(data.test_dataloader())), data.class_names


def _compare(
    classifier: ZeroShotClassifier, batch: Batch, rules: Sequence[Quadrature], steps: int, max_batch: int
) -> None:
    baseline, target, labels = paths(classifier, batch)
    loss = cross_entropy(classifier.pixel_logits)

    def run(rule: Quadrature) -> Attribution:
        return integrated_gradients(loss, baseline, target, labels, rule, max_batch)

    reference = run(Trapezoid(steps))
    print(f"reference: trapezoid {steps}, median residual {reference.residual.median():.6f}")
    print(f"{'rule':{_NAME}s} {_COLUMNS}", flush=True)
    contenders: dict[str, Callable[[], Attribution]] = {str(rule): partial(run, rule) for rule in rules}
    for method in ("gausslegendre", "riemann_trapezoid") if len(rules) > 1 else ():
        contenders[f"captum {method} 50"] = partial(captum, loss, baseline, target, labels, method, max_batch)
    results = {}
    for name, attribute in contenders.items():
        start = time.perf_counter()
        results[name] = attribute()
        _print_row(name, results[name], reference, time.perf_counter() - start)
    adaptive = results[str(Adaptive())]
    _judge_estimate("adaptive, where it stopped", adaptive, reference)
    _print_views([view for view in batch.views if view != ORIGINAL], batch.indices.tolist(), adaptive, reference)
    budget = Adaptive(tolerance=1e-9, smooth_tolerance=1e-9, max_points=_BUDGET)
    _judge_estimate(f"adaptive, every path cut at {_BUDGET} points", run(budget), reference)


def paths(classifier: ZeroShotClassifier, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Baselines, targets and labels: from each original to each of its JPEGs, on the device of the classifier."""
    device = classifier.text.device
    views = {name: classifier.pixels(_on(images, device)) for name, images in batch.views.items()}
    original = views.pop(ORIGINAL)
    several = len(views)
    return original.repeat(several, 1, 1, 1), torch.cat(list(views.values())), batch.labels.repeat(several).to(device)


def _on(images: Images, device: torch.device) -> Images:
    return images.to(device) if isinstance(images, Tensor) else [image.to(device) for image in images]


def captum(
    loss: Loss, baseline: Tensor, target: Tensor, labels: Tensor, method: str, max_batch: int, steps: int = 50
) -> Attribution:
    """Captum's Integrated Gradients, pair by pair, of the same loss."""
    from captum.attr import IntegratedGradients

    maps = [
        IntegratedGradients(loss).attribute(
            target[i : i + 1],
            baseline[i : i + 1],
            additional_forward_args=labels[i : i + 1],
            n_steps=steps,
            method=method,
            internal_batch_size=max_batch,
        )
        for i in range(len(labels))
    ]
    attribution = torch.cat(maps).detach().to(baseline.dtype)
    with torch.no_grad():
        pieces = [slice(first, first + max_batch) for first in range(0, len(labels), max_batch)]
        difference = torch.cat([loss(target[p], labels[p]) - loss(baseline[p], labels[p]) for p in pieces])
    total = attribution.flatten(1).sum(1)
    return Attribution(
        attribution=attribution,
        gradient=torch.full_like(attribution, float("nan")),
        total=total,
        loss_difference=difference,
        residual=(total - difference).abs(),
        evaluations=torch.full_like(labels, steps),
        error_estimate=torch.full_like(total, float("nan")),
        converged=torch.ones_like(labels, dtype=torch.bool),
    )


def map_errors(result: Attribution, reference: Attribution) -> Tensor:
    """Relative L1 distance per pair, float64 on the CPU; pairs whose views agree are left out."""
    norm = reference.attribution.flatten(1).abs().sum(1)
    distance = (result.attribution - reference.attribution).flatten(1).abs().sum(1)
    return (distance / norm)[norm > 0].double().cpu()


def _print_row(name: str, result: Attribution, reference: Attribution, seconds: float) -> None:
    errors = map_errors(result, reference)
    quantiles = " ".join(f"{100 * errors.quantile(q):10.4f}" for q in (0.5, 0.95, 1.0))
    spent, residual = result.evaluations.double().mean(), result.residual.median()
    print(f"{name:{_NAME}s} {quantiles} {residual:9.5f} {spent:9.1f} {seconds / len(errors):8.3f}", flush=True)


def _print_views(views: Sequence[str], indices: Sequence[int], result: Attribution, reference: Attribution) -> None:
    """Errors and estimates of each view, and of the worst paths."""
    norm = reference.attribution.flatten(1).abs().sum(1)
    distance = (result.attribution - reference.attribution).flatten(1).abs().sum(1)
    errors = torch.where(norm > 0, distance / norm, 0.0).cpu()
    estimates, spent = result.error_estimate.cpu(), result.evaluations.cpu()
    print(
        f"{'adaptive, by view':24s} {'median':>9s} {'p95':>9s} {'worst':>9s} {'estimate holds':>15s} {'gradients':>10s}"
    )
    for number, view in enumerate(views):
        own = slice(number * len(indices), (number + 1) * len(indices))
        quantiles = " ".join(f"{errors[own].quantile(q):9.1e}" for q in (0.5, 0.95, 1.0))
        holds = (errors[own] <= estimates[own]).double().mean()
        print(f"{view:24s} {quantiles} {holds:15.0%} {spent[own].double().mean():10.1f}")
    for row in errors.argsort(descending=True)[:_WORST].tolist():
        view, index = views[row // len(indices)], indices[row % len(indices)]
        print(f"image {index}, {view}: error {errors[row]:.1e}, estimate {estimates[row]:.1e}, {spent[row]} gradients")


def _judge_estimate(name: str, result: Attribution, reference: Attribution) -> None:
    moved = reference.attribution.flatten(1).abs().sum(1) > 0
    errors, estimates = map_errors(result, reference), result.error_estimate[moved].cpu()
    ratios = errors / estimates
    ranks = torch.stack([x.argsort().argsort().double() for x in (errors, estimates)])
    print(
        f"estimate, {name}: rank correlation with the true error {torch.corrcoef(ranks)[0, 1]:.2f}, "
        f"true <= estimate {(ratios <= 1).double().mean():.0%}, <= 2x {(ratios <= 2).double().mean():.0%}, "
        f"median true / estimate {ratios.median():.2f}, most gradients {result.evaluations.max()}, "
        f"converged {result.converged.double().mean():.0%}",
        flush=True,
    )


if __name__ == "__main__":
    main()
