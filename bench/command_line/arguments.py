"""Kinds of arguments of this project's own commands, for argparse, which says what a kind is called."""

import argparse
import re


def whole(text: str) -> int:
    """A whole number from 0.

    Raises:
        ArgumentTypeError: It is none.

    >>> whole("12")
    12
    """
    if re.fullmatch("[0-9]{1,9}", text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number: give one from 0")
    return int(text)


def count(text: str) -> int:
    """A whole number from 1.

    Raises:
        ArgumentTypeError: It is none.

    >>> count("12")
    12
    """
    if re.fullmatch("[0-9]{1,9}", text) is None or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1: give one")
    return int(text)
