"""A sweep's configuration, and the cells it stands for."""

import copy
import itertools
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bench.command_line.configs import find_config, read_config
from bench.command_line.yaml_text import read_value, read_yaml
from bench.runs.folder import CONFIG
from datamodules.errors import UserError

CONFIG_KEY = "config"
MOST_CELLS = 10_000
_KEYS = ("command", "output", "options", "grid")
_COMMANDS = ("test", "fit")

# Options of the data that do not change what is done, and those of the trainer that do.
_HOW_DATA_COME = ("num_workers", "prefetch", "download", "root")
_HOW: dict[str, tuple[str, ...]] = {"test": (*_HOW_DATA_COME, "batch_size"), "fit": _HOW_DATA_COME}
_WHAT: dict[str, tuple[str, ...]] = {
    "test": ("precision", "callbacks"),
    "fit": ("precision", "callbacks", "max_epochs", "max_steps", "accumulate_grad_batches", "gradient_clip_val"),
}
_PLACE = ("trainer", "trainer.logger", "trainer.default_root_dir")
"""Options that say where a run writes, which is the sweep's to say; and so is all below the second."""
_NAME = re.compile(r"[A-Za-z_][\w.]*\+?")
_LONGEST_LABEL = 100  # characters; it is the name of a folder
_LONGEST_VALUE = 100_000  # characters; Linux passes a program no argument of more than 128 KiB
_FOLDERS = "datamodules.ImageFolder"  # whose images are what lies in their root


@dataclass(frozen=True)
class Cell:
    """One run of a grid.

    Attributes:
        labels: What tells it from the others: a value's label by axis.
        config: Path of the configuration that the run starts from.
        options: What it sets beyond that, by dotted option name.
        folder: Where it runs.
        command: "test" or "fit".
    """

    labels: dict[str, str]
    config: str
    options: dict[str, Any]
    folder: Path = field(compare=False)
    command: str = "test"

    @property
    def name(self) -> str:
        """The labels, as in the folder's path."""
        return "/".join(self.labels.values())

    def arguments(self) -> list[str]:
        """Those of the `lightning` command that runs this cell."""
        place = {
            "trainer.logger.save_dir": str(self.folder.parents[len(self.labels) - 1]),
            "trainer.logger.name": "/".join(list(self.labels.values())[:-1]),
            "trainer.logger.version": self.folder.name,
        }
        options = {**self.options, **place}
        return [
            self.command,
            "--config",
            self.config,
            *(f"--{key}={_argument(value)}" for key, value in options.items()),
        ]

    def expected(self) -> dict[str, Any]:
        """What the run's configuration has to say.

        Raises:
            UserError: The configuration that it starts from cannot be read.
        """
        config = copy.deepcopy(read_config(Path(self.config)))
        for key, value in self.options.items():
            *path, last = key.split(".")
            inner = config
            for name in path:
                inner = inner.setdefault(name, {})
                if not isinstance(inner, dict):
                    raise UserError(f"option {key} of the sweep: {name} is no group of options in {self.config}")
                inner = inner.get("init_args", inner)
            inner[last] = value
        return config

    def differences(self) -> list[str]:
        """Options of the configuration in the folder that are not what this cell asks for, as dotted names."""
        expected = self.expected()
        trainer, data = _mapping(expected.pop("trainer", {})), _mapping(expected.get("data"))
        expected |= {"trainer": {key: trainer[key] for key in _WHAT[self.command] if key in trainer}}
        arguments = _mapping(data.get("init_args", data))
        for key in _HOW[self.command]:
            if key != "root" or data.get("class_path") != _FOLDERS:
                arguments.pop(key, None)
        return _differences(expected, {"trainer": {}, **read_yaml(self.folder / CONFIG)}, "")


def read_sweep(file: Path, output: str | None, extra: Mapping[str, Any]) -> list[Cell]:
    """The cells of a sweep's configuration, in the grid's order, the last axis running fastest.

    Args:
        file: YAML with `command` ("test", which is the default, or "fit"), `output`, `options` (set in every cell) and
            `grid`: for each axis a list of values of the option that the axis is named after, or, by label, the options
            that make up one value of the axis. `config` stands for the configuration that a run starts from.
        output: Folder of the results, in place of the file's `output`; None for the file's.
        extra: Options for every cell, by dotted name, that win over the file's.

    Raises:
        UserError: The file cannot be read or means no grid.
    """
    content = read_config(file)
    for key in content:
        if key not in _KEYS:
            raise UserError(f"{file}: {key!r} is unknown, choose from {', '.join(_KEYS)}")
    grid, options = content.get("grid"), content.get("options") or {}
    if not isinstance(grid, dict) or not grid or not isinstance(options, dict):
        raise UserError(f"{file}: `grid` has to be a mapping of axes, and `options` one of options")
    command = content.get("command", "test")
    if command not in _COMMANDS:
        raise UserError(f"{file}: `command` {command!r} cannot be swept, choose from {', '.join(_COMMANDS)}")
    root = output or content.get("output")
    if not isinstance(root, str):
        raise UserError(f"{file}: name the folder of the results with `output`")
    axes = {_named(file, axis): _values(file, str(axis), values) for axis, values in grid.items()}
    if (count := math.prod(map(len, axes.values()))) > MOST_CELLS:
        raise UserError(f"{file}: the grid has {count:,} cells: a sweep has at most {MOST_CELLS:,}")
    _check_options(file, options)
    _check_options(file, extra)
    cells = [
        _cell(file, command, Path(root), axes, combination, options, extra)
        for combination in itertools.product(*(values.items() for values in axes.values()))
    ]
    name, times = Counter(cell.name for cell in cells).most_common(1)[0]
    if times > 1:
        raise UserError(f"{file}: two cells are called {name}: give the axis labels of its own")
    return cells


def _cell(
    file: Path,
    command: str,
    root: Path,
    axes: Mapping[str, Any],
    combination: Sequence[tuple[str, dict[str, Any]]],
    options: Mapping[str, Any],
    extra: Mapping[str, Any],
) -> Cell:
    chosen = {
        str(key): value for part in (options, *(value for _, value in combination)) for key, value in part.items()
    }
    chosen |= extra
    config = chosen.pop(CONFIG_KEY, None)
    if not isinstance(config, str):
        raise UserError(f"{file}: no axis and no option `{CONFIG_KEY}` names the configuration to start from")
    labels = dict(zip((axis.rpartition(".")[2] for axis in axes), (label for label, _ in combination), strict=True))
    return Cell(labels, str(find_config(config, file.parent)), chosen, Path(root, *labels.values()), command)


def _named(file: Path, option: Any) -> str:
    if not _NAME.fullmatch(str(option)):
        raise UserError(f"{file}: {str(option)[:100]!r} is no name of an axis or an option: write one like data.limit")
    return str(option)


def _check_options(file: Path, options: Mapping[Any, Any]) -> None:
    """Refuse options that no command takes, or that would put a cell's results elsewhere."""
    for key, value in options.items():
        name = _named(file, key)
        if name in _PLACE or name.startswith("trainer.logger."):
            raise UserError(f"{file}: option {name} says where a cell writes: leave it out, `output` and the axes do")
        text = _argument(value)
        if "\0" in text:
            raise UserError(f"{file}: the value of {name} holds a NUL character: leave it out")
        if len(text) > _LONGEST_VALUE:
            raise UserError(
                f"{file}: the value of {name} has {len(text):,} characters: keep it below {_LONGEST_VALUE:,}"
            )


def only(cells: Sequence[Cell], filters: Sequence[str]) -> list[Cell]:
    """The cells that pass all filters `axis=label` or `axis=label,label`; a value as it was written is a label, too.

    Raises:
        UserError: A filter names no axis or no label.
    """
    for text in filters:
        axis, equals, labels = text.partition("=")
        axis = axis.rpartition(".")[2]
        known = {cell.labels[axis]: None for cell in cells if axis in cell.labels}
        wanted = [_label(axis, read_value(label, f"--only {text}")) for label in labels.split(",")]
        if not equals or not set(wanted) <= known.keys():
            axes = ", ".join(cells[0].labels) if cells else ""
            choices = f"choose from {', '.join(known)}" if known else f"the axes are {axes}"
            raise UserError(f"--only {text} chooses nothing: {choices}")
        cells = [cell for cell in cells if cell.labels[axis] in wanted]
    return list(cells)


def _values(file: Path, axis: str, values: Any) -> dict[str, dict[str, Any]]:
    """Options by label of one axis."""
    if isinstance(values, dict) and values and all(isinstance(options, dict) for options in values.values()):
        labelled = {_label(axis, label): options for label, options in values.items()}
    elif isinstance(values, list) and values:
        labelled = {_label(axis, value): {axis: value} for value in values}
    else:
        raise UserError(f"{file}: axis {axis!r} has to be a list of values, or options by label")
    for options in labelled.values():
        _check_options(file, options)
    if len(labelled) != len(values):
        raise UserError(f"{file}: two values of axis {axis!r} have one label: give labels of their own")
    return labelled


def _label(axis: str, value: Any) -> str:
    """A folder's name for a value.

    >>> _label("model.encoder", "ViT-L/14@336px"), _label("seed_everything", 0), _label("config", "configs/stl10.yaml")
    ('ViT-L-14@336px', 'seed_everything-0', 'stl10')

    Raises:
        UserError: It would be too long.
    """
    text = str(value)
    if axis == CONFIG_KEY or text.endswith((".yaml", ".json", ".safetensors", ".pt")):
        text = Path(text).stem
    text = re.sub(r"[^\w.+@-]+", "-", text).strip("-.")
    label = text if isinstance(value, str) and text else f"{axis.rpartition('.')[2]}-{text}"
    if len(label) > _LONGEST_LABEL:
        raise UserError(f"axis {axis!r}: {label[:40]}... is too long for the name of a folder: give its values labels")
    return label


def _argument(value: Any) -> str:
    """A value as text that the command line reads back: YAML, but strings as they are."""
    return (
        value
        if isinstance(value, str)
        else yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()
    )


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _differences(expected: Any, found: Any, name: str) -> list[str]:
    if isinstance(expected, dict) and isinstance(found, dict):
        return [
            difference
            for key, value in expected.items()
            for difference in _differences(value, found.get(key), f"{name}.{key}" if name else key)
        ]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = zip(expected, found, strict=True)
        return [difference for one, other in pairs for difference in _differences(one, other, name)]
    return [] if expected == found else [name.replace(".init_args", "")]
