r"""How much of a view's drop is seen from images that were JPEG before: predicted, and measured with an encoder.

    lightning test --config configs/cifar10.yaml --model.encoder E.json --model.pretrained E.safetensors \
      --data.degradations '["webp-{50,25}", "jpeg-{95,90,75,50,25}", "avif-50", "jpeg-{95,90,75,50}+webp-{50,25}",
      "jpeg-{95,90,75,50}+avif-50", "jpeg-{95,90,75,50}+jpeg-{75,50,25}"]'
    python -m benchmarks.audit_bias CIFAR.png RUN...    # a sprite, a row per RGB image of 32 x 32 pixels

A chain "past+view" of a run is the view of images with that past. Its drop from "past", over the view's drop from the
raw pixels, is the share that is seen. Prints it for precision, and for the mean probability of the true class, which is
less noisy, with the 95% interval of a bootstrap over images, beside two predictions: the view's squared error against
its source as a share of that on raw pixels, and what it adds to the error against the raw pixels (`bench.audit.bias`).
Then how far the shares of probability lie from either.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

import bench
from bench.audit.bias import ABOVE, BELOW, added_share
from bench.runs.table import align
from benchmarks.lossless_images import cifar_images
from datamodules.degradations import ORIGINAL, degrade

_IMAGES = 150
_RESAMPLES = 400
_LEAST_DROP = 0.01  # a share of a drop of less is noise


def error_share(images: list[Image.Image], past: str, view: str) -> float:
    """Squared error of a view of images with a past, against these, over that of the view of the images themselves."""

    def error(source: Image.Image) -> float:
        pair = (np.asarray(image, np.float64) for image in (source, degrade(source, view).image))
        return float(np.square(np.subtract(*pair)).mean())

    return sum(error(degrade(image, past).image) for image in images) / sum(map(error, images))


def seen(frame: pd.DataFrame, past: str, view: str) -> tuple[float, float, float] | None:
    """Share of a drop in the mean that is seen, and its interval; None where there is no drop to speak of.

    Args:
        frame: A row per image, a column per view.
        past: Of the sources.
        view: Of them.
    """
    direct = (frame[ORIGINAL] - frame[view]).to_numpy()
    left = (frame[past] - frame[f"{past}+{view}"]).to_numpy()
    if direct.mean() < _LEAST_DROP:
        return None
    rng = np.random.default_rng(0)
    drawn = (rng.integers(0, len(frame), len(frame)) for _ in range(_RESAMPLES))
    low, high = np.quantile([left[places].mean() / direct[places].mean() for places in drawn], [0.025, 0.975])
    return float(left.mean() / direct.mean()), float(low), float(high)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cifar", type=Path, help="PNG whose rows are 32 x 32 RGB images")
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs")
    options = parser.parse_args()
    cifar = cifar_images(options.cifar)
    images = [Image.fromarray(rgb) for rgb in cifar[:: len(cifar) // _IMAGES]]
    predicted: dict[str, tuple[float, float]] = {}
    rows, misses = [["encoder", "past", "view", "error", "added", "precision seen", "", "probability seen", ""]], []
    for folder in options.runs:
        run = bench.load_run(folder)
        table = run.images.assign(correct=(run.images["prediction"] == run.images["label"]).astype(float))
        wide = [table.pivot(index="index", columns="view", values=name) for name in ("correct", "probability")]
        for chain in run.record.views:
            past, _, view = chain.partition("+")
            shares = [seen(frame, past, view) for frame in wide] if view else []
            if not shares or None in shares:
                continue
            if chain not in predicted:
                predicted[chain] = error_share(images, past, view), added_share(images, past, view)
            told = [text for one in shares if one for text in (f"{one[0]:.2f}", f"{one[1]:.2f} to {one[2]:.2f}")]
            rows.append(
                [Path(run.record.model.encoder).stem, past, view, *(f"{v:.2f}" for v in predicted[chain]), *told]
            )
            if shares[1] is not None:
                misses.append([shares[1][0] - value for value in predicted[chain]])
    print(align(rows))
    for name, miss in zip(("error", "added"), np.array(misses).T, strict=True):
        within = ((miss >= -BELOW) & (miss <= ABOVE)).mean()
        print(
            f"measured less {name}: mean {miss.mean():+.2f}, root mean square {np.sqrt((miss**2).mean()):.2f}, from "
            f"{miss.min():+.2f} to {miss.max():+.2f}; from {-BELOW} to {ABOVE}: {within:.0%} of {len(miss)}"
        )


if __name__ == "__main__":
    main()
