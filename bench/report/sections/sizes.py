"""Precision against bytes: the practitioner's answer, curves, and codecs two by two."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from bench.figures.curves import Line, Panel, rate_curves
from bench.figures.style import codec_looks, look
from bench.metrics import METRICS, NOISE
from bench.report.answers import Answer, Setting, answers_of, limit_in_words, percent_saved
from bench.report.document import Block, Plot, Section
from bench.report.groups import Entry, Group
from bench.report.inputs import Choices
from bench.report.rates import CodecCurve, CodecPair, bits_per_pixel, measure_rates
from bench.report.sections.precision import precisions
from bench.report.size_findings import size_findings
from bench.report.tables import Column, Table, listed, metric_column, short
from bench.statistics.bootstrap import IMAGE_RESAMPLES
from bench.statistics.rate_curves import codec_curves, setting
from datamodules.degradations import ORIGINAL

_MOST_ROWS = 120
_MOST_NAMES = 12
_WEIGHTS = ("encoded_bytes", "bits_per_pixel", "psnr", "ssim")
_NOISY = tuple(metric.name for metric in METRICS if metric.noisy)


def section(group: Group, choices: Choices) -> Section | None:
    """What the group's encoders lose at how many bytes; None where no view was encoded."""
    entries = [entry for entry in group.entries if bits_per_pixel(entry)]
    if not entries:
        return None
    found = answers_of(group, choices.points)
    blocks: list[Block] = []
    if lossy := group.data.lossy_source_formats:
        blocks.append(f"The sources are {short(lossy)} already, so drops here are biased, mostly down.")
    if remarks := {answer.label: f"{answer.remark}." for answer in found if answer.near_chance}:
        blocks += ["Read this first:", remarks]
    blocks.append(_answer_table(group, found, choices.points))
    if unsure := {answer.label: f"{answer.certainty}." for answer in found if answer.smallest and not answer.surely}:
        blocks += ["Where no setting is surely under the limit:", unsure]
    if panels := rate_panels(group):
        note = (
            "Bars: Wilson's 95% intervals, pointwise; beside each point the setting. Dotted: the original. The scale "
            "of precision does not start at 0."
        )
        blocks.append(
            Plot(f"{group.name}-rate", "Precision against bits per pixel", partial(rate_curves, panels), note)
        )
    curves, pairs, problems = measure_rates(entries, group.images, choices.points)
    blocks += [_curve_table(group, curves, choices.points)] if curves else []
    blocks += [_pair_table(group, pairs)] if pairs else []
    blocks += ["Without intervals, which need the images one by one:", problems] if problems else []
    return Section("Bytes", (*blocks, _view_table(group)), tuple(size_findings(found, pairs)))


def rate_panels(group: Group) -> list[Panel]:
    """A panel per encoder with a line per codec; where there is one codec only, one panel with a line per encoder."""
    known = precisions(group)
    found = [(entry, codec_curves(bits_per_pixel(entry))) for entry in group.entries]
    codecs = {codec for _, curves in found for codec in curves}

    def line(entry: Entry, label: str, settings: Sequence[str], style: Mapping[str, Any]) -> Line:
        bits, views = bits_per_pixel(entry), known[entry.label]
        return Line(label, [(bits[view], replace(views[view], name=setting(view))) for view in settings], look=style)

    if len(codecs) == 1 < len(group.entries):
        lines = [
            line(entry, entry.label, settings, look(group.places[entry.label]))
            for entry, curves in found
            for settings in curves.values()
        ]
        return [Panel(codecs.pop(), lines)]
    panels = []
    for entry, curves in found:
        looks = codec_looks(list(curves), group.places[entry.label])
        lines = [line(entry, codec, settings, looks[codec]) for codec, settings in curves.items()]
        panels += [Panel(entry.label, lines, original=known[entry.label][ORIGINAL])] if lines else []
    return panels


def _answer_table(group: Group, found: Sequence[Answer], points: float) -> Table:
    columns = [Column("label", "encoder"), Column("images", form=",.0f")]
    bits, saved = "{{{0}_bits:.3f}} bits per pixel", "{{{0}_saved:.0f}}% saved"
    for name, title in (("smallest", "smallest setting"), ("surely", "surely")):
        columns += [
            Column(name, title, missing="none", bold=partial(_is_there, name)),
            Column(f"{name}_bytes", "bytes", ",.0f", details=(bits.format(name), saved.format(name))),
            Column(f"{name}_drop_points", "drop (points)", ".2f", interval=True),
        ]
    note = (
        "Among the settings that were measured; drops in percentage points with Tango's 95% interval, pointwise. "
        "Surely: shown by exact tests to be under the limit, jointly for all settings of an encoder with a chance of "
        "2.5% to be wrong about any; pointwise over encoders."
    )
    if without := [answer.label for answer in found if answer.smallest is None]:
        names = f"all {len(found)}" if len(without) == len(found) else listed(without, _MOST_NAMES)
        note += f" Encoders of which no setting that was measured is: {names}."
    title = f"Smallest bytes per image with a drop under {limit_in_words(points)}"
    frame = pd.DataFrame([_answer_row(answer) for answer in found]).astype({"images_needed": "Int64"})
    return Table(
        f"{group.name}-smallest", title, frame, tuple(columns), note=note, data="smallest_settings.csv",
        where=partial(_is_there, "smallest"),
    )  # fmt: skip


def _answer_row(answer: Answer) -> dict[str, Any]:
    row: dict[str, Any] = {"label": answer.label, "images": answer.images, "limit_points": answer.limit}
    row |= answer.original.columns("original_precision")
    row |= {"chance": answer.chance, "near_chance": answer.near_chance}
    row |= _setting_columns("smallest", answer.smallest) | _setting_columns("surely", answer.surely)
    return row | {"surely_all": " ".join(answer.shown), "images_needed": answer.images_needed}


def _setting_columns(name: str, setting: Setting | None) -> dict[str, Any]:
    if setting is None:
        empty = ("bytes", "bits", "saved", "drop_points", "drop_points_low", "drop_points_high")
        return {name: None, **dict.fromkeys((f"{name}_{column}" for column in empty), float("nan"))}
    row = {name: setting.view, f"{name}_bytes": setting.encoded_bytes, f"{name}_bits": setting.bits_per_pixel}
    row[f"{name}_saved"] = float("nan") if setting.saved is None else setting.saved
    return row | setting.drop_points.columns(f"{name}_drop_points")


def _is_there(name: str, frame: pd.DataFrame) -> pd.Series:
    return frame[name].notna()


def _curve_table(group: Group, curves: Sequence[CodecCurve], points: float) -> Table:
    rows = [
        {"encoder": curve.encoder, "codec": curve.codec, "settings": " ".join(curve.views), "limit_points": points}
        | curve.mean_precision.columns("mean_precision")
        | curve.encoded_bytes.columns("bytes")
        for curve in curves
    ]
    note = (
        "Mean precision: area under the curve over the logarithm of the bits per pixel, on the range that all curves "
        "of the encoder have in common, divided by its width, with the paired bootstrap's 95% interval "
        f"({IMAGE_RESAMPLES:,} resamples); a dash where there is none. Bytes: interpolated between settings; their 95% "
        "interval is where the intervals of the drops reach the limit. All intervals are pointwise."
    )
    words = {0.0: "below all settings", float("inf"): "above all settings"}
    reached = f"bytes where the drop reaches {limit_in_words(points)}"
    columns = (
        *(Column("encoder"), Column("codec"), Column("settings")),
        Column("mean_precision", "mean precision", ".4f", interval=True),
        Column("bytes", reached, ",.0f", interval=True, words=words),
    )
    title = "Curves of at least two settings"
    return Table(f"{group.name}-rate-curves", title, pd.DataFrame(rows), columns, note=note, data="rate_curves.csv")


def _pair_table(group: Group, pairs: Sequence[CodecPair]) -> Table:
    rows = [
        {"encoder": pair.encoder, "first": pair.first, "second": pair.second}
        | {"bits_low": pair.bits.low, "bits_high": pair.bits.high}
        | pair.difference.columns("difference_points")
        | pair.rate.columns("rate_percent")
        | {"not_at_equal_bits": pair.not_at_equal_bits or None}
        | {"not_at_equal_precision": pair.not_at_equal_precision or None}
        for pair in pairs
    ]
    note = (
        "At equal bits: mean precision of the first minus that of the second in percentage points, over the logarithm "
        "of the bits per pixel that both span, with the paired bootstrap's 95% interval, joint for all differences of "
        f"this table ({IMAGE_RESAMPLES:,} resamples). Bold: the interval excludes 0. At "
        "equal precision: percent of bytes that the first needs more than the second (Bjøntegaard's rate), with the "
        "paired bootstrap's 95% interval, pointwise."
    )
    if len(rows) > _MOST_ROWS:
        note += f" Shown are {_MOST_ROWS} of {len(rows):,} pairs; all are in codec_pairs.csv."
    columns = (
        *(Column("encoder"), Column("first"), Column("second")),
        Column("bits_low", "bits per pixel, from", ".2f"),
        Column("bits_high", "to", ".2f"),
        Column(
            "difference_points",
            "precision at equal bits (points)",
            "+.2f",
            interval=True,
            details=("{not_at_equal_bits}",),
            bold=_excludes_zero,
        ),
        Column(
            "rate_percent",
            "bytes at equal precision (%)",
            "+.1f",
            interval=True,
            details=("{not_at_equal_precision}",),
        ),
    )
    title, frame = "Codecs at equal bits and at equal precision", pd.DataFrame(rows)
    name = f"{group.name}-codec-pairs"
    return Table(name, title, frame, columns, note=note, data="codec_pairs.csv", most=_MOST_ROWS)


def _excludes_zero(frame: pd.DataFrame) -> pd.Series:
    return (frame["difference_points_low"] > 0) | (frame["difference_points_high"] < 0)


def _view_table(group: Group) -> Table:
    cells = group.cells
    noisy = [name for name in _NOISY if name in cells]
    of_a_view = cells.groupby("view", observed=True)
    cells = cells.assign(**{name: of_a_view[name].transform("median") for name in noisy})  # all else is equal in runs
    frame = cells.drop_duplicates("view").sort_values("view")
    frame = frame[(frame["view"] != ORIGINAL) | frame["encoded_bytes"].notna()]
    columns = [Column("view"), *(metric_column(name) for name in (*_WEIGHTS, *noisy) if name in frame)]
    notes = [NOISE] if noisy else []
    if noisy and len(group.entries) > 1:
        notes.append("Of a view that several runs measured the median of theirs stands here.")
    own = frame.loc[frame["view"] == ORIGINAL, "encoded_bytes"]
    if len(own):
        frame = frame.assign(saved_percent=[percent_saved(size, own.iloc[0]) for size in frame["encoded_bytes"]])
        columns.insert(2, Column("saved_percent", "saved (%)", ".1f"))
        notes.append("Saved: percent that the files of a view are smaller by, on average, than the originals' own.")
    title = "What the views weigh, and how close they are"
    return Table(f"{group.name}-views", title, frame, tuple(columns), note=" ".join(notes))
