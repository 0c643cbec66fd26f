"""Is the map right? The loss while images are repaired in the order of each map, and maps of randomised models.

    python -m benchmarks.faithfulness --encoder A.json --pretrained A.safetensors --root DATA --view jpeg-25

DATA is an image folder (a subfolder per class) or the folder that holds torchvision's `cifar-10-batches-py`; without it
the demo's textures are taken. docs/faithfulness.md has the definitions and the figures. Intervals are 95%, by bootstrap
over images, differences paired. Seconds per map are processor seconds.

With `--keep FOLDER` what was measured is kept, map by map and batch by batch: the same command goes on where it was
stopped, and `--minutes` stops it in time.
"""

import argparse
import re
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from bench.attribution.explainer import for_gradients
from bench.attribution.faithfulness.curves import Repair, area, follow, step_counts
from bench.attribution.faithfulness.maps import (
    METHODS,
    OF_BLOCKS_ONLY,
    Method,
    Pairs,
    Valued,
    important_direction,
    integrated,
    random_order,
)
from bench.attribution.faithfulness.randomisation import cascade, rank_correlation, structural_similarity
from bench.attribution.faithfulness.repair import Blocks, Frequencies, Pixels, Units
from bench.attribution.quadrature import Trapezoid
from bench.clip.encoders import load_encoder
from bench.clip.zero_shot import ZeroShotClassifier
from bench.paper import TEMPLATE
from bench.statistics.bootstrap import Floats
from benchmarks.attribution import read_images
from benchmarks.faithfulness_tables import BLEND, RANDOM, Measured, mean_curves, randomisation_tables, repair_tables
from benchmarks.timing import machine
from datamodules import Synthetic
from datamodules.allocation import keep_freed_memory
from datamodules.degradations import ORIGINAL
from datamodules.views import Batch, Images

T = TypeVar("T")

KINDS: dict[str, type[Units]] = {"blocks": Blocks, "frequencies": Frequencies}
_BLOCKS_ONLY = {*OF_BLOCKS_ONLY, "single repairs"}  # a forward pass for each of 192 frequencies is too dear
_DRAWS = 3
RANDOMISED: dict[str, Method] = {name: method for name, method in METHODS.items() if name != "single repairs"} | {
    "IG": partial(integrated, rule=Trapezoid(8)),
    "IDGI": partial(important_direction, steps=8),
}
"""Maps as they are compared with those of randomised models, path integrals with fewer points: hundreds are taken."""

_DEMO = ("configs/models/demo-vit.json", "configs/models/demo-vit.safetensors")


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default=_DEMO[0], help="name or model configuration (default: the demo's ViT)")
    parser.add_argument("--pretrained", default=_DEMO[1], help="tag or weights file")
    parser.add_argument("--root", type=Path, help="images of one size (default: the demo's)")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--every", type=int, default=1, help="take every so-manieth image of the data set")
    parser.add_argument("--view", default="jpeg-25")
    parser.add_argument("--steps", type=int, default=8, help="in which the original is put back, at most")
    parser.add_argument("--maps", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument(
        "--randomised", type=int, default=32, help="images whose maps of randomised models are compared"
    )
    parser.add_argument("--at-once", type=int, default=32, help="images per batch")
    parser.add_argument("--max-batch", type=int, default=64, help="images per forward pass")
    parser.add_argument("--keep", type=Path, help="folder for what was measured")
    parser.add_argument("--minutes", type=float, default=np.inf, help="begin nothing after them")
    parser.add_argument("--picture", type=Path, help="file for a picture of the curves, such as curves.png")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    clip = load_encoder(options.encoder, options.pretrained)
    batch, names = _read(options.root, options.images, options.every, options.view)
    classifier = for_gradients(ZeroShotClassifier(clip, names, [TEMPLATE]))
    pairs = partial(_pairs, classifier, batch, options.view, options.max_batch)
    print(f"{machine()}\n{clip.name}, {options.view}, {len(batch)} images", flush=True)
    store = _Store(options.keep, f"{clip.name} {options.view} {options.steps}", time.monotonic() + 60 * options.minutes)
    slices = _slices(len(batch), options.at_once)
    curves = store.complete(
        "repair", slices, [BLEND, RANDOM, *options.maps], lambda some, name: measure(pairs(some), name, options.steps)
    )
    if curves is None:
        return
    for text in repair_tables(curves):
        print(f"\n{text}", flush=True)
    if options.picture:
        from bench.figures.repair import repair_curves

        repair_curves(mean_curves(curves)).savefig(options.picture)
    if not options.randomised:
        return
    slices = _slices(min(options.randomised, len(batch)), options.at_once)
    maps = [name for name in options.maps if name in RANDOMISED]
    similar = store.complete("randomisation", slices, maps, lambda some, name: randomise(pairs(some), name))
    for text in randomisation_tables(similar or {}):
        print(f"\n{text}")


def _read(root: Path | None, images: int, every: int, view: str) -> tuple[Batch, tuple[str, ...]]:
    if root is not None:
        return read_images(root, images, every, [view])
    data = Synthetic(degradations=[view], batch_size=images, limit=images, every=every, num_workers=0)
    data.setup("test")
    return next(iter(data.test_dataloader())), data.class_names


def _pairs(classifier: ZeroShotClassifier, batch: Batch, view: str, max_batch: int, some: slice) -> Pairs:
    original, degraded = (_stacked(batch.views[name][some]) for name in (ORIGINAL, view))
    return Pairs(classifier, original, degraded, batch.labels[some], max_batch)


def _stacked(images: Images) -> Tensor:
    return images if isinstance(images, Tensor) else torch.stack(images)


def _slices(images: int, at_once: int) -> list[slice]:
    return [slice(first, min(first + at_once, images)) for first in range(0, images, at_once)]


class _Store:
    """What was measured, in a file per map and batch, if there is a folder."""

    def __init__(self, folder: Path | None, run: str, stop: float) -> None:
        self.folder, self.run, self.stop = folder, run, stop

    def complete(
        self, part: str, slices: Sequence[slice], names: Sequence[str], work: Callable[[slice, str], Measured]
    ) -> dict[str, Measured] | None:
        """By map, all images in the order of the slices; None where the time is up before."""
        rows: dict[str, list[Measured]] = {name: [] for name in names}
        for some, name in product(slices, names):
            task = f"{self.run} {part} {name} {some.start}-{some.stop}"
            print(f"\r{task:60s}", end="", file=sys.stderr, flush=True)
            done = self._kept(task, partial(work, some, name))
            if done is None:
                print("\nthe time is up; the same command goes on here", flush=True)
                return None
            rows[name].append(done)
        print(file=sys.stderr)
        return {
            name: {key: np.concatenate([row[key] for row in parts]) for key in parts[0]} for name, parts in rows.items()
        }

    def _kept(self, task: str, work: Callable[[], Measured]) -> Measured | None:
        """What a task found, now or before; None where it is too late to begin."""
        path = None if self.folder is None else self.folder / f"{re.sub('[^A-Za-z0-9_.-]+', '_', task)}.npz"
        if path is not None and path.exists():
            with np.load(path) as kept:
                return dict(kept)
        if time.monotonic() > self.stop:
            return None
        found = work()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            partly = path.with_suffix(".part.npz")
            np.savez(partly, allow_pickle=False, **found)
            partly.replace(path)
        return found


def measure(pairs: Pairs, name: str, steps: int = 8) -> Measured:
    """What repair in the order of a map does to the loss, by name of the quantity.

    Args:
        pairs: Images.
        name: Of the map; `RANDOM`, the mean of several draws; or `BLEND`: nothing is put back, but both images are
            mixed, ever more of the original.
        steps: In which the original is put back.

    Returns:
        In nats, by kind of units: `<kind>/most` and `<kind>/least`, the curves, [B, K]; `<kind>/score`, [B];
        `<kind>/above`, the mean of the curves above the straight line between their ends, [B], all that `BLEND` has.
        And `<kind>/seconds`, [B].
    """
    found: Measured = {}
    kinds = {kind: make(pairs.original, pairs.degraded) for kind, make in KINDS.items()}
    counts = {kind: step_counts(units.count, steps) for kind, units in kinds.items()}
    if name == BLEND:
        return {f"{kind}/above": _above(_blended(pairs, counts[kind]), counts[kind]) for kind in kinds}
    draws = [partial(random_order, draw=draw) for draw in range(_DRAWS)] if name == RANDOM else [METHODS[name]]
    valued, seconds = _timed(lambda: [draw(pairs) for draw in draws])
    for kind, units in kinds.items():
        if kind == "frequencies" and name in _BLOCKS_ONLY:
            continue
        rankings, more = _timed(partial(_valued, valued, units))
        repairs = [follow(partial(pairs.losses_repaired, units), one, counts[kind]) for one in rankings]
        most = torch.stack([one.most_first for one in repairs]).mean(0)
        least = torch.stack([one.least_first for one in repairs]).mean(0)
        mean = Repair(counts[kind], most, least)
        found |= {f"{kind}/most": most.numpy(), f"{kind}/least": least.numpy(), f"{kind}/score": mean.score.numpy()}
        found[f"{kind}/above"] = _above((most + least) / 2, counts[kind])
        found[f"{kind}/seconds"] = np.full(len(pairs), (seconds + more) / len(draws) / len(pairs))
    return found


def _valued(maps: Sequence[Valued], units: Units) -> list[Tensor]:
    return [values(units) for values in maps]


def _timed(work: Callable[[], list[T]]) -> tuple[list[T], float]:
    start = time.process_time()
    done = work()
    return done, time.process_time() - start


def _above(curves: Tensor, counts: Sequence[int]) -> Floats:
    return np.asarray((area(curves, counts) - (curves[:, 0] + curves[:, -1]) / 2).numpy())


def _blended(pairs: Pairs, counts: Sequence[int]) -> Tensor:
    """Losses, float64 [B, K], of images that are as far from the degraded ones to the originals as counts say."""
    every = torch.arange(len(pairs), device=pairs.labels.device)
    losses = []
    for count in counts:
        mixed = torch.lerp(pairs.degraded.float(), pairs.original.float(), count / counts[-1])
        losses.append(pairs.losses(every, mixed.round().to(torch.uint8)))
    return torch.stack(losses, 1).double().cpu()


def randomise(pairs: Pairs, name: str) -> Measured:
    """How much maps resemble those of classifiers that are randomised from the top down.

    Args:
        pairs: Images.
        name: Of `RANDOMISED`.

    Returns:
        `<stage>/rank`, `<stage>/strength` and `<stage>/ssim`, [B] each: rank correlation of the maps' pixels, of their
        absolute values, and structural similarity.
    """
    found: Measured = {}
    units, height = Pixels(pairs.original, pairs.degraded), pairs.original.shape[2]
    intact = RANDOMISED[name](pairs)(units)
    for stage, classifier in cascade(pairs.classifier):
        blind = Pairs(classifier, pairs.original, pairs.degraded, pairs.labels, pairs.max_batch)
        values = RANDOMISED[name](blind)(units)
        similar = structural_similarity(*(maps.view(len(maps), height, -1) for maps in (intact, values)))
        found[f"{stage}/rank"] = rank_correlation(intact, values).numpy()
        found[f"{stage}/strength"] = rank_correlation(intact.abs(), values.abs()).numpy()
        found[f"{stage}/ssim"] = similar.double().cpu().numpy()
    return found


if __name__ == "__main__":
    main()
