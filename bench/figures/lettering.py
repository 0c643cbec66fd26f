"""Text in pictures: drawn as it is written, in a font that has its characters, or as codes where none is installed."""

import re
from collections.abc import Iterable
from functools import cache
from typing import Any

FAMILY = "DejaVu Sans"
"""It comes with Matplotlib."""

CJK_FAMILIES = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK TC", "Noto Sans CJK KR", "Noto Sans CJK HK"),
    *("Source Han Sans SC", "Source Han Sans", "Noto Sans SC", "Noto Sans JP", "Noto Sans TC", "Noto Sans KR"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "IPAGothic", "IPAexGothic", "TakaoGothic"),
    *("VL Gothic", "NanumGothic", "UnDotum", "Baekmuk Gulim"),
    *("PingFang SC", "Hiragino Sans", "Heiti TC", "STHeiti", "Apple SD Gothic Neo", "Arial Unicode MS"),
    *("Microsoft YaHei", "SimHei", "Microsoft JhengHei", "Yu Gothic", "Meiryo", "MS Gothic", "Malgun Gothic"),
    *("Unifont", "FreeSans"),
)
"""Families of Linux distributions, macOS and Windows that have Chinese, Japanese or Korean characters."""

_CODE = re.compile(r"\\u[0-9a-f]{4}|\\U[0-9a-f]{8}")


def plain(text: str, most: int = 40) -> str:
    r"""Text of one line that can be drawn: characters without a glyph become codes, and long text loses its end.

    Args:
        text: Any; a dollar sign is no formula, see `finish` in `bench.figures.style`.
        most: Number of characters that are kept.

    >>> plain("tabby\ncat $x$"), plain("12345678", 5)
    ('tabby\\u000acat $x$', '1234…')
    """
    short = text if len(text) <= most else f"{text[: most - 1].rstrip()}\N{HORIZONTAL ELLIPSIS}"
    return "".join(character if _family(character) else _code(character) for character in short)


def families(text: str) -> list[str]:
    """The families that draw a text, which `plain` has gone over: the usual one and those that have what it lacks."""
    used = dict.fromkeys(_family(character) for character in text)
    return list(dict.fromkeys([FAMILY, *(name for name in used if name)]))


def explain_codes(texts: Iterable[str]) -> str:
    """What a caption says about codes in the texts of a picture; empty where there are none."""
    first = next((code for text in texts for code in _CODE.findall(text)), None)
    if first is None:
        return ""
    return (
        f"Codes such as {first}: characters that no font found here has; Noto Sans CJK has the Chinese, Japanese and "
        "Korean ones."
    )


def _code(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"


@cache
def _family(character: str) -> str | None:
    """The first family that has a character; None where none has."""
    return next((name for name in (FAMILY, *_installed()) if ord(character) in _characters(name)), None)


@cache
def _installed() -> tuple[str, ...]:
    from matplotlib.font_manager import fontManager

    known = {font.name for font in fontManager.ttflist}
    return tuple(name for name in CJK_FAMILIES if name in known)


@cache
def _characters(family: str) -> frozenset[int]:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font: Any = get_font(findfont(FontProperties(family=[family])))
    return frozenset(font.get_charmap())
