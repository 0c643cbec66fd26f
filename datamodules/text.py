"""Texts from outside, such as file names and class names, made fit for a line on a screen or a page."""

import re

_UNPRINTABLE = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # control characters, with the escape that colours terminals and its 8-bit form
    "\u2028\u2029"  # line and paragraph separators
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional marks, which reorder what stands around them
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # marks and tags that no font shows
    "\ud800-\udfff"  # lone surrogates, which stand for bytes that are no UTF-8 and cannot be written
    "]"
)


def printable(text: str) -> str:
    r"""A text in which every character shows: control characters, bidirectional marks and their like become escapes.

    >>> printable("caf\u00e9 \x1b[31m\u202egnp.exe\n")
    'café \\x1b[31m\\u202egnp.exe\\n'
    """
    return _UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], text)
