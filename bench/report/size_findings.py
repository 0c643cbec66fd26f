"""What a page opens with about bytes: the smallest setting that will do, how sure that is, and codecs that differ."""

from collections.abc import Sequence

from bench.report.answers import Answer, Setting, limit_in_words
from bench.report.rates import CodecPair
from bench.report.tables import listed, number
from bench.statistics.intervals import Estimate

_MOST_NAMES = 4
_MOST_PAIRS = 3
_RISK = "2.5% risk of error"


def size_findings(answers: Sequence[Answer], pairs: Sequence[CodecPair]) -> tuple[str, ...]:
    """Sentences, the most important first.

    Args:
        answers: Of a group's encoders.
        pairs: Of their codecs.
    """
    alike: dict[tuple[str, str, bool], list[Answer]] = {}
    for answer in answers:
        views = (answer.smallest.view if answer.smallest else "", answer.surely.view if answer.surely else "")
        alike.setdefault((*views, answer.near_chance), []).append(answer)
    sentences = [_answer(same, len(answers)) for same in alike.values()]
    telling = [pair for pair in pairs if _excludes_zero(pair.difference)]
    if telling:
        telling.sort(key=lambda pair: -abs(pair.difference.value))
        parts = [_difference(pair) for pair in telling[:_MOST_PAIRS]]
        joint = " (these intervals hold jointly)" if len(parts) > 1 else ""
        sentences.append(f"At equal bits {listed(parts, _MOST_PAIRS)}{joint}.")
    saving = [pair for pair in pairs if _excludes_zero(pair.rate)]
    if saving:
        saving.sort(key=lambda pair: -abs(pair.rate.value))
        parts = [_saving(pair) for pair in saving[:_MOST_PAIRS]]
        alone = " (each interval by itself)" if len(saving) > 1 else ""
        sentences.append(f"At equal precision {listed(parts, _MOST_PAIRS)}{alone}.")
    return tuple(sentences)


def _answer(same: Sequence[Answer], encoders: int) -> str:
    """Of those of a number of encoders that have the same smallest setting and the same sure one."""
    first, limit = same[0], limit_in_words(same[0].limit)
    names, risk = listed([answer.label for answer in same], _MOST_NAMES), _RISK
    if encoders > 1:
        risk += " for each encoder"
    if len(same) == encoders > 2:
        names = f"all {encoders} encoders"
    before = ""
    if first.near_chance:
        before = f"{names}: {first.remark}. " if len(same) == 1 else f"{names}: near chance, so no drop says anything. "
    if first.smallest is None:
        return f"{before}For {names} no measured setting has a drop under {limit}."
    text = f"For {names} the fewest bytes with a measured drop under {limit} are those of {_size(first.smallest)}"
    if len(same) == 1:
        drop = first.smallest.drop_points
        low, high = (number(end, ".2f") for end in (drop.interval.low, drop.interval.high))
        text += f", which drops by {number(drop.value, '.2f')} points [{low}, {high}]"
    if first.surely is not None and first.surely.view == first.smallest.view:
        return f"{before}{text}; that it stays under {limit} is shown ({risk})."
    if first.surely is not None:
        return f"{before}{text}. Shown to stay under {limit} ({risk}): {_size(first.surely)}, and nothing smaller."
    return f"{before}{text}; {first.certainty if len(same) == 1 else 'that it stays so is shown for none'}."


def _size(setting: Setting) -> str:
    saved = "" if setting.saved is None else f", {setting.saved:.0f}% less than the original files"
    return f"{setting.view} ({setting.encoded_bytes:,.0f} bytes per image{saved})"


def _excludes_zero(estimate: Estimate) -> bool:
    return estimate.interval.low > 0 or estimate.interval.high < 0


def _difference(pair: CodecPair) -> str:
    """Which codec is better by how much."""
    value, ends = pair.difference.value, (pair.difference.interval.low, pair.difference.interval.high)
    better, worse = (pair.first, pair.second) if value > 0 else (pair.second, pair.first)
    low, high = sorted(map(abs, ends))
    return f"{better} keeps {abs(value):.1f} points [{low:.1f}, {high:.1f}] more than {worse} ({pair.encoder})"


def _saving(pair: CodecPair) -> str:
    """Which codec needs fewer bytes by how much; percents of the other one's bytes."""
    value, low, high = pair.rate.value, pair.rate.interval.low, pair.rate.interval.high
    fewer, more = pair.first, pair.second
    if value > 0:  # that the first needs more is turned round: 1 / (1 + rate) - 1
        fewer, more = more, fewer
        value, low, high = (100 * (1 / (1 + percent / 100) - 1) for percent in (value, high, low))
    return f"{fewer} needs {-value:.0f}% [{-high:.0f}, {-low:.0f}] fewer bytes than {more} ({pair.encoder})"
