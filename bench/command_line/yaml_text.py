"""YAML that was measured before it is parsed: size, depth and what its aliases stand for are bounded."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from datamodules.errors import UserError

LARGEST = 1_000_000  # characters
_DEEPEST = 64  # levels of brackets or indentation
_MOST = 200_000  # values, each alias counted as what it stands for
_LONGEST_NUMBER = 300  # digits; Python converts no integer of more than 4,300


def check(text: str, name: str) -> None:
    """Refuse a YAML text that would take a parser's stack, memory or time.

    A text that is no YAML passes: the parser says where it is wrong.

    Args:
        text: YAML.
        name: What the message calls it.

    Raises:
        UserError: It is too long, nested too deeply, its aliases multiply, or it has an integer of very many digits.
    """
    if len(text) > LARGEST:
        raise UserError(f"{name} has {len(text):,} characters: a configuration has at most {LARGEST:,}")
    try:
        _check_events(text, name)
    except (yaml.YAMLError, ValueError):  # a value error: a character or an escape that there is not
        return


def _check_events(text: str, name: str) -> None:
    sizes: dict[str, int] = {}  # values that an anchor stands for; none while it is open
    counts = [0]  # values of each open collection
    anchors: list[str | None] = []
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionEndEvent):
            size = counts.pop() + 1
            counts[-1] += size
            if anchor := anchors.pop():
                sizes[anchor] = size
        elif isinstance(event, yaml.CollectionStartEvent):
            counts.append(0)
            anchors.append(event.anchor)
            if len(anchors) > _DEEPEST:
                raise UserError(f"{name} is nested more than {_DEEPEST} levels deep: write it with fewer")
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in anchors:
                raise UserError(f"{name}: *{event.anchor} stands for something that holds itself: write it out")
            counts[-1] += sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.ScalarEvent):
            counts[-1] += 1
            if event.anchor:
                sizes[event.anchor] = 1
            plain = event.implicit[0] and len(event.value) > _LONGEST_NUMBER
            if plain and Counter(map(str.isdigit, event.value))[True] > _LONGEST_NUMBER and _is_number(event.value):
                raise UserError(f"{name} has a number of {len(event.value):,} characters: write a shorter one")
        if sum(counts) > _MOST:
            raise UserError(f"{name} stands for more than {_MOST:,} values once its aliases are written out")


def _is_number(text: str) -> bool:
    return not text.strip("+-0123456789_.eExXabcdfABCDF:o")


def bounded(load: Callable[[str], Any]) -> Callable[[str], Any]:
    """A loader of YAML that refuses what `check` refuses."""

    def checked(text: str) -> Any:
        check(text, "a value" if "\n" not in text else "a configuration")
        return load(text)

    return checked


def read_yaml(file: Path) -> dict[str, Any]:
    """Read the mapping that a YAML file holds.

    Raises:
        UserError: It is missing, damaged, out of bounds, or no mapping.
    """
    if not file.is_file():  # a device would never end
        raise UserError(f"{str(file)!r} is no file: give a YAML file")
    try:
        with file.open("rb") as stream:
            text = stream.read(4 * LARGEST + 1).decode("utf-8")
        check(text, repr(str(file)))
        content = yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"{str(file)!r} cannot be read ({' '.join(str(reason).split())}): give a YAML file") from error
    if not isinstance(content, dict):
        raise UserError(f"{str(file)!r} is no mapping of options: give a YAML file with some")
    return content


def read_value(text: str, name: str) -> Any:
    """A value as it was typed, read as YAML.

    Raises:
        UserError: It is damaged or out of bounds.
    """
    check(text, name)
    try:
        return yaml.safe_load(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f"{name} cannot be read ({' '.join(str(error).split())}): quote it") from error


def read_options(words: Sequence[str], key: Callable[[str, str], str]) -> dict[str, Any]:
    """Options as they were typed, `--a.b value` or `--a.b=value`, their values read as YAML.

    Args:
        words: Of the command line.
        key: Is given a word and the part of it in front of "=", and says under which key the value is returned, or
            raises what it has against it.

    Raises:
        UserError: A value is missing, damaged or out of bounds.

    >>> read_options(["--a.b=3", "--a.c", "[x, 1]"], lambda word, name: name.removeprefix("--a."))
    {'b': 3, 'c': ['x', 1]}
    """
    options: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        name, equals, text = word.partition("=")
        place = key(word, name)
        value = text if equals else next(rest, None)
        if value is None:
            raise UserError(f"{word} needs a value")
        options[place] = read_value(value, f"the value of {word}")
    return options
