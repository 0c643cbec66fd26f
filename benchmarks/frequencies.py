"""Whether parts sum to maps, how often a bold frequency is bold by chance, and what an encoder minds, per frequency.

    python -m benchmarks.frequencies RUN                   # a test run that was explained
    python -m benchmarks.frequencies --sensitivity IMAGES --encoder E --pretrained P

The first prints how far the parts of any map are from its sum. Where the run has maps (`save_maps: true`, of 100
images or more) it also draws samples from the run's own images, cells shifted so that none costs anything on average,
and counts cells whose 95% interval leaves 0 out. The second prints `bench.attribution.sensitivity` of a folder of
images by bands.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from bench.attribution.coefficients import CHANNELS
from bench.attribution.sensitivity import sensitivity
from bench.attribution.spectra import PARTS, Floats, Spectrum, band_cells, mean_spectrum
from bench.clip.encoders import load_encoder
from bench.clip.zero_shot import ZeroShotClassifier
from bench.runs.folder import RunFolder
from datamodules import ImageFolder
from datamodules.degradations import ORIGINAL

_SAMPLES = (10, 20, 64, 256)


def bold_by_chance(frequencies: Floats, images: int, draws: int, seed: int = 0) -> tuple[float, float]:
    """Share of cells that are bold where no cell costs anything, and the 95th percentile of it over samples.

    Args:
        frequencies: float64 [N, 3, 8, 8], the images that samples are drawn from, with replacement.
        images: In a sample.
        draws: Number of samples.
        seed: Of the draws.
    """
    nothing = frequencies - frequencies.mean(0)
    random, shares = np.random.default_rng(seed), []
    for _ in range(draws):
        drawn = nothing[random.integers(len(nothing), size=images)]
        found = mean_spectrum("", [Spectrum(one, one[0], {}, subsampled=False) for one in drawn])
        shares.append(((found.low > 0) | (found.high < 0)).mean())
    return float(np.mean(shares)), float(np.quantile(shares, 0.95))


def farthest_from_sum(table: pd.DataFrame) -> tuple[int, float, float]:
    """Number of maps, the largest distance of a map's parts together from its sum, and the largest sum, in nats.

    Args:
        table: A run's `attributions/table.csv`.
    """
    views = [name.removeprefix("rounding/") for name in table if name.startswith("rounding/")]
    sums = table[[f"ig/{view}" for view in views]].to_numpy()
    together = np.stack([sum(table[f"{part}/{view}"] for part in PARTS) for view in views], axis=1)
    known = np.isfinite(together)
    return int(known.sum()), float(np.abs(together - sums)[known].max()), float(np.abs(sums[known]).max())


def _print_chances(run: Path, draws: int) -> None:
    paths = sorted((RunFolder(run).attributions / "maps").glob("*.npz"))
    maps, distance, largest = farthest_from_sum(pd.read_csv(RunFolder(run).attribution_table))
    print(f"{maps} maps: parts are within {distance:.1e} nats of the sum, and sums reach {largest:.1f} nats\n")
    if not paths:
        return
    arrays = [np.load(path) for path in paths]
    print(
        f"{len(paths)} images of {run}\n\n{'view':16s} {'sample':>7s} {'bold by chance':>15s} {'95th percentile':>16s}"
    )
    for name in (name for name in arrays[0] if name.startswith("frequencies/")):
        frequencies = np.stack([array[name] for array in arrays])
        for images in _SAMPLES:
            mean, high = bold_by_chance(frequencies, images, draws)
            print(f"{name.split('/')[1]:16s} {images:7d} {mean:15.3f} {high:16.3f}", flush=True)


def _print_sensitivity(root: Path, split: str, every: int, encoder: str, pretrained: str) -> None:
    data = ImageFolder(root=root, split=split, degradations=[], every=every, num_workers=0)
    data.setup("test")
    classifier = ZeroShotClassifier(load_encoder(encoder, pretrained), data.class_names)
    batches = (batch.views[ORIGINAL] for batch in data.test_dataloader())
    found = sensitivity(classifier, batches, subsampled=True)
    bands = {band: torch.from_numpy(cells) for band, cells in band_cells().items()}
    print(f"{found.images} images; mean of the squared gradient in nats^2 per squared step of a coefficient, 4:2:0\n")
    print(f"{'channel':8s} " + " ".join(f"{band:>10s}" for band in bands))
    for channel, values in zip(CHANNELS, found.mean, strict=True):
        means = [float(values[cells].mean()) for cells in bands.values()]
        print(f"{channel:8s} " + " ".join(f"{mean:10.2e}" for mean in means))
    print("\nY, a row per vertical frequency, in 1e-6:")
    for row in 1e6 * found.mean[0]:
        print(" ".join(f"{float(value):7.2f}" for value in row))


def main() -> None:
    """Print what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, nargs="?", help="folder of a run with maps")
    parser.add_argument("--draws", type=int, default=100, help="samples per size")
    parser.add_argument("--sensitivity", type=Path, help="folder of images as `datamodules.ImageFolder` takes them")
    parser.add_argument("--split", default="train")
    parser.add_argument(
        "--every", type=int, default=10, help="images of the split, since folders are in order of their classes"
    )
    parser.add_argument("--encoder")
    parser.add_argument("--pretrained")
    options = parser.parse_args()
    if options.run is not None:
        _print_chances(options.run, options.draws)
    if options.sensitivity is not None:
        _print_sensitivity(options.sensitivity, options.split, options.every, options.encoder, options.pretrained)


if __name__ == "__main__":
    main()
