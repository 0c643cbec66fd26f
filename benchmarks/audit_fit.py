"""Fit the audit's probabilities and thresholds on images whose past was made, and write `bench/audit/calibration.json`.

    python -m benchmarks.audit_fit CIFAR_TRAIN.png   # a sprite, a row per RGB image of 32 x 32 pixels; ten minutes

Images are those of the part "fit" of `benchmarks.lossless_images`, at 18 to 500 pixels. Each is taken as it is; saved
as JPEG (quality 30 to 98, 4:2:0 and 4:4:4, one in four cropped off its grid, one in five saved before); saved as JPEG
and resized by 0.5 to 2; saved as WebP or AVIF. Every kind of image and class of past weighs the same.

Regressions are scikit-learn's, with its L2 penalty. Thresholds of lattice and half chroma are those that lossless
images pass with a set frequency, from an exponential tail above their 99% quantile (Pickands 1975, of peaks over a
threshold with shape 0), or from the quantile itself where that is higher; that of "lossless" lets one in a hundred
lossy images through. `python -m benchmarks.audit` judges the result on other images.
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, features
from sklearn.linear_model import LogisticRegression

from bench.audit.calibration import (
    FILE,
    Calibration,
    Logistic,
    expand,
    half_chroma_features,
    jpeg_features,
    size_of,
)
from bench.audit.fine_detail import FEATURES
from bench.audit.history import Evidence, measure
from benchmarks.lossless_images import RENDERERS, Bytes, Part, cifar_images, mosaics, shrunken
from benchmarks.lossy_pasts import save

FACTORS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.1, 1.25, 1.5, 2.0)
"""By which images are resized after a save."""

_FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS, Image.Resampling.BOX)
_RATES = {"small": 2e-3, "medium": 1e-3, "large": 2e-4}  # of lossless images, for lattice and half chroma each
_LEAK = 0.01  # of lossy images
_TAIL = 0.99
_LEAST_EXCESS = 10  # images; fewer have no tail to speak of
_LOWEST = -20.0  # nats; what lies lower is decided, and by the number of blocks alone
_LEAST_SCORE = 5.0  # nats; a lattice of less is none, however rare it is
_LEAST_LOG_ODDS = 2.0  # of half chroma; without any chroma they are 0.5
_AT_ONCE = 130
_LEAST_BLOCKS = 4

Floats = npt.NDArray[np.float64]
Maker = Callable[[int, np.random.Generator], Bytes | None]
"""A square image of a side, or None where there is none so large."""


@dataclass(frozen=True)
class Example:
    """A measured image with what it went through, and whether its chroma was at half size since the last resize."""

    family: str
    past: str
    halved: bool
    evidence: Evidence


def makers(cifar: Bytes, part: Part) -> dict[str, Maker]:
    """Where images of any size come from, by family."""
    names = list(RENDERERS)

    def rendered(side: int, rng: np.random.Generator) -> Bytes:
        return RENDERERS[names[rng.integers(0, len(names))]](side, side, rng)

    def small(side: int, rng: np.random.Generator) -> Bytes | None:
        return crop(cifar[rng.integers(0, len(cifar))], side, rng) if side <= 32 else None

    def mosaic(side: int, rng: np.random.Generator) -> Bytes:
        return next(mosaics(cifar, side, side, 1, part, int(rng.integers(0, 2**30))))[1]

    return {
        "cifar": small, "mosaic": mosaic, "rendered": rendered, "photograph": lambda n, rng: shrunken(n, n, part, rng)
    }  # fmt: skip


def crop(rgb: Bytes, side: int, rng: np.random.Generator) -> Bytes:
    """A square part at a random place."""
    y, x = (int(rng.integers(0, length - side + 1)) for length in rgb.shape[:2])
    return np.ascontiguousarray(rgb[y : y + side, x : x + side])


def resized_jpeg(make: Maker, side: int, quality: int, factor: float, rng: np.random.Generator) -> Bytes | None:
    """An image that was JPEG at another size before; None where there is none so large."""
    source = make(int(np.ceil(side / factor)), rng)
    if source is None:
        return None
    decoded = save(source, format="JPEG", quality=quality, subsampling=rng.choice(["4:2:0", "4:4:4"]))
    return np.asarray(Image.fromarray(decoded).resize((side, side), _FILTERS[rng.integers(0, len(_FILTERS))]))


def pasts(make: Maker, side: int, rng: np.random.Generator) -> Iterator[tuple[str, bool, Bytes]]:
    """Images of one size with each kind of past."""
    sampling = str(rng.choice(["4:2:0", "4:4:4"]))
    quality = int(rng.choice([30, 50, 65, 75, 85, 90, 95, 98]))
    if (plain := make(side, rng)) is None:
        return
    yield "lossless", False, plain
    source = save(plain, format="JPEG", quality=int(rng.integers(30, 90))) if rng.random() < 0.2 else plain
    decoded = save(source, format="JPEG", quality=quality, subsampling=sampling)
    shift = tuple(rng.integers(0, 8, 2)) if rng.random() < 0.25 and side >= 32 else (0, 0)
    even = sampling == "4:2:0" and shift[0] % 2 == shift[1] % 2 == 0
    if shift == (0, 0) or even or sampling == "4:4:4":
        yield "jpeg", even, np.ascontiguousarray(decoded[shift[0] :, shift[1] :])
    for _ in range(2):
        before = int(rng.choice([30, 50, 75, 85, 90]))
        if (resized := resized_jpeg(make, side, before, float(rng.choice(FACTORS)), rng)) is not None:
            yield "resized", False, resized
    if rng.random() < 0.6:
        yield "other", True, save(plain, format="WEBP", quality=int(rng.choice([50, 75, 90])))
    else:
        yield "other", True, save(plain, format="AVIF", quality=int(rng.choice([50, 70, 85])), speed=8)


def examples(cifar: Bytes, scale: float) -> list[Example]:
    """Measured images of all families and pasts."""
    source, found, rng = makers(cifar, "fit"), [], np.random.default_rng(0)
    counts = {
        "cifar": {18: 400, 24: 800, 32: 1200}, "photograph": {32: 600, 48: 400, 96: 400, 160: 150},
        "rendered": {32: 800, 64: 400, 96: 800, 224: 500, 400: 100}, "mosaic": {96: 150, 224: 150},
    }  # fmt: skip
    for family, sizes in counts.items():
        for side, number in sizes.items():
            made = [one for _ in range(max(2, round(number * scale))) for one in pasts(source[family], side, rng)]
            found += [
                Example(f"{family} {side}", past, half, one)
                for (past, half, _), one in zip(made, measure([rgb for _, _, rgb in made]), strict=True)
                if one is not None
            ]
            print(f"{family} {side}: {len(found)} examples so far", flush=True)
    return found


def untouched(cifar: Bytes, scale: float) -> list[Example]:
    """Measured images that were never lossy, for the tails: CIFAR-10, and rendered ones of each kind."""
    found, rng, names = [], np.random.default_rng(1), list(RENDERERS)
    for side, number in {32: 2600, 96: 2600, 433: 1300}.items():  # 433 x 433 pixels are as many as 500 x 375
        more = list(cifar[: round(len(cifar) * scale)]) if side == 32 else []
        for start in range(0, round(number * scale), _AT_ONCE):
            part = [RENDERERS[names[(start + n) % len(names)]](side, side, rng) for n in range(_AT_ONCE)]
            found += [Example(f"rendered {side}", "lossless", False, one) for one in measure(part) if one is not None]
        found += [Example("cifar", "lossless", False, one) for one in measure(more) if one is not None]
        print(f"lossless {side}: {len(found)} images so far", flush=True)
    return found


def fit(chosen: Floats, truth: npt.NDArray[np.bool_], weights: Floats, *, linear: bool, strength: float) -> Logistic:
    """A regression without thresholds.

    Args:
        chosen: Features [N, F].
        truth: [N].
        weights: Of the examples [N].
        linear: Whether nothing but the features themselves is used.
        strength: Of the penalty, scikit-learn's C; smaller is stronger.
    """
    centres, scales = chosen.mean(0), chosen.std(0)
    terms = expand((chosen - centres) / scales)[:, : 1 + chosen.shape[1] if linear else None]
    model = LogisticRegression(C=strength, max_iter=5000)
    model.fit(terms[:, 1:], truth, sample_weight=weights * len(weights) / weights.sum())
    fitted = [float(model.intercept_[0]), *model.coef_[0].tolist()]
    return Logistic(_rounded(centres), _rounded(scales), _rounded(fitted), {})


def _rounded(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)


def balanced(families: npt.NDArray[Any], truth: npt.NDArray[Any]) -> Floats:
    """Weights with which each family has as many of either truth."""
    weights = np.ones(len(truth))
    for family in np.unique(families):
        for value in np.unique(truth):
            mine = (families == family) & (truth == value)
            weights[mine] = 1 / max(1, mine.sum())
    return weights


def tail(values: Floats, rate: float, lowest: float = -np.inf) -> float:
    """The level that values pass with a frequency, by an exponential tail, or their own quantile if that is higher.

    Args:
        values: Of lossless images.
        rate: The frequency.
        lowest: Where the tail begins at the lowest; else it does at the 99% quantile.
    """
    start = max(float(np.quantile(values, _TAIL)), lowest)
    excess = values[values > start] - start
    level = float(np.quantile(values, 1 - rate))
    if len(excess) < _LEAST_EXCESS:
        return level
    return max(level, start + float(excess.mean()) * float(np.log(len(excess) / len(values) / rate)))


def by_size(values: Floats, sizes: npt.NDArray[Any], level: Callable[[Floats, str], float]) -> dict[str, float]:
    """A threshold for each class of sizes."""
    return {size: round(level(values[sizes == size], size), 3) for size in _RATES}


def told(found: Iterable[Example]) -> list[Example]:
    """Those on which a verdict depends on the regressions."""
    return [one for one in found if one.evidence.blocks >= _LEAST_BLOCKS and not one.evidence.repeated]


def column(found: Sequence[Example], name: str) -> npt.NDArray[Any]:
    """An attribute of the evidence of each example."""
    return np.array([getattr(one.evidence, name) for one in found])


def sizes_of(found: Sequence[Example]) -> npt.NDArray[Any]:
    """The class of sizes of each."""
    return np.array([size_of(one.evidence.pixels) for one in found])


def regressions(found: Sequence[Example]) -> Calibration:
    """Fit the three, with the thresholds of "lossless"; those of the others are missing."""
    families, past = np.array([one.family for one in found]), np.array([one.past for one in found])
    lattice, truth = jpeg_features(column(found, "score"), column(found, "blocks")), past == "jpeg"
    jpeg = fit(lattice, truth, balanced(families, truth), linear=True, strength=1.0)
    chroma, half = (
        half_chroma_features(column(found, "contrast"), column(found, "floor")),
        np.array([one.halved for one in found]),
    )
    use = past != "resized"
    halved = fit(chroma[use], half[use], balanced(families[use], half[use]), linear=False, strength=1.0)
    detail, truth = column(found, "detail").astype(np.float64), past == "lossless"
    clean = fit(detail, truth, balanced(families, truth), linear=False, strength=0.3)
    logits, sizes = clean.logits(detail), sizes_of(found)
    levels = by_size(logits[~truth], sizes[~truth], lambda values, _: float(np.quantile(values, 1 - _LEAK)))
    return Calibration(jpeg, halved, replace(clean, thresholds=levels))


def thresholds(fitted: Calibration, found: Sequence[Example]) -> Calibration:
    """Set the thresholds of lattice and half chroma by lossless images."""
    sizes, score = sizes_of(found), column(found, "score")
    logits = fitted.half_chroma.logits(half_chroma_features(column(found, "contrast"), column(found, "floor")))
    lattice = by_size(score, sizes, lambda values, size: max(_LEAST_SCORE, tail(values, _RATES[size], _LOWEST)))
    halved = by_size(logits, sizes, lambda values, size: max(_LEAST_LOG_ODDS, tail(values, _RATES[size])))
    jpeg, half_chroma = replace(fitted.jpeg, thresholds=lattice), replace(fitted.half_chroma, thresholds=halved)
    return replace(fitted, jpeg=jpeg, half_chroma=half_chroma)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cifar", type=Path, help="PNG whose rows are 32 x 32 RGB images; not those that judge")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the images (default: 1)")
    parser.add_argument("--output", type=Path, default=FILE)
    options = parser.parse_args()
    cifar = cifar_images(options.cifar)
    found, clean = told(examples(cifar, options.scale)), told(untouched(cifar, options.scale))
    fitted = thresholds(regressions(found), clean)
    content = {
        "made_by": f"python -m benchmarks.audit_fit {options.cifar.name} --scale {options.scale}",
        "date": date.today().isoformat(),
        "software": {name: metadata.version(name) for name in ("numpy", "Pillow", "scikit-learn", "scikit-image")}
        | {name: features.version(name) for name in ("jpg", "webp", "avif")},
        "examples": Counter(one.past for one in found) | {"lossless, for thresholds": len(clean)},
        "false_positive_rates_aimed_at": _RATES,
        "leak_aimed_at": _LEAK,
        "features": {"lossless": list(FEATURES)},
        **{name: vars(getattr(fitted, name)) for name in ("jpeg", "half_chroma", "lossless")},
    }
    options.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print({name: vars(getattr(fitted, name))["thresholds"] for name in ("jpeg", "half_chroma", "lossless")})


if __name__ == "__main__":
    main()
