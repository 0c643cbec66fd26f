"""How well does the audit tell images with a lossy past from others? On images whose past was made, and is known.

    python -m benchmarks.audit CIFAR.png                     # a sprite, a row per RGB image of 32 x 32 pixels; all
    python -m benchmarks.audit CIFAR.png --tables pasts --share 0.1 --kinds "cifar 32"     # a part, in a minute
    python -m benchmarks.audit CIFAR.png --tables lossless   # false positives on images that were never lossy

Images are those of the part "judge" of `benchmarks.lossless_images`, which `benchmarks.audit_fit` has not seen; pasts
are those of `benchmarks.lossy_pasts`. Each image is left as it is, or saved, decoded, and looked at as an array.

pasts: by kind of image and past, the share of each verdict, area under the ROC curve of "was JPEG" against the
untouched images of the same kind, mean absolute error of the quality, share with the right grid, and with an earlier
save.
lossless: verdicts on untouched images, with Wilson's 95% interval of the false positives, by kind. calibration: how
often what has some probability is true, where half of all images are JPEG and half of the others lossless. speed:
seconds of one core. sample: what the sample of a run costs. Needs scikit-learn and scikit-image.
"""

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice, pairwise
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from bench.audit.dataset import sample_summary
from bench.audit.history import History, Verdict, histories
from bench.runs.table import align
from bench.statistics.intervals import wilson
from benchmarks.lossless_images import Bytes, cifar_images, dead_leaves, mosaics, photographs, rendered
from benchmarks.lossy_pasts import PASTS
from datamodules.sources import ArraySource, Source

_VERDICTS: tuple[Verdict, ...] = ("jpeg", "lossy", "lossless", "unknown")
_TABLES = ("pasts", "calibration", "lossless", "speed", "sample")
_AT_ONCE = 250
_GRID = (5, 3)  # lines left before the next block begins, after three and five were cut off
_EDGES = (0, 0.01, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 0.99, 1.0001)

Named = Iterator[tuple[str, Bytes]]


def kinds(cifar: Bytes, share: float) -> dict[str, Named]:
    """What is given a past: images with the names of their kinds."""

    def number(count: int) -> int:
        return max(4, round(count * share))

    return {
        "cifar 32": (("cifar", rgb) for rgb in cifar[:: len(cifar) // number(500)]),
        "photographs 96": photographs(96, 96, number(200), "judge"),
        "rendered 96": rendered(96, 96, number(390), "judge"),
        "rendered 224": rendered(224, 224, number(130), "judge"),
        "mosaics 224": mosaics(cifar, 224, 224, number(60), "judge"),
        "rendered 500x375": rendered(500, 375, number(78), "judge"),
        "rendered 1200x900": rendered(1200, 900, number(13), "judge"),
    }  # fmt: skip


def look(images: Sequence[Bytes]) -> list[History]:
    """Histories of images of one size, some at a time."""
    return [one for start in range(0, len(images), _AT_ONCE) for one in histories(images[start : start + _AT_ONCE])]


def row(
    name: str, past: str, judged: Sequence[History], untouched: Sequence[History], quality: int | None
) -> list[str]:
    """What is said of images with one past."""
    counts = Counter(one.verdict for one in judged)
    scores = [one.jpeg for one in (*untouched, *judged)]
    area = roc_auc_score(np.repeat([0, 1], [len(untouched), len(judged)]), scores) if quality else float("nan")
    told = [one for one in judged if one.verdict == "jpeg" and quality]
    errors = [abs(one.quality - quality) for one in told if one.quality is not None and quality]
    right = [one.offset == (_GRID if "cropped" in past else (0, 0)) for one in told]
    earlier = [one.earlier_quality is not None for one in told]
    numbers = [area, *(np.mean(values) if values else float("nan") for values in (errors, right, earlier))]
    return [
        f"{name}: {past}", str(len(judged)), *(f"{counts[verdict] / len(judged):.3f}" for verdict in _VERDICTS),
        *("" if np.isnan(value) else f"{value:.3f}" for value in numbers),
    ]  # fmt: skip


def judge_pasts(chosen: dict[str, Named], shown: bool) -> list[tuple[str, History]]:
    """Give each image each past; returns "jpeg", "lossless" or "other" with what is said of it."""
    head = ["past", "n", *_VERDICTS, "AUROC", "MAE", "grid", "earlier"]
    everything: list[tuple[str, History]] = []
    for name, images in chosen.items():
        plain = [rgb for _, rgb in images]
        untouched = look(plain)
        rows = [head, row(name, "untouched", untouched, untouched, None)]
        everything += [("lossless", one) for one in untouched]
        for past, (make, quality) in PASTS.items():
            judged = look([make(rgb) for rgb in plain])
            rows.append(row(name, past, judged, untouched, quality))
            everything += [("jpeg" if quality else "other", one) for one in judged]
        if shown:
            print(align(rows), "\n", flush=True)
    return everything


def print_calibration(judged: Sequence[tuple[str, History]]) -> None:
    """How often images with some probability were what it is of; half of all JPEG, half of the others lossless."""
    past = np.array([name for name, _ in judged])
    weights = np.select([past == "jpeg", past == "lossless"], [0.5, 0.25], 0.25)
    for name in ("jpeg", "lossless", "other"):
        weights[past == name] /= max(1, (past == name).sum())
    values = {name: np.array([getattr(one, name) for _, one in judged]) for name in ("jpeg", "lossless")}
    values["other"] = 1 - values["jpeg"] - values["lossless"]
    rows = [["probability", *(f"{name}, n" for name in values), *(f"{name}, true" for name in values)]]
    for low, high in pairwise(_EDGES):
        here = {name: (value >= low) & (value < high) for name, value in values.items()}
        told = [
            f"{(weights * (past == name))[at].sum() / weights[at].sum():.3f}" if at.any() else ""
            for name, at in here.items()
        ]
        rows.append([f"{low:g} to {min(high, 1):g}", *(str(at.sum()) for at in here.values()), *told])
    print(align(rows), flush=True)
    for name, value in values.items():
        print(f"{name}: Brier score {(weights * (value - (past == name)) ** 2).sum():.4f}, "
              f"mean {(weights * value).sum():.3f}")  # fmt: skip


def print_lossless(cifar: Bytes, share: float) -> None:
    """Verdicts on untouched images, and how many are false."""
    sets: dict[str, Named] = {
        "cifar 32, the split": (("cifar", rgb) for rgb in cifar[: round(len(cifar) * share)]),
        "rendered 32": rendered(32, 32, round(3900 * share), "judge", seed=1),
        "rendered 96": rendered(96, 96, round(3900 * share), "judge", seed=1),
        "photographs 96": photographs(96, 96, round(500 * share), "judge", seed=1),
        "rendered 500x375": rendered(500, 375, round(3250 * share), "judge", seed=1),
        "mosaics 500x375": mosaics(cifar, 500, 375, round(250 * share), "judge", seed=1),
    }
    rows = [["untouched", "n", *_VERDICTS, "false", "95% interval", "by kind"]]
    for name, images in sets.items():
        counts: Counter[str] = Counter()
        false: Counter[str] = Counter()
        while part := list(islice(images, _AT_ONCE)):
            for (kind, _), one in zip(part, histories([rgb for _, rgb in part]), strict=True):
                counts[one.verdict] += 1
                false[kind] += one.verdict in ("jpeg", "lossy")
        number = counts.total()
        if not number:
            continue
        interval = wilson(false.total(), number)
        shares = [f"{counts[verdict] / number:.4f}" for verdict in _VERDICTS]
        by_kind = ", ".join(f"{kind} {count}" for kind, count in false.most_common() if count)
        limits = f"{interval.low:.4f} to {interval.high:.4f}"
        rows.append([name, str(number), *shares, f"{false.total() / number:.4f}", limits, by_kind])
    print(align(rows), flush=True)


def print_speed(cifar: Bytes) -> None:
    """Seconds of one core, decoding not included."""
    seconds: dict[str, float] = defaultdict(float)
    large = list(dead_leaves(side, side * 3 // 4, np.random.default_rng(0)) for side in (500, 4000))
    sets = {"10,000 of 32 x 32": list(cifar), "500 x 375": large[:1] * 20, "4000 x 3000": large[1:]}
    for name, images in sets.items():
        histories(images[:1])
        start = time.process_time()
        histories(images)
        seconds[name] = (time.process_time() - start) / (1 if "10,000" in name else len(images))
    print(", ".join(f"{name}: {value:.2f} s" for name, value in seconds.items()))


def print_sample(cifar: Bytes) -> None:
    """What a run's record costs: images that the sample has, and seconds that it took, by the seconds it may take.

    Each in a process of its own: the first image costs more.
    """
    large = np.stack([dead_leaves(500, 375, np.random.default_rng(seed)) for seed in range(256)])
    rows = [["images", "seconds it may take", "images looked at", "seconds it took", "of a core"]]
    for name, images in {"32 x 32": cifar, "500 x 375": large}.items():
        source = ArraySource(images, [0] * len(images), ["any"])
        for seconds in (0.04, 0.05, 0.15, 0.5, 5.0):
            with ProcessPoolExecutor(1, get_context("spawn")) as process:
                looked_at, *spent = process.submit(sample_cost, source, seconds).result()
            rows.append([name, f"{seconds}", str(looked_at), *(f"{value:.3f}" for value in spent)])
    print(align(rows), flush=True)


def sample_cost(source: Source, seconds: float) -> tuple[int, float, float]:
    """Images of a sample that may take so many seconds, and how many it took: by the clock, and of a core."""
    start = time.monotonic(), time.process_time()
    summary = sample_summary(source, range(len(source)), seconds)
    return summary["images"], time.monotonic() - start[0], time.process_time() - start[1]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cifar", type=Path, help="PNG whose rows are 32 x 32 RGB images")
    parser.add_argument("--share", type=float, default=1.0, help="of the images (default: 1)")
    parser.add_argument("--tables", nargs="+", choices=_TABLES, default=list(_TABLES), help="which (default: all)")
    parser.add_argument("--kinds", nargs="+", help="of images that get a past (default: all)")
    options = parser.parse_args()
    cifar = cifar_images(options.cifar)
    chosen = {name: images for name, images in kinds(cifar, options.share).items() if name in (options.kinds or [name])}
    if {"pasts", "calibration"} & {*options.tables}:
        judged = judge_pasts(chosen, "pasts" in options.tables)
        if "calibration" in options.tables:
            print_calibration(judged)
    if "lossless" in options.tables:
        print_lossless(cifar, options.share)
    if "speed" in options.tables:
        print_speed(cifar)
    if "sample" in options.tables:
        print_sample(cifar)


if __name__ == "__main__":
    main()
