"""How much of what compression takes a tuned encoder gives back, beyond what it gains without any compression."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from bench.statistics.bootstrap import Floats, estimate
from bench.statistics.intervals import LEVEL, Estimate, Interval


@dataclass(frozen=True)
class Recovery:
    """What tuning does on one view; estimates are means over seeds, their 95% intervals over images and seeds.

    Attributes:
        drop: precision(originals) - precision(view) of the frozen encoder.
        gain: precision(tuned) - precision(frozen) on the view.
        control: precision(control) - precision(frozen) on the view; 0 where there is no control.
        net: gain - control.
        left: drop - net, what is not recovered.
        share: gain / drop, the recovered share. This and the shares below are NaN where the drop's interval holds 0;
            everywhere else they have an interval.
        control_share: control / drop.
        net_share: net / drop.
    """

    drop: Estimate
    gain: Estimate
    control: Estimate
    net: Estimate
    left: Estimate
    share: Estimate
    control_share: Estimate
    net_share: Estimate


def recover(
    original: Floats,
    clean: Floats,
    tuned: Mapping[Any, Floats],
    controls: Mapping[Any, Floats],
    images: int,
    seed: int = 0,
) -> Recovery:
    """Compare tuned encoders and their controls with the frozen one, on the same images throughout.

    Recovered share = (tuned - original model) / (its clean - original model), with precisions of the degraded view but
    for its clean. The bootstrap draws images, the same for all models, and seeds: with replacement, the same for tuned
    and control where they have the same ones. Few seeds are few to resample, so it understates how much seeds matter,
    and one seed is taken as it is. To half of every interval that of as few images is added, in quadrature, as a score
    interval sees where nothing differs: z^2 / images of precision.

    Args:
        original: Images that the frozen encoder has right on the view, float64 [1 + R] whole numbers: of all images,
            then of R bootstrap samples of them, see `bench.statistics.bootstrap.resampled_sums`.
        clean: Images that the frozen encoder has right as originals, float64 [1 + R] of the same samples.
        tuned: Images that the tuned encoders have right on the view, by seed, which is
            whatever can be sorted; at least one.
        controls: Images that the clean-only controls have right on it, by seed; empty where there are none.
        images: Number of images.
        seed: Seed of the bootstrap's draws of tuning seeds.
    """
    draws = np.random.default_rng(seed)
    rows = len(original) - 1
    chosen = _choices(len(tuned), rows, draws)
    drop, gain, gained = clean - original, _mean(tuned, chosen) - original, np.zeros_like(original)
    if controls:
        same = tuned.keys() == controls.keys()
        gained = _mean(controls, chosen if same else _choices(len(controls), rows, draws)) - original
    net = gain - gained
    counts = {"drop": drop, "gain": gain, "control": gained, "net": net, "left": drop - net}
    changes = {name: values / images for name, values in counts.items()}
    real = estimate(drop).interval.low > 0
    shares = {
        name: _ratio(part, drop) if real else np.full_like(drop, np.nan)
        for name, part in (("share", gain), ("control_share", gained), ("net_share", net))
    }
    least = ndtri(0.5 + LEVEL / 2) ** 2 / images
    widths = dict.fromkeys(changes, least) | dict.fromkeys(shares, least * images / drop[0] if real else np.nan)
    if not controls:
        widths |= {"control": 0.0, "control_share": 0.0}
    return Recovery(**{name: _widened(estimate(values), widths[name]) for name, values in (changes | shares).items()})


def _widened(found: Estimate, least: float) -> Estimate:
    """An estimate with an interval that is on both sides at least as wide as that."""
    low, high = found.value - found.interval.low, found.interval.high - found.value
    return Estimate(found.value, Interval(found.value - np.hypot(low, least), found.value + np.hypot(high, least)))


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Part / whole in each resample, ordered rightly also where nothing was lost.

    As the whole falls to 0 a ratio passes every bound, upwards where the part is positive and downwards where it is
    negative; there it stays for wholes below 0. Where both are 0, or only the whole is below, it may be anything: NaN.
    Since fewer than 2.5% of the resamples of a drop whose interval excludes 0 are such, both ends of the interval of
    the ratio are finite.
    """
    beyond = np.where(part == 0, np.nan, np.copysign(np.inf, part))
    return np.divide(part, whole, out=beyond, where=whole > 0)


def _choices(count: int, rows: int, draws: np.random.Generator) -> npt.NDArray[np.int64]:
    """Which seeds a row averages, [1 + R, S]: the first row each once, the others with replacement."""
    return np.concatenate([np.arange(count)[None], draws.integers(count, size=(rows, count))])


def _mean(by_seed: Mapping[Any, Floats], chosen: npt.NDArray[np.int64]) -> Floats:
    values = np.stack([by_seed[seed] for seed in sorted(by_seed)], axis=1)
    return np.asarray(np.take_along_axis(values, chosen, axis=1).mean(1), dtype=np.float64)
