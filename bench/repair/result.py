"""What a repair achieved, in a table for the screen and a line."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench.report.groups import Entry, Group
from bench.report.tuned import Tuned
from bench.report.variants import Variant, originals_of, variants_of
from bench.runs.table import align
from bench.statistics.intervals import Estimate
from datamodules.degradations import ORIGINAL

_NONE = "-"
_FITTED_TO = {
    True: "that were not fitted to",
    False: "SOME OR ALL OF WHICH WERE FITTED TO",
    None: "that may have been fitted to",
}


def result(group: Group, fits: Mapping[str, Tuned], weights: Sequence[Path]) -> list[str]:
    """Precision before and after by view, and how much of the drop came back beyond the control.

    Args:
        group: The tests.
        fits: Tuned encoders by SHA-256 of their weights.
        weights: Files of the tuned weights, by growing seed.

    Raises:
        ValueError: The tests are not of an encoder and what was tuned from it.
        OSError: A table of images cannot be read.
    """
    bases = originals_of(group, fits)
    tuned = [one for base in bases for one in variants_of(group, base, fits) if not one.first.is_control]
    if (len(bases), len(tuned)) != (1, 1):
        raise ValueError("these are not the tests of one encoder and of what was tuned from it")
    (base,), (variant,) = bases, tuned
    views = [view for view in group.views if view in variant.recoveries]
    rows = [
        ["", *views],
        ["before", *_precisions([base], views)],
        ["after", *_precisions(variant.entries.values(), views)],
    ]
    if variant.controls:
        rows.append(["the control after", *_precisions(variant.controls.values(), views)])
    whole = [_share(variant.recoveries[view].share, view) for view in views]
    rows += [
        ["share of the drop", *(value for value, _ in whole)],
        ["  95% interval", *(limits for _, limits in whole)],
    ]
    if variant.controls:
        net = [_share(variant.recoveries[view].net_share, view) for view in views]
        rows += [
            ["beyond the control", *(value for value, _ in net)],
            ["  95% interval", *(limits for _, limits in net)],
        ]
    rows.append(["drawn by the fit", *("" if view == ORIGINAL else _said(variant.first.saw(view)) for view in views)])
    note = (
        f"precision on {group.images:,} images {_FITTED_TO[variant.first.held_out(group.data)]}; share of the drop "
        "that was recovered, with bootstrap intervals, pointwise (-: no drop, as far as these images tell)"
    )
    return [*align(rows).splitlines(), "", note, *_harm(variant), _line(base, variant, views, weights)]


def _harm(variant: Variant) -> list[str]:
    """What the originals lost, where that is more than chance."""
    gain = variant.recoveries[ORIGINAL].gain.scaled(100)
    if not gain.interval.high < 0:
        return []
    change = f"{gain.value:+.2f} points ({gain.interval.low:+.2f} to {gain.interval.high:+.2f})"
    return [f"originals: {change} of precision; a lower --fits.model.learning_rate changes them less"]


def _line(base: Entry, variant: Variant, views: Sequence[str], weights: Sequence[Path]) -> str:
    """Where the weights are, and what they do to the view that loses most."""
    others = f" (other seeds: {', '.join(map(str, weights[1:]))})" if len(weights) > 1 else ""
    degraded = [view for view in views if view != ORIGINAL]
    if not degraded:
        return f"weights: {weights[0]}{others}"
    worst = max(degraded, key=lambda view: variant.recoveries[view].drop.value)
    (before,), (after,) = _precisions([base], [worst]), _precisions(variant.entries.values(), [worst])
    recovery = variant.recoveries[worst]
    value, limits = _share(recovery.share, worst)
    told = f"; {worst}: {before} before, {after} after"
    if value != _NONE:
        told += f", {value} of the drop recovered ({limits})"
    if value != _NONE and variant.controls:
        value, limits = _share(recovery.net_share, worst)
        told += f", {value} beyond the control ({limits})"
    return f"weights: {weights[0]}{others}{told}"


def _precisions(entries: Iterable[Entry], views: Sequence[str]) -> list[str]:
    """The mean over seeds for each view."""
    runs = list(entries)
    means = [
        sum((entry.view(view).correct or 0) / entry.runs[view].record.images for entry in runs) / len(runs)
        for view in views
    ]
    return [f"{mean:.4f}" for mean in means]


def _share(share: Estimate, view: str) -> tuple[str, str]:
    """A share and its interval; dashes where there is nothing to be a share of."""
    if view == ORIGINAL:
        return "", ""
    if math.isnan(share.value):
        return _NONE, _NONE
    return f"{share.value:.2f}", f"{share.interval.low:.2f} to {share.interval.high:.2f}"


def _said(yes: bool) -> str:
    return "yes" if yes else "no"
