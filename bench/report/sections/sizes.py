"""Precision against bytes: the practitioner's answer, curves, and codecs at equal bits."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from bench.figures.curves import Line, Panel, rate_curves
from bench.report.document import Block, Plot, Section
from bench.report.groups import Entry, Group, short
from bench.report.inputs import Choices
from bench.report.sections.precision import precisions
from bench.report.tables import Column, Table, metric_column, write
from bench.runs.images import read_columns
from bench.statistics.bootstrap import IMAGE_RESAMPLES, Floats, estimate, resampled_sums
from bench.statistics.rate_curves import codec_curves, common_range, images_of, least_x_under, mean_on_range
from datamodules.degradations import ORIGINAL

_MOST_ROWS = 120
_NONE = "none of the settings"
_WEIGHTS = ("encoded_bytes", "bits_per_pixel", "psnr", "ssim")

Sums = Mapping[tuple[str, str], Floats]
"""Sums over images by view and quantity, [1 + R]: of all images, then of bootstrap samples of them."""


def section(group: Group, choices: Choices) -> Section | None:
    """What the group's encoders lose at how many bytes; None where no view was encoded."""
    entries = [entry for entry in group.entries if bits_per_pixel(entry)]
    if not entries:
        return None
    blocks: list[Block] = [_answer_table(group, choices.points)]
    if lossy := group.data.lossy_source_formats:
        blocks.insert(0, f"The sources are {short(lossy)} already, so all drops here are biased down.")
    if panels := rate_panels(group):
        note = "Bands: Wilson's 95% interval. Dashed: the original. The scale of precision does not start at 0."
        blocks.append(
            Plot(f"{group.name}-rate", "Precision against bits per pixel", partial(rate_curves, panels), note)
        )
    curves: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    problems: dict[str, str] = {}
    for entry in filter(_long_curves, entries):
        sums, problem = _resample(entry, group.images)
        curves += measure_curves(entry, sums, group.images, choices.points)
        pairs += compare_codecs(entry, sums, group.images)
        problems |= {entry.label: problem} if problem else {}
    blocks += [_curve_table(group, pd.DataFrame(curves), choices.points)] if curves else []
    blocks += [_pair_table(group, pd.DataFrame(pairs))] if pairs else []
    blocks += ["Without intervals, which need the images one by one:", problems] if problems else []
    return Section("Bytes", (*blocks, _view_table(group)))


def bits_per_pixel(entry: Entry) -> dict[str, float]:
    """Mean bits per pixel of the encoded views."""
    means = {view: entry.view(view).metrics for view in entry.runs}
    return {view: found["bits_per_pixel"] for view, found in means.items() if "bits_per_pixel" in found}


def _long_curves(entry: Entry) -> dict[str, list[str]]:
    """Its curves of at least two settings."""
    return {name: views for name, views in codec_curves(bits_per_pixel(entry)).items() if len(views) > 1}


def rate_panels(group: Group) -> list[Panel]:
    """A panel per encoder with a line per codec."""
    known, panels = precisions(group), []
    for entry in group.entries:
        bits, views = bits_per_pixel(entry), known[entry.label]
        lines = [
            Line(name, [(bits[view], views[view]) for view in settings])
            for name, settings in codec_curves(bits).items()
        ]
        panels += [Panel(entry.label, lines, original=views[ORIGINAL])] if lines else []
    return panels


def smallest_settings(group: Group, points: float) -> pd.DataFrame:
    """For each encoder the encoded view of the fewest bytes per image whose drop is under a limit; a row each.

    `smallest` is the view and `surely` the one of which the upper end of the drop's interval is under the limit, too;
    missing where there is none. Drops are in percentage points.

    Args:
        group: Where the measurements are.
        points: The limit, in percentage points.
    """
    limit, rows = images_of(points, group.images), []
    for label, cells in group.cells.groupby("label", sort=False):
        cells = cells[(cells["view"] != ORIGINAL) & cells["bits_per_pixel"].notna()].sort_values("encoded_bytes")
        drops = {"smallest": cells["broken"] - cells["repaired"], "surely": (cells["drop_high"] * group.images).round()}
        row: dict[str, Any] = {"label": label, "drop_limit": points}
        for name, images in drops.items():
            kept = cells[(images < limit).to_numpy(bool)]
            cell: Mapping[str, Any] = {} if kept.empty else kept.iloc[0]
            row |= {name: cell.get("view"), f"{name}_bytes": cell.get("encoded_bytes")}
            row |= {f"{name}_bits": cell.get("bits_per_pixel")}
            row |= {
                f"{name}_{end}": 100 * cell[end] if end in cell else None for end in ("drop", "drop_low", "drop_high")
            }
        rows += [row] if len(cells) else []
    return pd.DataFrame(rows)


def answers(group: Group, points: float) -> list[str]:
    """The answer for each encoder in a line, for the screen."""
    setting = "{{{0}}}, {{{0}_bytes:,.0f}} bytes"
    drop = ", drop {smallest_drop:.2f} [{smallest_drop_low:.2f}, {smallest_drop_high:.2f}]"
    lines = []
    for row in smallest_settings(group, points).to_dict("records") if _is_encoded(group) else ():
        line = write(setting.format("smallest") + drop, row) or _NONE
        if line != _NONE and row["smallest"] != row["surely"]:
            line += f"; with the whole interval under it: {write(setting.format('surely'), row) or 'none'}"
        lines.append(f"{row['label']}: {line}")
    return lines


def limit_in_words(points: float) -> str:
    """A limit in words.

    >>> limit_in_words(1), limit_in_words(0.5)
    ('1 point', '0.5 points')
    """
    return f"{points:g} point{'' if points == 1 else 's'}"


def _is_encoded(group: Group) -> bool:
    return any(bits_per_pixel(entry) for entry in group.entries)


def _answer_table(group: Group, points: float) -> Table:
    frame = smallest_settings(group, points)
    columns = [Column("label", "encoder")]
    for name, title in (("smallest", "smallest setting"), ("surely", "surely")):
        columns += [
            Column(name, title, missing=_NONE, bold=partial(_is_there, name)),
            Column(f"{name}_bytes", "bytes", ",.0f", details=(f"{{{name}_bits:.3f}} bits per pixel",)),
            Column(f"{name}_drop", "drop (points)", ".2f", interval=True),
        ]
    note = (
        "Among the settings that were measured; drops in percentage points with the paired bootstrap's 95% interval. "
        "Surely: the whole interval is under the limit, and not the drop alone."
    )
    title = f"Smallest bytes per image with a drop under {limit_in_words(points)}"
    return Table(f"{group.name}-smallest", title, frame, tuple(columns), note=note, data="smallest_settings.csv")


def _is_there(name: str, frame: pd.DataFrame) -> pd.Series:
    return frame[name].notna()


def _resample(entry: Entry, images: int) -> tuple[Sums, str]:
    """Sums of `correct`, `encoded_bytes` and `bits_per_pixel`; and why there are no bootstrap samples, if so."""
    try:
        return _from_images(entry), ""
    except FileNotFoundError:
        problem = "no images.csv beside a result file"
    except (OSError, ValueError) as error:
        problem = " ".join(str(error).split())
    sums = {(view, "correct"): np.array([float(entry.view(view).correct or 0)]) for view in entry.runs}
    for view in bits_per_pixel(entry):
        means = entry.view(view).metrics
        sums |= {(view, name): np.array([means[name] * images]) for name in ("encoded_bytes", "bits_per_pixel")}
    return sums, problem


def _from_images(entry: Entry) -> Sums:
    """Read and resample.

    Raises:
        ValueError: A table is damaged, or two tables are of other images.
        OSError: A table cannot be read.
    """
    tables, prints = {}, set()
    for run in entry.all_runs:
        fingerprint, tables[run.folder.path] = read_columns(run, ("encoded_bytes", "bits_per_pixel"))
        prints.add(fingerprint)
    if len(prints) > 1:
        raise ValueError("its views were measured by several runs, whose images.csv have other indices or labels")
    encoded = bits_per_pixel(entry)
    columns = {
        (view, name): values
        for view, run in entry.runs.items()
        for name, values in tables[run.folder.path][view].items()
        if view in encoded or (view, name) == (ORIGINAL, "correct")
    }
    return dict(zip(columns, resampled_sums(np.stack(list(columns.values()), axis=1)).T, strict=True))


def _log(sums: Sums, name: str, views: Sequence[str], images: int) -> Floats:
    """Logarithm of means, [1 + R, P]."""
    return np.log2(np.stack([sums[view, name] / images for view in views], axis=-1))


def _correct(sums: Sums, views: Sequence[str]) -> Floats:
    """Right images, [1 + R, P]."""
    return np.stack([sums[view, "correct"] for view in views], axis=-1)


def measure_curves(entry: Entry, sums: Sums, images: int, points: float) -> list[dict[str, Any]]:
    """A row per curve of an encoder that has any.

    `mean_precision` is over the logarithm of the bits, on the range that the encoder's curves have in common, NaN where
    they have none; `bytes` per image are those at which the drop reaches the limit: 0 where it is under the limit at
    all settings, infinite where it is not at the largest.

    Args:
        entry: The encoder.
        sums: Of its images.
        images: Number of images.
        points: The drop that is too much, in percentage points.
    """
    curves = _long_curves(entry)
    low, high = common_range([_log(sums, "bits_per_pixel", views, images) for views in curves.values()])
    rows = []
    for name, views in curves.items():
        right = _correct(sums, views)
        mean = mean_on_range(_log(sums, "bits_per_pixel", views, images), right / images, low, high)
        drops = sums[ORIGINAL, "correct"][:, None] - right
        needed = least_x_under(_log(sums, "encoded_bytes", views, images), drops, images_of(points, images))
        row: dict[str, Any] = {
            "encoder": entry.label,
            "codec": name,
            "settings": " ".join(views),
            "drop_points": points,
        }
        rows.append(row | estimate(mean).columns("mean_precision") | estimate(np.exp2(needed)).columns("bytes"))
    return rows


def compare_codecs(entry: Entry, sums: Sums, images: int) -> list[dict[str, Any]]:
    """A row for every two curves of an encoder that share a range of bits.

    `difference` is the mean precision of the first minus that of the second over the logarithm of the bits per pixel
    from `bits_low` to `bits_high`, which both span; its interval is paired.
    """
    rows = []
    for (first, one), (second, other) in combinations(_long_curves(entry).items(), 2):
        x = [_log(sums, "bits_per_pixel", views, images) for views in (one, other)]
        low, high = common_range(x)
        if low[0] < high[0]:
            means = [
                mean_on_range(bits, _correct(sums, views) / images, low, high)
                for bits, views in zip(x, (one, other), strict=True)
            ]
            row: dict[str, Any] = {"encoder": entry.label, "first": first, "second": second}
            row |= {"bits_low": float(np.exp2(low[0])), "bits_high": float(np.exp2(high[0]))}
            rows.append(row | estimate(means[0] - means[1]).columns("difference"))
    return rows


def _curve_table(group: Group, frame: pd.DataFrame, points: float) -> Table:
    note = (
        "Mean precision: area under the curve over the logarithm of the bits per pixel, on the range that all curves "
        "of the encoder have in common, divided by its width; a dash where there is none. Bytes: interpolated "
        f"between settings. Intervals: paired bootstrap at 95% with {IMAGE_RESAMPLES:,} resamples."
    )
    words = {0.0: "below all settings", float("inf"): "above all settings"}
    reached = f"bytes where the drop reaches {limit_in_words(points)}"
    columns = (
        *(Column("encoder"), Column("codec"), Column("settings")),
        Column("mean_precision", "mean precision", ".4f", interval=True),
        Column("bytes", reached, ",.0f", interval=True, words=words),
    )
    title = "Curves of at least two settings"
    return Table(f"{group.name}-rate-curves", title, frame, columns, note=note, data="rate_curves.csv")


def _pair_table(group: Group, frame: pd.DataFrame) -> Table:
    note = (
        "Mean precision of the first minus that of the second, over the logarithm of the bits per pixel that both "
        f"curves span, with the paired bootstrap's 95% interval ({IMAGE_RESAMPLES:,} resamples, not adjusted for the "
        "number of pairs). Bold: the interval excludes 0."
    )
    if len(frame) > _MOST_ROWS:
        note += f" Shown are {_MOST_ROWS} of {len(frame):,} pairs; all are in equal_bits.csv."
    columns = (
        *(Column("encoder"), Column("first"), Column("second")),
        Column("bits_low", "bits per pixel, from", ".2f"),
        Column("bits_high", "to", ".2f"),
        Column("difference", form="+.4f", interval=True, bold=_excludes_zero),
    )
    title = "Codecs at equal bits"
    return Table(f"{group.name}-equal-bits", title, frame, columns, note=note, data="equal_bits.csv", most=_MOST_ROWS)


def _excludes_zero(frame: pd.DataFrame) -> pd.Series:
    return (frame["difference_low"] > 0) | (frame["difference_high"] < 0)


def _view_table(group: Group) -> Table:
    frame = group.cells[group.cells["view"] != ORIGINAL].drop_duplicates("view").sort_values("view")
    columns = (Column("view"), *(metric_column(name) for name in _WEIGHTS if name in frame))
    return Table(f"{group.name}-views", "What the views weigh, and how close they are", frame, columns)
