"""How much of what compression takes a tuned encoder gives back, beyond what it gains without any compression."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bench.statistics.intervals import Interval
from bench.statistics.rate_curves import Floats, percentiles


@dataclass(frozen=True)
class Resampled:
    """Precisions of models by seed, of all images (the first) and of bootstrap samples of them.

    Attributes:
        original: The frozen encoder on a degraded view: float64 [1 + R].
        clean: The frozen encoder on the originals: float64 [1 + R].
        tuned: The tuned encoders on the degraded view by seed, at least one: float64 [1 + R] each.
        control: The clean-only controls on it by seed, [1 + R] each; empty where there are none.
    """

    original: Floats
    clean: Floats
    tuned: Mapping[int, Floats]
    control: Mapping[int, Floats]


@dataclass(frozen=True)
class Estimate:
    """A value and its 95% interval over images and seeds."""

    value: float
    interval: Interval


@dataclass(frozen=True)
class Recovery:
    """What tuning does on one view.

    Attributes:
        drop: precision(originals) - precision(view) of the frozen encoder.
        gain: precision(tuned) - precision(frozen) on the view, mean over seeds.
        control: The same of the control; 0 where there is none.
        net: gain - control.
        left: drop - net, what is not recovered.
        share: gain / drop, the recovered share; NaN where the drop's interval holds 0.
        control_share: control / drop, NaN likewise.
        net_share: net / drop, NaN likewise.
    """

    drop: Estimate
    gain: Estimate
    control: Estimate
    net: Estimate
    left: Estimate
    share: Estimate
    control_share: Estimate
    net_share: Estimate


def recover(models: Resampled, seed: int = 0) -> Recovery:
    """Compare tuned encoders and their controls with the frozen one, on the same images throughout.

    Recovered share = (tuned - original model) / (its clean - original model), with precisions of the degraded view but
    for its clean. The bootstrap draws images, the same for all models, and seeds: with replacement, the same for tuned
    and control where they have the same ones. Three seeds are few to resample, so it understates how much seeds matter.

    Args:
        models: Precisions.
        seed: Of the draws of seeds.
    """
    draws = np.random.default_rng(seed)
    paired = models.tuned.keys() == models.control.keys()
    rows = len(models.original) - 1
    chosen = _choices(len(models.tuned), rows, draws)
    tuned = _mean(models.tuned, chosen)
    control = models.original
    if models.control:
        control = _mean(models.control, chosen if paired else _choices(len(models.control), rows, draws))
    drop = models.clean - models.original
    gain, gained = tuned - models.original, control - models.original
    net = gain - gained
    found = {"drop": drop, "gain": gain, "control": gained, "net": net, "left": drop - net}
    real = _estimate(drop).interval.low > 0
    shares = {
        name: np.divide(values, drop, out=np.full_like(values, np.nan), where=real & (drop > 0))
        for name, values in (("share", gain), ("control_share", gained), ("net_share", net))
    }
    return Recovery(**{name: _estimate(values) for name, values in (found | shares).items()})


def _choices(count: int, rows: int, draws: np.random.Generator) -> "np.ndarray[tuple[int, int], np.dtype[np.int64]]":
    """Which seeds a row averages, [1 + R, S]: the first row each once, the others with replacement."""
    drawn = draws.integers(count, size=(rows, count))
    return np.concatenate([np.arange(count)[None], drawn])


def _mean(by_seed: Mapping[int, Floats], chosen: "np.ndarray[tuple[int, int], np.dtype[np.int64]]") -> Floats:
    values = np.stack([by_seed[seed] for seed in sorted(by_seed)], axis=1)
    return np.asarray(np.take_along_axis(values, chosen, axis=1).mean(1), dtype=np.float64)


def _estimate(resampled: Floats) -> Estimate:
    return Estimate(float(resampled[0]), percentiles(resampled[1:]))
