"""A sweep's configuration, and the cells it stands for."""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.command_line.configs import find_config, read_config
from bench.command_line.yaml_text import read_value
from bench.sweep.axes import (
    CONFIG_KEY,
    AxisValue,
    agrees,
    axis_values,
    check_options,
    entry_of_labels,
    label_of,
    labels_by_axis,
    option_name,
    short,
)
from bench.sweep.cells import COMMANDS, STEP, Cell
from bench.sweep.tuned import Found, is_found
from datamodules.errors import UserError

MOST_CELLS = 10_000
_STEPS = "steps"
_OF_A_STEP = ("command", "options", "grid", "exclude")
_OF_STEPS = ("output", "options", _STEPS)
_GROUPS = ("model", "data", "trainer", "optimizer", "lr_scheduler")  # of options, which no step may be called after


@dataclass(frozen=True)
class _Step:
    """A grid as it is written.

    Attributes:
        file: Where, for messages.
        name: Of the step; empty in a sweep without steps.
        root: Folder of its results.
        content: `command`, `options`, `grid` and `exclude`.
        common: Options of all steps.
        extra: Options for every cell that win over all others.
    """

    file: Path
    name: str
    root: Path
    content: Mapping[str, Any]
    common: Mapping[str, Any]
    extra: Mapping[str, Any]


def read_sweep(file: Path, output: str | None, extra: Mapping[str, Any]) -> list[Cell]:
    """The cells of a sweep's configuration, step by step, each in its grid's order, the last axis running fastest.

    Args:
        file: YAML with `output` and one grid or several steps.

            A grid is `command` ("test", which is the default, or "fit"), `options` (set in every cell), `grid`: for
            each axis a list of values of the option that the axis is named after (or of several, with commas between
            their names), or, by label, the options that make up one value of the axis; and `exclude`: a list of
            combinations of labels to leave out. `config` stands for the configuration that a run starts from.

            With `steps`, a mapping of names to grids, `options` beside it are those of all of them, each step writes to
            the folder of its name, and an axis of tests may be `{weights_of: STEP}`: what the fits of an earlier step
            leave; see `bench.sweep.tuned.Found`.
        output: Folder of the results, in place of the file's `output`; None for the file's.
        extra: Options for every cell, by dotted name, that win over the file's; with a step's name in front of them
            for the cells of that step.

    Raises:
        UserError: The file cannot be read or means no grid.
    """
    content = read_config(file)
    has_steps = _STEPS in content
    _check_keys(file, content, _OF_STEPS if has_steps else ("output", *_OF_A_STEP))
    root = output or content.get("output")
    if not isinstance(root, str):
        raise UserError(f"{file}: name the folder of the results with `output`")
    if not has_steps:
        grid = {key: value for key, value in content.items() if key != "output"}
        return _cells(_Step(file, "", Path(root), grid, {}, extra), {})
    common = content.get("options") or {}
    if not isinstance(common, dict):
        raise UserError(f"{file}: `options` has to be a mapping")
    names = _step_names(file, content[_STEPS])
    steps: dict[str, list[Cell]] = {}
    for name in names:
        own = {key.removeprefix(f"{name}."): value for key, value in extra.items() if key.startswith(f"{name}.")}
        others = {key: value for key, value in extra.items() if key.partition(".")[0] not in names}
        _check_keys(file, content[_STEPS][name], _OF_A_STEP)
        step = _Step(file, name, Path(root, name), content[_STEPS][name], common, others | own)
        steps[name] = _cells(step, steps)
    return [cell for cells in steps.values() for cell in cells]


def _check_keys(file: Path, content: Any, known: Sequence[str]) -> None:
    if not isinstance(content, dict):
        raise UserError(f"{file}: a step has to be a mapping of {', '.join(known)}")
    for key in content:
        if key not in known:
            raise UserError(f"{file}: {str(key)[:100]!r} is unknown, choose from {', '.join(known)}")


def _step_names(file: Path, steps: Any) -> list[str]:
    if not isinstance(steps, dict) or not steps:
        raise UserError(f"{file}: `{_STEPS}` has to be a mapping of names to grids")
    for name in steps:
        if not isinstance(name, str) or label_of(_STEPS, name) != name or "." in name or name in _GROUPS:
            raise UserError(f"{file}: {str(name)[:100]!r} is no name of a step: choose a word such as fits or tests")
    return list(steps)


def _cells(step: _Step, earlier: Mapping[str, Sequence[Cell]]) -> list[Cell]:
    file, content = step.file, step.content
    grid, options = content.get("grid"), content.get("options") or {}
    if not isinstance(grid, dict) or not grid or not isinstance(options, dict):
        raise UserError(f"{file}: `grid` has to be a mapping of axes, and `options` one of options")
    if (command := content.get("command", "test")) not in COMMANDS:
        raise UserError(f"{file}: `command` {command!r} cannot be swept, choose from {', '.join(COMMANDS)}")
    for axis in grid:
        for name in axis.split(",") if isinstance(axis, str) else [axis]:
            option_name(file, name.strip() if isinstance(name, str) else name)
    axes = {str(axis): _values(step, str(axis), values, earlier) for axis, values in grid.items()}
    _check_axes(step, axes)
    for some in (step.common, options, step.extra):
        check_options(file, some)
    known = labels_by_axis(value.labels for values in axes.values() for value in values)
    exclude = content.get("exclude") or []
    if not isinstance(exclude, list) or not all(exclude):
        raise UserError(f"{file}: `exclude` has to be a list of labels by axis, such as [{{method: linear, seed: 0}}]")
    left_out = [entry_of_labels(file, "exclude", entry, known) for entry in exclude]
    cells = [_cell(step, command, combination, options) for combination in itertools.product(*axes.values())]
    cells = [cell for cell in cells if not any(agrees(cell.labels, entry) for entry in left_out)]
    if not cells:
        raise UserError(f"{file}: `exclude` leaves no cell: take entries away")
    name, times = Counter(cell.name for cell in cells).most_common(1)[0]
    if times > 1:
        raise UserError(f"{file}: two cells are called {name}: give the axis labels of its own")
    return cells


def _values(step: _Step, axis: str, values: Any, earlier: Mapping[str, Sequence[Cell]]) -> list[AxisValue]:
    if not is_found(values):
        return axis_values(step.file, axis, values)
    asked = Found(step.file, axis, values, earlier)
    return asked.averaged() if step.content.get("command", "test") == "fit" else asked.measured()


def _check_axes(step: _Step, axes: Mapping[str, Sequence[AxisValue]]) -> None:
    if (count := math.prod(map(len, axes.values()))) > MOST_CELLS:
        raise UserError(f"{step.file}: the grid has {count:,} cells: a sweep has at most {MOST_CELLS:,}")
    if sum(any(value.weights for value in values) for values in axes.values()) > 1:
        raise UserError(f"{step.file}: two axes are of weights: leave one out")
    names = [
        name for axis, values in axes.items() for name in dict.fromkeys(key for one in values for key in one.labels)
    ]
    if twice := [name for name, times in Counter([*names, *[STEP] * bool(step.name)]).items() if times > 1]:
        raise UserError(f"{step.file}: two axes are called {twice[0]}: rename one")


def _cell(step: _Step, command: str, combination: Sequence[AxisValue], options: Mapping[str, Any]) -> Cell:
    parts = (step.common, options, *(value.options for value in combination), step.extra)
    chosen = {str(key): value for part in parts for key, value in part.items()}
    config = chosen.pop(CONFIG_KEY, None)
    if not isinstance(config, str):
        raise UserError(f"{step.file}: no axis and no option `{CONFIG_KEY}` names the configuration to start from")
    labels = {axis: label for value in combination for axis, label in value.labels.items()}
    weights = next((value for value in combination if value.weights), AxisValue({}, {}))
    return Cell(
        labels,
        str(find_config(config, step.file.parent)),
        chosen,
        Path(step.root, *labels.values()),
        command,
        step.name,
        weights.weights,
        weights.found,
    )


def only(cells: Sequence[Cell], filters: Sequence[str]) -> list[Cell]:
    """The cells that pass all filters `axis=label` or `axis=label,label`; a value as it was written is a label, too.

    A filter on an axis of one step leaves the others alone, and so it does what fits were tuned from, which is wanted
    beside whatever is tuned; `step=NAME` chooses among steps.

    Raises:
        UserError: A filter names no axis or no label.
    """
    for text in filters:
        axis, equals, labels = text.partition("=")
        axis = short(axis)
        known = {cell.marks[axis]: None for cell in cells if axis in cell.marks}
        wanted = [label_of(axis, read_value(label, f"--only {text}")) for label in labels.split(",")]
        if not equals or not set(wanted) <= known.keys():
            axes = ", ".join(dict.fromkeys(axis for cell in cells for axis in cell.marks))
            choices = f"choose from {', '.join(known)}" if known else f"the axes are {axes}"
            raise UserError(f"--only {text} chooses nothing: {choices}")
        cells = [cell for cell in cells if cell.marks.get(axis, wanted[0]) in wanted]
    return list(cells)
