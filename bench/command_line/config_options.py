"""Options of a configuration by their dotted names."""

import copy
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.command_line.configs import CONFIG_OPTIONS, is_written_out, read_config
from bench.command_line.signatures import describe, names
from bench.command_line.yaml_text import read_options, read_value
from datamodules.errors import UserError

_CALLBACKS = "--trainer.callbacks"


def with_options(config: Mapping[str, Any], options: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A configuration in which some options are set as the command line would set them; the given one stays as it is.

    Args:
        config: As it is read.
        options: By dotted name, without the `init_args` of configurations; below a list of callbacks, of the last one
            that takes such an option.
        name: Of the configuration, for messages.

    Raises:
        UserError: An option lies below something that has none.

    >>> with_options({"model": {"init_args": {"encoder": "RN50"}}}, {"model.encoder": "RN101"}, "x.yaml")
    {'model': {'init_args': {'encoder': 'RN101'}}}
    """
    changed = copy.deepcopy(dict(config))
    for key, value in options.items():
        inner, last = changed, key.rpartition(".")[2]
        for part, following in pairwise(key.split(".")):
            found = inner.setdefault(part, {})
            if isinstance(found, list) and (place := taker(found, following)) is not None:
                found[place] = found = {"class_path": _class_path(found[place]), **as_mapping(found[place])}
            if not isinstance(found, dict):
                raise UserError(f"option {key} cannot be set: {part} is no group of options in {name}")
            if "class_path" in found:
                found["init_args"] = found.get("init_args") or {}
            inner = found.get("init_args", found)
        inner[last] = value
    return changed


def taker(callbacks: Sequence[Any], option: str) -> int | None:
    """The place of the last callback of a list that takes an option; None if none of this project does.

    >>> taker([{"class_path": "callbacks.ResultsWriter"}, "callbacks.TensorBoardReport"], "table")
    0
    """
    described = [describe(_class_path(callback)) for callback in callbacks]
    return next((place for place in reversed(range(len(callbacks))) if option in names([described[place]])), None)


def callback_arguments(config: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """What a configuration tells a callback, to be read or changed; None where it has no such callback.

    >>> callback_arguments({"trainer": {"callbacks": [{"class_path": "callbacks.A", "init_args": {"n": 1}}]}}, "A")
    {'n': 1}
    """
    callbacks = as_mapping(config.get("trainer")).get("callbacks")
    for callback in callbacks if isinstance(callbacks, list) else []:
        if isinstance(callback, dict) and str(callback.get("class_path")).rpartition(".")[2] == name:
            callback["init_args"] = callback.get("init_args") or {}
            return as_mapping(callback["init_args"])
    return None


def reaching_callbacks(words: Sequence[str]) -> list[str]:
    """A command line whose options of callbacks reach the last that takes them, wherever a configuration lists it.

    The parser sets them in the last of the list, whether that takes them or not: so the list is given anew, after the
    configurations.

    Args:
        words: With files in place of names of configurations. Where they list callbacks themselves, they stay.

    Raises:
        UserError: A configuration or a value cannot be read.
    """
    named = {word.partition("=")[0] for word in words}
    if named & {_CALLBACKS, f"{_CALLBACKS}+"} or not any(name.startswith(f"{_CALLBACKS}.") for name in named):
        return list(words)
    callbacks, place = _configured_callbacks(words)
    kept: list[str] = []
    moved: list[str] = []
    rest = iter(words)
    for word in rest:
        option, equals, _ = word.partition("=")
        name = option.removeprefix(f"{_CALLBACKS}.").partition(".")[0]
        takes = taker(callbacks, name) if option.startswith(f"{_CALLBACKS}.") else None
        elsewhere = takes is not None and takes < len(callbacks) - 1
        (moved if elsewhere else kept).append(word)
        if elsewhere and not equals:
            moved += [value for value in (next(rest, None),) if value is not None]
    if not moved:
        return list(words)
    options = read_options(moved, lambda word, option: option.removeprefix("--"))
    config = with_options({"trainer": {"callbacks": callbacks}}, options, "the configuration")
    return [*kept[:place], f"{_CALLBACKS}={json.dumps(config['trainer']['callbacks'])}", *kept[place:]]


def _configured_callbacks(words: Sequence[str]) -> tuple[list[Any], int]:
    """Those of the last configuration that lists some, and the place in the command line behind all of them."""
    callbacks: list[Any] = []
    place = 0
    for position, (word, following) in enumerate(zip(words, [*words[1:], ""], strict=True)):
        option, equals, value = word.partition("=")
        if option in CONFIG_OPTIONS:
            place = position + (1 if equals else 2)
            given = value if equals else following
            content = read_value(given, "a configuration") if is_written_out(given) else read_config(Path(given))
            listed = as_mapping(as_mapping(content).get("trainer")).get("callbacks")
            callbacks = listed if isinstance(listed, list) else callbacks
    return callbacks, place


def _class_path(callback: Any) -> str:
    return str(as_mapping(callback).get("class_path", callback))


def as_mapping(value: Any) -> dict[str, Any]:
    """A part of a configuration as a group of options, of which anything else has none."""
    return value if isinstance(value, dict) else {}
