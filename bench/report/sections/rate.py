"""Precision against bytes: the practitioner's answer, curves, and codecs at equal bits."""

from collections.abc import Mapping, Sequence
from functools import partial

from bench.figures.curves import Line, Panel, rate_curves
from bench.report.elements import MISSING, Block, Cell, Listing, Plot, Section, Table, Text, number
from bench.report.groups import Entry, Group, short
from bench.report.rate_curves import Curve, Difference, compare_codecs, long_curves, measure_curves, smallest
from bench.report.resampling import resample
from bench.report.sections.precision import measured
from bench.statistics.intervals import Interval
from bench.statistics.rate_curves import RESAMPLES, codec_curves
from datamodules.degradations import ORIGINAL

_MOST_ROWS = 120


def rate_section(group: Group, points: float) -> Section | None:
    """What the group's encoders lose at how many bytes; None where no view was encoded.

    Args:
        group: Where the measurements are.
        points: The drop that is too much, in percentage points.
    """
    entries = [entry for entry in group.entries if entry.bits]
    if not entries:
        return None
    blocks: list[Block] = [_answer_table(group, entries, points)]
    if lossy := group.data.get("lossy_source_formats"):
        blocks.insert(0, Text(f"The sources are {short(lossy)} already, so all drops here are biased down."))
    if any(codec_curves(entry.bits) for entry in entries):
        note = "Bands: Wilson's 95% interval. Dashed: the original. The scale of precision does not start at 0."
        draw = partial(rate_curves, [_panel(entry) for entry in entries])
        blocks.append(Plot(f"{group.name}-rate", "Precision against bits per pixel", draw, note))
    curves: list[Curve] = []
    differences: list[Difference] = []
    problems: list[tuple[str, str]] = []
    for entry in filter(long_curves, entries):
        sample = resample(entry)
        curves += measure_curves(entry, sample, points)
        differences += compare_codecs(entry, sample)
        problems += [(entry.label, sample.problem)] if sample.problem else []
    blocks += [_curve_table(group, curves, points)] if curves else []
    blocks += [_difference_table(group, differences)] if differences else []
    if problems:
        blocks += [Text("Without intervals, which need the images one by one:"), Listing(tuple(problems))]
    blocks.append(_view_table(group))
    data = {
        "rate_curves.csv": _curve_data(group, curves, points),
        "equal_bits.csv": _difference_data(group, differences),
    }
    return Section("Bytes", tuple(blocks), {name: rows for name, rows in data.items() if rows})


def _panel(entry: Entry) -> Panel:
    lines = [
        Line(codec, [(entry.bits[view], measured(entry.cells[view])) for view in views])
        for codec, views in codec_curves(entry.bits).items()
    ]
    return Panel(entry.label, lines, original=measured(entry.cells[ORIGINAL]))


def answers(group: Group, points: float) -> list[str]:
    """The answer for each encoder in a line, for the screen."""
    lines = []
    for entry in (entry for entry in group.entries if entry.bits):
        found, sure = (smallest(entry, points, surely=surely) for surely in (False, True))
        line = "none of the settings" if found is None else f"{_setting(entry, found)}, drop {_drop(entry, found)}"
        if found is not None and sure != found:
            line += f"; with the whole interval under it: {'none' if sure is None else _setting(entry, sure)}"
        lines.append(f"{entry.label}: {line}")
    return lines


def limit(points: float) -> str:
    """A limit in words.

    >>> limit(1), limit(0.5)
    ('1 point', '0.5 points')
    """
    return f"{points:g} point{'' if points == 1 else 's'}"


def _setting(entry: Entry, view: str) -> str:
    return f"{view}, {entry.cells[view].result.means['encoded_bytes']:,.0f} bytes"


def _drop(entry: Entry, view: str) -> str:
    cell = entry.cells[view]
    return f"{number(100 * cell.drop, 2)} {_ends(cell.drop_interval, 2, 100)}"


def _ends(interval: Interval, digits: int, factor: float = 1) -> str:
    return f"[{number(factor * interval.low, digits)}, {number(factor * interval.high, digits)}]"


def _answer_table(group: Group, entries: Sequence[Entry], points: float) -> Table:
    def cells(entry: Entry, view: str | None) -> tuple[Cell, Cell, Cell]:
        if view is None:
            return Cell("none of the settings"), Cell(MISSING), Cell(MISSING)
        means, bits = entry.cells[view].result.means, entry.bits[view]
        size = means["encoded_bytes"]
        return (
            Cell(view, strong=True),
            Cell(f"{size:,.0f}", (f"{number(bits, 3)} bits per pixel",), size),
            Cell(number(100 * entry.cells[view].drop, 2), (_ends(entry.cells[view].drop_interval, 2, 100),)),
        )

    found = [(one, [smallest(one, points, surely=surely) for surely in (False, True)]) for one in entries]
    rows = tuple((Cell(one.label), *(cell for view in views for cell in cells(one, view))) for one, views in found)
    header = ("encoder", "smallest setting", "bytes", "drop", "surely", "bytes", "drop")
    note = (
        "Among the settings that were measured; drops in percentage points with the paired bootstrap's 95% interval. "
        "Surely: the whole interval is under the limit, and not the drop alone."
    )
    return Table(
        f"{group.name}-smallest", f"Smallest bytes per image with a drop under {limit(points)}", header, rows, note
    )


def _curve_table(group: Group, curves: Sequence[Curve], points: float) -> Table:
    rows = tuple(
        (
            Cell(one.encoder),
            Cell(one.name),
            Cell(f"{one.settings[0]} to {one.settings[-1]}"),
            Cell(number(one.mean), (_ends(one.mean_interval, 4),), one.mean),
            _needed(one),
        )
        for one in curves
    )
    note = (
        "Mean precision: area under the curve over the logarithm of the bits per pixel, on the range that all curves "
        "of the encoder have in common, divided by its width; a dash where there is none. Bytes: interpolated "
        f"between settings. Intervals: paired bootstrap at 95% with {RESAMPLES:,} resamples."
    )
    header = ("encoder", "codec", "settings", "mean precision", f"bytes where the drop reaches {limit(points)}")
    return Table(f"{group.name}-rate-curves", "Curves of at least two settings", header, rows, note)


def _needed(curve: Curve) -> Cell:
    """Bytes, or on which side of the settings they lie."""

    def text(size: float) -> str:
        if size == 0:
            return "below all settings"
        return "above all settings" if size == float("inf") else f"{size:,.0f}" if size == size else MISSING

    ends = curve.needed_interval
    return Cell(text(curve.needed), (f"[{text(ends.low)}, {text(ends.high)}]",), curve.needed)


def _difference_table(group: Group, differences: Sequence[Difference]) -> Table:
    rows = tuple(
        (
            Cell(one.encoder),
            Cell(one.first),
            Cell(one.second),
            Cell(f"{number(one.bits.low, 2)} to {number(one.bits.high, 2)}"),
            Cell(
                number(one.value, signed=True),
                (_ends(one.interval, 4),),
                one.value,
                strong=one.interval.low > 0 or one.interval.high < 0,
            ),
        )
        for one in differences[:_MOST_ROWS]
    )
    note = (
        "Mean precision of the first minus that of the second, over the logarithm of the bits per pixel that both "
        f"curves span, with the paired bootstrap's 95% interval ({RESAMPLES:,} resamples, not adjusted for the number "
        "of pairs). Bold: the interval excludes 0."
    )
    if len(differences) > _MOST_ROWS:
        note += f" Shown are {_MOST_ROWS} of {len(differences):,} pairs; all are in equal_bits.csv."
    header = ("encoder", "first", "second", "bits per pixel", "difference")
    return Table(f"{group.name}-equal-bits", "Codecs at equal bits", header, rows, note)


def _view_table(group: Group) -> Table:
    names = {"encoded_bytes": 0, "bits_per_pixel": 3, "psnr": 2, "ssim": 4}
    rows = []
    for view in group.degraded:
        means = next(one.cells[view].result.means for one in group.entries if view in one.cells)
        values = [(means.get(name, float("nan")), digits) for name, digits in names.items()]
        rows.append((Cell(view), *(Cell(number(value, digits), value=value) for value, digits in values)))
    header = ("view", "bytes per image", "bits per pixel", "PSNR (dB)", "SSIM")
    return Table(f"{group.name}-views", "What the views weigh, and how close they are", header, tuple(rows))


def _curve_data(group: Group, curves: Sequence[Curve], points: float) -> tuple[Mapping[str, object], ...]:
    return tuple(
        {
            "group": group.name,
            "encoder": one.encoder,
            "codec": one.name,
            "settings": " ".join(one.settings),
            "mean_precision": one.mean,
            "mean_precision_low": one.mean_interval.low,
            "mean_precision_high": one.mean_interval.high,
            "drop_points": points,
            "bytes": one.needed,
            "bytes_low": one.needed_interval.low,
            "bytes_high": one.needed_interval.high,
        }
        for one in curves
    )


def _difference_data(group: Group, differences: Sequence[Difference]) -> tuple[Mapping[str, object], ...]:
    return tuple(
        {
            "group": group.name,
            "encoder": one.encoder,
            "first": one.first,
            "second": one.second,
            "bits_low": one.bits.low,
            "bits_high": one.bits.high,
            "difference": one.value,
            "difference_low": one.interval.low,
            "difference_high": one.interval.high,
        }
        for one in differences
    )
