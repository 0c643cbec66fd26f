"""What tuned JPEG tables give on images that they were not tuned on: bytes, precision, shares of the drop, decoders.

    lightning tables --config image_folder --data.root FOLDER --model.encoder A.json --model.pretrained A.safetensors \
                     --name a --output a.json
    python -m benchmarks.tables measure FOLDER --encoder A.json --pretrained A.safetensors --tables a.json \
                     --views original mozjpeg0-50 mozjpeg0-25 a-50 a-25 a_law-50 a_law-25 --cache runs/tables/a
    python -m benchmarks.tables report --cache runs/tables/a [--cache runs/tables/b] [--picture curves.png]

`measure` takes the test split of an image folder, image by image and view by view, and keeps every view in a file of
its own below `--cache`, so that it can be stopped and repeated; views are NAME-SCALE of a file or of published tables
(`mozjpeg0` are the standard ones with optimised Huffman tables), `NAME_law` the best power law of a file's card.
`report` prints all views, and of each set of tables the bytes that it needs beside the standard ones at equal
precision (Bjontegaard), the share of the drop that it recovers at the bytes of the standard tables at 50 and 25, and
its precision beyond its own power law's, with 95% intervals by resampling images. Scan bytes are those of the
coefficients alone, without headers and tables.
"""

import argparse
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from bench.clip.encoders import load_encoder
from bench.clip.zero_shot import ZeroShotClassifier
from bench.fidelity import fidelity
from bench.figures.curves import Line, Measured, Panel, rate_curves
from bench.figures.style import look
from bench.runs.table import align
from bench.statistics.bjontegaard import log_rate_difference
from bench.statistics.bootstrap import Floats, estimate, resampled_sums
from bench.statistics.intervals import Estimate, wilson
from bench.statistics.recovery import recover
from bench.tables.usage import STANDARD
from datamodules import ImageFolder
from datamodules.allocation import keep_freed_memory
from datamodules.decoding import to_rgb
from datamodules.degradations.quantisation import Quantisation, TableSet, families, family, read_tables
from datamodules.degradations.tables import written
from datamodules.pixels import planes, stack
from datamodules.views import Images

_BATCH = 250
_SEEN = 2000  # images whose PSNR and SSIM are measured
_TARGETS = (50, 25)
_SCAN = b"\xff\xda"
_END_OF_IMAGE = 2  # bytes of the marker
_LAW = "_law"

_MEANS = (("size", 1), ("scan", 1), ("psnr", 2), ("ssim", 4))  # and their decimals

Arrays = dict[str, npt.NDArray[Any]]


def main(args: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("root", type=Path)
    measuring.add_argument("--encoder", required=True)
    measuring.add_argument("--pretrained", required=True)
    measuring.add_argument("--tables", type=Path, action="append", default=[])
    measuring.add_argument("--views", nargs="+", required=True)
    measuring.add_argument("--cache", type=Path, required=True)
    measuring.add_argument("--every", type=int, default=1, help="use only every n-th image")
    reporting = commands.add_parser("report")
    reporting.add_argument("--cache", type=Path, action="append", required=True, help="repeatable, one per encoder")
    reporting.add_argument("--picture", type=Path, help="draw precision against bits per pixel")
    reporting.add_argument("--pixels", type=int, default=1024, help="of an image, for the picture (default: 1024)")
    options = parser.parse_args(args)
    if options.command == "measure":
        measure(options)
        return
    for cache in options.cache:
        print(f"{cache.name}: {report(cache)}")
    if options.picture is not None:
        draw(options.cache, options.pixels, options.picture)


def measure(options: argparse.Namespace) -> None:
    """Measure the views that are not in the cache yet."""
    options.cache.mkdir(parents=True, exist_ok=True)
    missing = [view for view in options.views if not (options.cache / f"{view}.npz").exists()]
    if not missing:
        return
    sets = _sets(options.tables)
    data = ImageFolder(options.root, every=options.every, num_workers=0)
    data.setup("test")
    images = [to_rgb(data.chosen.load(place)) for place in data.positions]
    labels = np.array([data.chosen.label(place) for place in data.positions])
    keep_freed_memory()
    classifier = ZeroShotClassifier(load_encoder(options.encoder, options.pretrained), data.class_names)
    for view in missing:
        found = _measured(images, labels, classifier, _tables(sets, view))
        np.savez(options.cache / f"{view}.npz", **found)  # type: ignore[arg-type]  # numpy mistakes names for its options
        print(view, f"{found['correct'].mean():.4f}", f"{found['size'].mean():.1f} bytes", flush=True)


def _sets(files: Sequence[Path]) -> dict[str, TableSet]:
    """Tables by name: of files, and the power laws of their cards."""
    sets: dict[str, TableSet] = {}
    for file in files:
        found = read_tables(file)
        sets[found.name] = found
        laws = {int(scale): account["power_law"] for scale, account in found.card.get("scales", {}).items()}
        sets[f"{found.name}{_LAW}"] = TableSet(
            f"{found.name}{_LAW}",
            {
                scale: Quantisation(tuple(law["luma"]), tuple(law["chroma"]), law["subsampling"])
                for scale, law in laws.items()
            },
        )
    return sets


def _tables(sets: Mapping[str, TableSet], view: str) -> Quantisation | None:
    if view == "original":
        return None
    name, _, scale = view.rpartition("-")
    return (family(name) if name in families() else sets[name]).at(int(scale))


def _measured(
    images: Sequence[Image.Image],
    labels: npt.NDArray[np.int64],
    classifier: ZeroShotClassifier,
    tables: Quantisation | None,
) -> Arrays:
    """Per image whether it is right, bytes of the file and of its scan; PSNR and SSIM of the first ones."""
    correct, size, scan, psnr, ssim = ([] for _ in range(5))
    for first in range(0, len(images), _BATCH):
        originals = images[first : first + _BATCH]
        pixels = _stacked(originals)
        if tables is None:
            size += [0] * len(originals)
            scan += [0] * len(originals)
        else:
            files = [written(image, tables) for image in originals]
            size += [len(file) for file in files]
            scan += [_scan_bytes(file) for file in files]
            before, pixels = pixels, _stacked([Image.open(io.BytesIO(file)) for file in files])
            if first < _SEEN:
                close = fidelity(before, pixels)
                psnr += close.psnr.tolist()
                ssim += close.ssim.tolist()
        with torch.inference_mode():
            correct += (classifier(pixels).argmax(1).numpy() == labels[first : first + _BATCH]).tolist()
    columns = {"correct": correct, "size": size, "scan": scan, "psnr": psnr, "ssim": ssim}
    return {name: np.array(values, dtype=np.float64) for name, values in columns.items()}


def _stacked(images: Sequence[Image.Image]) -> Images:
    return stack([planes(image) for image in images])


def _scan_bytes(file: bytes) -> int:
    start = file.rindex(_SCAN)
    header = int.from_bytes(file[start + 2 : start + 4], "big")
    return len(file) - start - len(_SCAN) - header - _END_OF_IMAGE


def report(cache: Path) -> str:
    """All that is in a cache, as text."""
    views = {file.stem: dict(np.load(file)) for file in sorted(cache.glob("*.npz"))}
    order = sorted(views, key=_place)
    sums = {
        view: resampled_sums(np.stack([found["correct"], found["size"], found["scan"]], axis=1))[0]
        / len(found["correct"])
        for view, found in views.items()
    }
    rows = [["view", "precision", "bytes", "scan bytes", "PSNR", "SSIM"]]
    for view in order:
        found = views[view]
        close = (
            [f"{np.mean(found['psnr']):.2f}", f"{np.nanmean(found['ssim']):.4f}"] if len(found["psnr"]) else ["", ""]
        )
        means = [f"{found['size'].mean():.1f}", f"{found['scan'].mean():.1f}"] if view != "original" else ["", ""]
        rows.append([view, _text(estimate(sums[view][:, 0]), 4), *means, *close])
    curves: dict[str, list[str]] = {}
    for view in order:
        if view != "original":
            curves.setdefault(view.rpartition("-")[0], []).append(view)
    shares = [["tables", "bytes at equal precision", *(f"share recovered at the bytes of {q}" for q in _TARGETS)]]
    for name, points in curves.items():
        if name != STANDARD:
            shares.append(
                [name, _rate(sums, points, curves.get(STANDARD, [])), *(_share(sums, points, q) for q in _TARGETS)]
            )
    gains = [["tables", "scale", "precision beyond their power law (points)", "bytes beyond it"]]
    for view in order:
        name, _, scale = view.rpartition("-")
        if (law := f"{name}{_LAW}-{scale}") in views:
            beyond = estimate(100 * (sums[view][:, 0] - sums[law][:, 0]))
            gains.append([name, scale, _text(beyond, 2), f"{(sums[view] - sums[law])[0, 1]:+.1f}"])
    count = len(next(iter(views.values()))["correct"])
    tables = [align(table) for table in (rows, shares, gains) if len(table) > 1]
    return "\n\n".join([f"{count} images\n{tables[0]}", *tables[1:]])


def draw(caches: Sequence[Path], pixels: int, file: Path) -> None:
    """Precision against bits per pixel, a panel per cache."""
    panels = []
    for cache in caches:
        points: dict[str, list[tuple[float, Measured]]] = {}
        original = None
        for view in sorted((one.stem for one in cache.glob("*.npz")), key=_place):
            found = np.load(cache / f"{view}.npz")
            count = len(found["correct"])
            interval = wilson(int(found["correct"].sum()), count)
            measured = Measured(float(found["correct"].mean()), interval.low, interval.high, view.rpartition("-")[2])
            if view == "original":
                original = measured
            else:
                points.setdefault(view.rpartition("-")[0], []).append((8 * found["size"].mean() / pixels, measured))
        shown = {name: sorted(along, key=lambda one: one[0]) for name, along in points.items() if len(along) > 1}
        lines = [Line(name, along, look=look(number)) for number, (name, along) in enumerate(shown.items())]
        panels.append(Panel(cache.name, lines, original=original))
    rate_curves(panels).savefig(file, dpi=100)


def _place(view: str) -> tuple[str, int]:
    """Tables together, by scale; the original first."""
    name, _, scale = view.rpartition("-")
    return (name, int(scale)) if name else ("", 0)


def _rate(sums: Mapping[str, Floats], points: Sequence[str], standard: Sequence[str]) -> str:
    """Percent of bytes more than the standard tables at equal precision."""
    curves = []
    for views in (points, standard):
        ordered = sorted(views, key=lambda view: sums[view][0, 1])
        curves.append(
            (np.log2(np.stack([sums[v][:, 1] for v in ordered], -1)), np.stack([sums[v][:, 0] for v in ordered], -1))
        )
    if min(len(points), len(standard)) < 2:
        return ""
    return f"{_text(estimate(100 * (np.exp2(log_rate_difference(*curves)) - 1)), 1)} %"


def _share(sums: Mapping[str, Floats], points: Sequence[str], quality: int) -> str:
    """(tuned - standard) / (original - standard) at the bytes of the standard tables at a quality.

    Between its points a curve is a straight line over the logarithm of the bytes. Where it has no point of fewer bytes
    or none of more, the nearest point stands for it if its bytes are within 2%, and nothing is said otherwise.
    """
    base = f"{STANDARD}-{quality}"
    if base not in sums or "original" not in sums:
        return ""
    bytes_there = sums[base][:, 1]
    ordered = sorted(points, key=lambda view: sums[view][0, 1])
    x = np.stack([np.log(sums[view][:, 1]) for view in ordered], -1)
    y = np.stack([sums[view][:, 0] for view in ordered], -1)
    if not x[0, 0] - 0.02 <= np.log(bytes_there[0]) <= x[0, -1] + 0.02:
        return ""
    tuned = np.array([np.interp(np.log(at), a, b) for at, a, b in zip(bytes_there, x, y, strict=True)])
    return _text(recover(sums[base][:, 0], sums["original"][:, 0], {0: tuned}, {}, 1).share, 2)


def _text(found: Estimate, decimals: int) -> str:
    ends = found.interval
    if not np.isfinite(ends.low):
        return f"{found.value:.{decimals}f}"
    return f"{found.value:.{decimals}f} [{ends.low:.{decimals}f}, {ends.high:.{decimals}f}]"


if __name__ == "__main__":
    main()
