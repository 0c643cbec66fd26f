"""How well does the audit tell images with a lossy past from others? On images whose past was made, and is known.

    python -m benchmarks.audit CIFAR.png --quick     # a sprite, a row per RGB image of 32 x 32 pixels; minutes
    python -m benchmarks.audit CIFAR.png --lossless  # false positives and speed, and nothing else
    python -m benchmarks.audit CIFAR.png --bias      # what is seen of a view, for docs/findings.md's sources

Sources: CIFAR-10 at 32 pixels; this project's rendered textures, and dead leaves (Lee, Mumford and Huang 2001), which
have the statistics of photographs, at every size; photographs of scikit-image and scikit-learn, shrunk by four so that
their own past is gone, at 96 pixels. Each is left as it is, or saved, decoded, and looked at as an array.

Prints per kind of source and past: images, share of each verdict, area under the ROC curve of "was JPEG" against the
untouched ones of the same kind, mean absolute error of the quality, share with the right grid. Then the false positives
on all untouched images, the calibration of the probability, and the speed. Needs scikit-learn and scikit-image.
"""

import argparse
import io
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.datasets import load_sample_images
from sklearn.metrics import roc_auc_score

from bench.audit.bias import seen_share
from bench.audit.history import History, Verdict, histories
from bench.runs.table import align
from datamodules.synthetic import Synthetic

Bytes = npt.NDArray[np.uint8]
Past = Callable[[Bytes], Bytes]

_VERDICTS: tuple[Verdict, ...] = ("jpeg", "lossy", "no trace", "unknown")


def save(rgb: Bytes, **options: Any) -> Bytes:
    """An image as it comes back from a file."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, **options)
    return np.asarray(Image.open(buffer).convert("RGB"))


def jpeg(quality: int, subsampling: str = "4:2:0") -> Past:
    """A save."""
    return lambda rgb: save(rgb, format="JPEG", quality=quality, subsampling=subsampling)


def shifted(rgb: Bytes) -> Bytes:
    """Saved at quality 85 and cropped by three rows and five columns."""
    return jpeg(85)(rgb)[3:, 5:]


def twice(rgb: Bytes) -> Bytes:
    """Saved at quality 60, then at 90."""
    return jpeg(90)(jpeg(60)(rgb))


def resized(factor: float) -> Past:
    """Saved at quality 75, then resized."""

    def past(rgb: Bytes) -> Bytes:
        image = Image.fromarray(jpeg(75)(rgb))
        size = (round(image.width * factor), round(image.height * factor))
        return np.asarray(image.resize(size, Image.Resampling.BICUBIC))

    return past


PASTS: dict[str, tuple[Past, int | None]] = {
    **{
        f"jpeg-{quality}{'-444' if sampling == '4:4:4' else ''}": (jpeg(quality, sampling), quality)
        for sampling, quality in product(("4:2:0", "4:4:4"), (30, 50, 75, 90, 95, 98))
    },
    "jpeg-85, cropped by 3, 5": (shifted, 85),
    "jpeg-60, then jpeg-90": (twice, 90),
    "jpeg-75, resized by 0.7": (resized(0.7), None),
    "jpeg-75, resized by 1.5": (resized(1.5), None),
    "webp-50": (lambda rgb: save(rgb, format="WEBP", quality=50), None),
    "webp-90": (lambda rgb: save(rgb, format="WEBP", quality=90), None),
    "avif-50": (lambda rgb: save(rgb, format="AVIF", quality=50), None),
    "avif-85": (lambda rgb: save(rgb, format="AVIF", quality=85), None),
}


def textures(size: int, count: int) -> list[Bytes]:
    """This project's own."""
    data = Synthetic(size=32 if size == 32 else 96, limit=count, num_workers=0)
    data.setup("test")
    return [np.asarray(data.chosen.load(index)) for index in data.positions]


def dead_leaves(width: int, height: int, count: int, seed: int = 0) -> Iterator[Bytes]:
    """Discs of random size and colour that hide each other, with grain, drawn at twice the size and averaged."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: 2 * height, : 2 * width].astype(np.float32)
    for _ in range(count):
        canvas = np.broadcast_to(rng.uniform(0.1, 0.9, 3), (2 * height, 2 * width, 3)).astype(np.float32).copy()
        for radius in 1 / rng.uniform(1 / 200, 1 / 6, 250) if width > 100 else 1 / rng.uniform(1 / 40, 1 / 4, 60):
            cy, cx = rng.uniform(-radius, 2 * height + radius), rng.uniform(-radius, 2 * width + radius)
            top, left = max(0, int(cy - radius)), max(0, int(cx - radius))
            part = np.s_[top : int(cy + radius) + 1, left : int(cx + radius) + 1]
            inside = (y[part] - cy) ** 2 + (x[part] - cx) ** 2 < radius**2
            slope = 1 + 0.3 * (x[part] - cx) / radius
            canvas[part][inside] = (rng.uniform(0.1, 0.8, 3) * slope[..., None])[inside]
        canvas = canvas.reshape(height, 2, width, 2, 3).mean((1, 3)) + rng.normal(0, 0.01, (height, width, 3))
        yield np.asarray((canvas.clip(0, 1) * 255).round(), np.uint8)


def photographs(size: int, count: int) -> list[Bytes]:
    """Crops of scikit-image's and scikit-learn's photographs, shrunk by four."""
    from skimage import data

    names = ("astronaut", "coffee", "rocket", "retina", "hubble_deep_field", "chelsea")
    whole = [np.asarray(getattr(data, name)()) for name in names] + [
        np.asarray(one) for one in load_sample_images().images
    ]
    rng, found = np.random.default_rng(0), []
    fitting = [one for one in whole if min(one.shape[:2]) >= 4 * size]
    for n in range(count if fitting else 0):
        one = fitting[n % len(fitting)]
        y, x = (int(rng.integers(0, side - 4 * size + 1)) for side in one.shape[:2])
        crop = Image.fromarray(np.ascontiguousarray(one[y : y + 4 * size, x : x + 4 * size]))
        found.append(np.asarray(crop.resize((size, size), Image.Resampling.LANCZOS)))
    return found


def row(name: str, past: str, found: Sequence[History], untouched: Sequence[History], quality: int | None) -> list[str]:
    """What was found of images with one past."""
    shares = Counter(one.verdict for one in found)
    scores = [one.probability for one in (*untouched, *found)]
    area = roc_auc_score(np.repeat([0, 1], [len(untouched), len(found)]), scores) if quality else float("nan")
    told = [one for one in found if one.verdict == "jpeg" and one.quality is not None]
    errors = [abs(one.quality - quality) for one in told if one.quality is not None and quality]
    grid = (3, 5) if "cropped" in past else (0, 0)
    grid = (5, 3) if grid == (3, 5) else grid  # lines left before the next block begins
    right = np.mean([one.offset == grid for one in told]) if told and quality else float("nan")
    earlier = np.mean([one.earlier_quality is not None for one in told]) if told else float("nan")
    numbers = [area, np.mean(errors) if errors else float("nan"), right, earlier]
    return [
        f"{name}: {past}", str(len(found)), *(f"{shares[verdict] / len(found):.3f}" for verdict in _VERDICTS),
        *("" if np.isnan(value) else f"{value:.3f}" for value in numbers),
    ]  # fmt: skip


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cifar", type=Path, help="PNG whose rows are 32 x 32 RGB images")
    parser.add_argument("--quick", action="store_true", help="fewer images")
    parser.add_argument("--bias", action="store_true", help="the share of views that is seen, and nothing else")
    parser.add_argument("--lossless", action="store_true", help="false positives and speed, and nothing else")
    options = parser.parse_args()
    cifar = list(np.asarray(Image.open(options.cifar)).reshape(-1, 32, 32, 3))
    if options.bias:
        _bias(cifar[:: max(1, len(cifar) // 1000)])
        return
    scale = 1 if options.quick else 4
    if options.lossless:
        _false_positives(cifar, scale)
        return
    kinds: dict[str, list[Bytes]] = {
        "cifar 32": cifar[:: max(1, len(cifar) // (100 * scale))],
        "textures 32": textures(32, 40 * scale),
        "textures 96": textures(96, 20 * scale),
        "photos 96": photographs(96, 20 * scale),
        "leaves 224": list(dead_leaves(224, 224, 8 * scale)),
        "leaves 500x375": list(dead_leaves(500, 375, 4 * scale)),
        "leaves 1200x900": list(dead_leaves(1200, 900, 1 * scale)),
    }
    head = ["past", "n", *_VERDICTS, "AUROC", "MAE", "grid", "earlier"]
    everything: list[tuple[float, bool]] = []
    for name, images in kinds.items():
        untouched = histories(images)
        rows = [head, row(name, "untouched", untouched, untouched, None)]
        everything += [(one.probability, False) for one in untouched] * len(PASTS)
        for past, (make, quality) in PASTS.items():
            found = histories([make(image) for image in images])
            rows.append(row(name, past, found, untouched, quality))
            everything += [(one.probability, True) for one in found] if quality else []
        print(align(rows), flush=True)
    _calibration(everything)
    _false_positives(cifar, scale)


def _false_positives(cifar: list[Bytes], scale: int) -> None:
    sets: dict[str, Iterator[Bytes]] = {
        "cifar 32, the whole split": iter(cifar),
        "textures 96": iter(textures(96, 250 * scale)),
        "leaves 500x375": dead_leaves(500, 375, 100 * scale, seed=1),
    }
    print("\nuntouched images, a verdict of jpeg or lossy")
    for name, images in sets.items():
        held = list(images)
        start = time.process_time()
        verdicts = Counter(one.verdict for one in histories(held))
        spent = time.process_time() - start
        print(
            f"{name}: jpeg {verdicts['jpeg']}, lossy {verdicts['lossy']} of {len(held)}: "
            f"{(verdicts['jpeg'] + verdicts['lossy']) / len(held):.4f}; {spent:.1f} s of CPU",
            flush=True,
        )
    [large] = dead_leaves(4000, 3000, 1)
    start = time.process_time()
    histories([large])
    print(f"12 megapixels: {time.process_time() - start:.2f} s of CPU, decoding not included")


def _calibration(pairs: Sequence[tuple[float, bool]]) -> None:
    """How often images of some probability were JPEG, untouched and saved ones with equal weight."""
    values, truth = np.array([p for p, _ in pairs]), np.array([t for _, t in pairs])
    weights = np.where(truth, 1 / truth.sum(), 1 / (~truth).sum())
    print("\nprobability that it was JPEG, and how often it was")
    edges = [0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0001]
    for low, high in pairwise(edges):
        here = (values >= low) & (values < high)
        if here.any():
            share = (weights * truth)[here].sum() / weights[here].sum()
            print(f"{low:.2f} to {min(high, 1):.2f}: {share:.3f} of {here.sum()}")


def _bias(cifar: list[Bytes]) -> None:
    images = [Image.fromarray(one) for one in cifar]
    for past, view in (("jpeg-90", "webp-50"), ("jpeg-75", "webp-50"), ("jpeg-90", "jpeg-75")):
        print(f"{view} from {past}: {seen_share(images, past, view):.3f} of its squared error is seen")


if __name__ == "__main__":
    main()
