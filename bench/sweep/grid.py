"""A sweep's configuration, and the cells it stands for."""

import copy
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bench.runs.finetuning_record import FINETUNING
from bench.runs.folder import CONFIG
from bench.runs.record import RESULTS
from datamodules.errors import UserError

CONFIG_KEY = "config"
_KEYS = ("command", "output", "options", "grid")
RECORDS = {"test": RESULTS, "fit": FINETUNING}
"""What a command writes last, by command."""

# Options of the data that do not change what is done, and those of the trainer that do.
_HOW_DATA_COME = ("num_workers", "prefetch", "download", "root")
_HOW: dict[str, tuple[str, ...]] = {"test": (*_HOW_DATA_COME, "batch_size"), "fit": _HOW_DATA_COME}
_WHAT: dict[str, tuple[str, ...]] = {
    "test": ("precision", "callbacks"),
    "fit": ("precision", "callbacks", "max_epochs", "max_steps", "accumulate_grad_batches", "gradient_clip_val"),
}
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
        config = copy.deepcopy(read_yaml(Path(self.config)))
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
        trainer, data = expected.pop("trainer", {}), expected.get("data", {})
        expected |= {"trainer": {key: trainer[key] for key in _WHAT[self.command] if key in trainer}}
        arguments = data.get("init_args", data)
        for key in _HOW[self.command]:
            if key != "root" or data.get("class_path") != _FOLDERS:
                arguments.pop(key, None)
        return _differences(expected, {"trainer": {}, **read_yaml(self.folder / CONFIG)}, "")


def read_sweep(file: Path, output: str | None, extra: Mapping[str, Any]) -> list[Cell]:
    """The cells of a sweep's configuration, in the grid's order, the last axis running fastest.

    Args:
        file: YAML with `command` ("test", which is the default, or "fit"), `output`, `options` (set in every cell) and
            `grid`: for each axis a list of values of the option that the axis is named after, or, by label, the options
            that make a value. `config` stands for the configuration that a run starts from.
        output: In place of the file's.
        extra: Options for every cell, by dotted name, that win over the file's.

    Raises:
        UserError: The file cannot be read or means no grid.
    """
    content = read_yaml(file)
    for key in content:
        if key not in _KEYS:
            raise UserError(f"{file}: {key!r} is unknown, choose from {', '.join(_KEYS)}")
    grid, options = content.get("grid"), content.get("options") or {}
    if not isinstance(grid, dict) or not grid or not isinstance(options, dict):
        raise UserError(f"{file}: `grid` has to be a mapping of axes, and `options` one of options")
    command = content.get("command", "test")
    if command not in RECORDS:
        raise UserError(f"{file}: `command` {command!r} cannot be swept, choose from {', '.join(RECORDS)}")
    root = output or content.get("output")
    if not isinstance(root, str):
        raise UserError(f"{file}: name the folder of the results with `output`")
    axes = {str(axis): _values(file, str(axis), values) for axis, values in grid.items()}
    cells = []
    for combination in itertools.product(*(values.items() for values in axes.values())):
        chosen = {
            str(key): value
            for part in ({**options}, *(value for _, value in combination))
            for key, value in part.items()
        }
        chosen |= extra
        config = chosen.pop(CONFIG_KEY, None)
        if not isinstance(config, str):
            raise UserError(f"{file}: no axis and no option `{CONFIG_KEY}` names the configuration to start from")
        labels = dict(zip((axis.rpartition(".")[2] for axis in axes), (label for label, _ in combination), strict=True))
        cells.append(Cell(labels, config, chosen, Path(root, *labels.values()), command))
    names = [cell.name for cell in cells]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{file}: two cells are called {repeated[0]}: give the axis labels of its own")
    return cells


def only(cells: Sequence[Cell], filters: Sequence[str]) -> list[Cell]:
    """The cells that pass all filters `axis=label` or `axis=label,label`; a value as it was written is a label, too.

    Raises:
        UserError: A filter names no axis or no label.
    """
    for text in filters:
        axis, equals, labels = text.partition("=")
        axis = axis.rpartition(".")[2]
        known = {cell.labels[axis]: None for cell in cells if axis in cell.labels}
        wanted = [_label(axis, yaml.safe_load(label)) for label in labels.split(",")]
        if not equals or not set(wanted) <= known.keys():
            axes = ", ".join(cells[0].labels) if cells else ""
            choices = f"choose from {', '.join(known)}" if known else f"the axes are {axes}"
            raise UserError(f"--only {text} chooses nothing: {choices}")
        cells = [cell for cell in cells if cell.labels[axis] in wanted]
    return list(cells)


def read_yaml(file: Path) -> dict[str, Any]:
    """A YAML file's mapping.

    Raises:
        UserError: It is missing or damaged, or is no mapping.
    """
    if not file.is_file():  # a device would never end
        raise UserError(f"{str(file)!r} is no file: give a YAML file")
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"{str(file)!r} cannot be read ({' '.join(str(reason).split())}): give a YAML file") from error
    if not isinstance(content, dict):
        raise UserError(f"{str(file)!r} is no mapping of options: give a YAML file with some")
    return content


def _values(file: Path, axis: str, values: Any) -> dict[str, dict[str, Any]]:
    """Options by label of one axis."""
    if isinstance(values, dict) and values and all(isinstance(options, dict) for options in values.values()):
        labelled = {_label(axis, label): options for label, options in values.items()}
    elif isinstance(values, list) and values:
        labelled = {_label(axis, value): {axis: value} for value in values}
    else:
        raise UserError(f"{file}: axis {axis!r} has to be a list of values, or options by label")
    if len(labelled) != len(values):
        raise UserError(f"{file}: two values of axis {axis!r} have one label: give labels of their own")
    return labelled


def _label(axis: str, value: Any) -> str:
    """A folder's name for a value.

    >>> _label("model.encoder", "ViT-L/14@336px"), _label("seed_everything", 0), _label("config", "configs/stl10.yaml")
    ('ViT-L-14@336px', 'seed_everything-0', 'stl10')
    """
    text = str(value)
    if axis == CONFIG_KEY or text.endswith((".yaml", ".json", ".safetensors", ".pt")):
        text = Path(text).stem
    text = re.sub(r"[^\w.+@-]+", "-", text).strip("-.")
    return text if isinstance(value, str) and text else f"{axis.rpartition('.')[2]}-{text}"


def _argument(value: Any) -> str:
    """As the command line reads it: YAML, but strings as they are."""
    return (
        value
        if isinstance(value, str)
        else yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()
    )


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
