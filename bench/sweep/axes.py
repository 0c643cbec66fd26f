"""The axes of a grid: values with labels that are names of folders, and the options that each value sets."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.sweep.cells import TunedWeights, as_argument
from datamodules.errors import UserError

CONFIG_KEY = "config"
_PLACE = ("trainer", "trainer.logger", "trainer.default_root_dir")
"""Options that say where a run writes, which is the sweep's to say; and so is all below the second."""
_NAME = re.compile(r"[A-Za-z_][\w.]*\+?")
_LONGEST_LABEL = 100  # characters; it is the name of a folder
_LONGEST_VALUE = 100_000  # characters; Linux passes a program no argument of more than 128 KiB


@dataclass(frozen=True)
class AxisValue:
    """One value of an axis.

    Attributes:
        labels: Usually one, by the last part of the axis' name; what other cells leave has all of theirs.
        options: What it sets, by dotted option name.
        weights: What other cells leave for it.
        found: As for `bench.sweep.cells.Cell`.
    """

    labels: Mapping[str, str]
    options: Mapping[str, Any]
    weights: tuple[TunedWeights, ...] = ()
    found: Mapping[str, str] = field(default_factory=dict)


def short(axis: str) -> str:
    """What labels call an axis: the last part of its name.

    >>> short("model.encoder"), short("seed_everything,data.seed")
    ('encoder', 'seed')
    """
    return axis.rpartition(",")[2].rpartition(".")[2].strip()


def axis_values(file: Path, axis: str, values: Any) -> list[AxisValue]:
    """The values of an axis: a list of values of the options that it is named after, or options by label.

    Raises:
        UserError: They are neither, or two have one label.
    """
    if isinstance(values, dict) and values and all(isinstance(options, dict) for options in values.values()):
        labelled = {label_of(axis, label): options for label, options in values.items()}
    elif isinstance(values, list) and values:
        labelled = {label_of(axis, value): {name.strip(): value for name in axis.split(",")} for value in values}
    else:
        raise UserError(f"{file}: axis {axis!r} has to be a list of values, or options by label")
    for options in labelled.values():
        check_options(file, options)
    if len(labelled) != len(values):
        raise UserError(f"{file}: two values of axis {axis!r} have one label: give labels of their own")
    return [AxisValue({short(axis): label}, options) for label, options in labelled.items()]


def option_name(file: Path, option: Any) -> str:
    """The name of an axis or an option.

    Raises:
        UserError: It is none.
    """
    if not _NAME.fullmatch(str(option)):
        raise UserError(f"{file}: {str(option)[:100]!r} is no name of an axis or an option: write one like data.limit")
    return str(option)


def check_options(file: Path, options: Mapping[Any, Any]) -> None:
    """Refuse options that no command takes, or that would put a cell's results elsewhere.

    Raises:
        UserError: There is one.
    """
    for key, value in options.items():
        name = option_name(file, key)
        if name in _PLACE or name.startswith("trainer.logger."):
            raise UserError(f"{file}: option {name} says where a cell writes: leave it out, `output` and the axes do")
        text = as_argument(value)
        if "\0" in text:
            raise UserError(f"{file}: the value of {name} holds a NUL character: leave it out")
        if len(text) > _LONGEST_VALUE:
            raise UserError(
                f"{file}: the value of {name} has {len(text):,} characters: keep it below {_LONGEST_VALUE:,}"
            )


def label_of(axis: str, value: Any) -> str:
    """A folder's name for a value.

    >>> label_of("model.encoder", "ViT-L/14@336px"), label_of("seed_everything", 0), label_of("config", "a/stl10.yaml")
    ('ViT-L-14@336px', 'seed_everything-0', 'stl10')

    Raises:
        UserError: It would be too long.
    """
    text = str(value)
    if axis == CONFIG_KEY or text.endswith((".yaml", ".json", ".safetensors", ".pt")):
        text = Path(text).stem
    text = re.sub(r"[^\w.+@-]+", "-", text).strip("-.")
    label = text if isinstance(value, str) and text else f"{short(axis)}-{text}"
    if len(label) > _LONGEST_LABEL:
        raise UserError(f"axis {axis!r}: {label[:40]}... is too long for the name of a folder: give its values labels")
    return label


def agrees(labels: Mapping[str, str], entry: Mapping[str, Sequence[str]]) -> bool:
    """Whether every axis of an entry has one of the labels that are listed there.

    >>> agrees({"method": "linear", "seed": "seed-0"}, {"method": ["linear", "both"]})
    True
    """
    return all(labels.get(axis) in listed for axis, listed in entry.items())


def entry_of_labels(file: Path, key: str, entry: Any, known: Mapping[str, set[str]]) -> dict[str, list[str]]:
    """One or several labels of some axes, `{method: [linear, both], seed: 0}`; a value as it was written is a label.

    Args:
        file: Where it stands, for messages.
        key: What it is called there.
        entry: As it is written.
        known: Labels by axis.

    Raises:
        UserError: It is none, or names an axis or a label that there is not.
    """
    if not isinstance(entry, dict):
        raise UserError(f"{file}: `{key}` takes labels by axis, such as {{method: [linear, both], seed: 0}}")
    labels = {
        short(str(axis)): [label_of(str(axis), one) for one in (value if isinstance(value, list) else [value])]
        for axis, value in entry.items()
    }
    for axis, wanted in labels.items():
        if not set(wanted) <= known.get(axis, set()):
            choices = f"choose from {', '.join(sorted(known.get(axis, known)))}"
            raise UserError(f"{file}: `{key}`: there is no {axis} {', '.join(wanted)[:100]}: {choices}")
    return labels


def labels_by_axis(labels: Iterable[Mapping[str, str]]) -> dict[str, set[str]]:
    """All labels of each axis."""
    known: dict[str, set[str]] = {}
    for axis, label in (pair for one in labels for pair in one.items()):
        known.setdefault(axis, set()).add(label)
    return known
