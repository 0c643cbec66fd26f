"""One run of a sweep: what it is asked to do, and whether a folder holds that."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from bench.command_line.config_options import as_mapping, with_options
from bench.command_line.configs import read_config
from bench.command_line.signatures import Option, as_typed, describe, describe_trainer, names
from bench.command_line.yaml_text import read_yaml
from bench.runs.finetuning_record import Export
from bench.runs.folder import CONFIG, RunFolder
from datamodules.errors import UserError

STEP = "step"
"""What `--only` calls the steps of a sweep."""

PRETRAINED, MEMBERS = "model.pretrained", "model.members"

# Options of the data that do not change what is done, and those of the trainer that do.
_HOW_DATA_COME = ("num_workers", "prefetch", "download")
_WHAT: dict[str, tuple[str, ...]] = {
    "test": ("precision", "callbacks"),
    "fit": (
        *("precision", "callbacks", "max_epochs", "max_steps", "max_time", "min_epochs", "min_steps"),
        *("accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm"),
    ),
}
COMMANDS = tuple(_WHAT)
_CLASS, _ARGUMENTS = "class_path", "init_args"
_DEPENDS_ON_BATCHES = "TestTimeAdaptation"


@dataclass(frozen=True)
class Cell:
    """One run of a grid.

    Attributes:
        labels: What tells it from the others of its step: a value's label by axis.
        config: Path of the configuration that the run starts from.
        options: What it sets beyond that, by dotted option name.
        folder: Where it runs.
        command: "test" or "fit".
        step: Name of its step; empty in a sweep without steps.
        weights: What other cells leave for it: what a test measures, as its `model.pretrained`, or in addition
            to the encoder, as its `model.restoration` or `model.adapter`; or the weights that a fit averages, as its
            `model.members`.
        found: Of the axis that holds what other cells leave: the axis, and all labels of that joined; for `only`.
    """

    labels: dict[str, str]
    config: str
    options: dict[str, Any]
    folder: Path = field(compare=False)
    command: str = "test"
    step: str = ""
    weights: "tuple[TunedWeights, ...]" = ()
    found: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The step and the labels, as in the folder's path."""
        return "/".join([self.step] * bool(self.step) + list(self.labels.values()))

    @property
    def output(self) -> Path:
        """Folder of the whole sweep."""
        return self.folder.parents[len(self.labels) - 1 + bool(self.step)]

    @property
    def marks(self) -> dict[str, str]:
        """Everything that `only` knows it by."""
        return {**self.labels, **self.found, **({STEP: self.step} if self.step else {})}

    def arguments(self) -> list[str]:
        """Those of the `lightning` command that runs this cell.

        Raises:
            UserError: The weights that it measures are not there, or their record is damaged.
            FileNotFoundError: There is no such record.
        """
        place = {
            "trainer.logger.save_dir": str(self.folder.parents[len(self.labels) - 1]),
            "trainer.logger.name": "/".join(list(self.labels.values())[:-1]),
            "trainer.logger.version": self.folder.name,
        }
        files = [str(weights.file) for weights in self.weights]
        weights: dict[str, Any] = {self._taken_as: files[0] if self.command == "test" else files} if files else {}
        options = {**self.options, **weights, **place}
        return [
            self.command,
            "--config",
            self.config,
            *(f"--{key}={as_argument(value)}" for key, value in options.items()),
        ]

    @property
    def _taken_as(self) -> str:
        return self.weights[0].tested_as if self.command == "test" else MEMBERS

    def expected(self) -> dict[str, Any]:
        """What the run's configuration has to say, but for the path of weights that another cell leaves.

        Raises:
            UserError: The configuration that it starts from cannot be read.
        """
        file = Path(self.config)
        content = _read(file, file.stat().st_mtime_ns) if file.is_file() else read_config(file)
        return with_options(content, self.options, self.config)

    def differences(self) -> list[str]:
        """What in the folder is not what this cell asks for: dotted names of options, or the weights.

        Raises:
            OSError: It cannot be read.
            UserError: It is damaged.
        """
        expected, found = (self._what(one) for one in (self.expected(), read_yaml(self.folder / CONFIG)))
        different = _differences(expected, found, "")
        for option in describe_trainer().options:
            if option.name in found["trainer"] and option.name not in expected["trainer"]:
                different += _beyond_default(option, found["trainer"][option.name], f"trainer.{option.name}")
        pairs = zip(self.weights, self._used() if self.weights else (), strict=True)
        return different + [f"fit of {weights.fit.name}" for weights, used in pairs if weights.export.sha256 != used]

    def _what(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """A configuration without the options that do not change what is done.

        Whatever weights another cell leaves are known by their hash, wherever the folder of the sweep lies.
        """
        trainer, model, data = (as_mapping(config.get(group)) for group in ("trainer", "model", "data"))
        how = list(_HOW_DATA_COME)
        if "download" in names([describe(str(data.get(_CLASS)))]):  # any other images are what lies in the root
            how.append("root")
        if self.command == "test" and not names_class(_DEPENDS_ON_BATCHES, model.get(_CLASS)):
            how.append("batch_size")
        kept = {"trainer": {key: trainer[key] for key in _WHAT[self.command] if key in trainer}}
        given = self._taken_as.partition(".")[2:] if self.weights else ()
        groups = [(group, without) for group, without in (("data", how), ("model", given)) if group in config]
        return {**config, **kept} | {group: _without(as_mapping(config[group]), keys) for group, keys in groups}

    def _used(self) -> tuple[str | None, ...]:
        """Hashes of the weights that results are of, as many as there are to be."""
        folder, count = RunFolder(self.folder), len(self.weights)
        if self.command == "test":
            model = folder.record().model
            beside = None if model.companion is None else model.companion.sha256
            return (model.weights_sha256 if self._taken_as == PRETRAINED else beside,)
        return (*folder.finetuning_record().members, *[None] * count)[:count]


@dataclass(frozen=True)
class TunedWeights:
    """Weights that a cell which fits leaves.

    Attributes:
        fit: The cell.
        share: Of the tuned weights in them; the rest is the original's.
        tested_as: The option of a test that takes them: for weights of an encoder, or for a file beside it.
    """

    fit: Cell
    share: float
    tested_as: str = PRETRAINED

    @property
    def export(self) -> Export:
        """What the record of the fit says about them.

        Raises:
            UserError: The record is damaged or does not list them.
            FileNotFoundError: There is none.
        """
        folder = RunFolder(self.fit.folder)
        for export in folder.finetuning_record().exports:
            if export.alpha == self.share:
                return export
        raise UserError(f"{str(folder.finetuning)!r} lists no weights with a share of {self.share:g}: fit it anew")

    @property
    def file(self) -> Path:
        """Where they lie; raises what `export` does."""
        return self.fit.folder / self.export.file


def names_class(name: Any, whole: Any) -> bool:
    """Whether a text names a class, with all its modules or without some, that is called so as a whole.

    >>> names_class("Augment", "bench.finetuning.Augment"), names_class("ment", "bench.finetuning.Augment")
    (True, False)
    """
    return isinstance(name, str) and bool(name) and f".{whole}".endswith(f".{name}")


@cache
def _read(file: Path, _written: int) -> dict[str, Any]:
    """A configuration; those of a sweep share few, and reading one takes as long as all else about a cell."""
    return read_config(file)


def as_argument(value: Any) -> str:
    """A value as text that the command line reads back: YAML, but strings as they are."""
    return (
        value
        if isinstance(value, str)
        else yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()
    )


def _without(group: Mapping[str, Any], options: Collection[str]) -> dict[str, Any]:
    """A class and its options, or options alone, but for some of them."""
    own = {key: value for key, value in group.items() if key not in options}
    if _ARGUMENTS in own:
        own[_ARGUMENTS] = {key: value for key, value in as_mapping(own[_ARGUMENTS]).items() if key not in options}
    return own


def _differences(expected: Any, found: Any, name: str, kind: str = "") -> list[str]:
    """Names of the options that are not those that are expected; one that is not asked for has to have its default.

    Args:
        expected: Of a configuration as it is written: an option may be left out, and a class be its name.
        found: Of a configuration with all options, as a run saves it.
        name: Dotted, of both.
        kind: Dotted name of the class of a mapping that does not name one.
    """
    if isinstance(found, dict) and _CLASS in found:
        group = expected if isinstance(expected, dict) else {_CLASS: expected}
        path = group.get(_CLASS, found[_CLASS])
        if path != found[_CLASS] and not names_class(path, found[_CLASS]):
            return [name]
        asked = as_mapping(group.get(_ARGUMENTS)) if _CLASS in group or _ARGUMENTS in group else group
        return _option_differences(asked, as_mapping(found.get(_ARGUMENTS)), name, str(found[_CLASS]))
    if isinstance(expected, dict) and isinstance(found, dict):
        return _option_differences(expected, found, name, kind)
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = zip(expected, found, strict=True)
        return [difference for one, other in pairs for difference in _differences(one, other, name)]
    return [] if expected == found or _is_number(expected, found) else [name]


def _option_differences(expected: Mapping[str, Any], found: Mapping[str, Any], name: str, owner: str) -> list[str]:
    """Names of the options of a class, given by its dotted name, that are not those that are expected.

    An option that the class is not known to have may have any value where none is expected.
    """
    described = describe(owner)
    options = {option.name: option for option in described.all_options()} if described else {}
    different = []
    for key in [*expected, *(key for key in options if key in found and key not in expected)]:
        dotted = name if key == _ARGUMENTS else f"{name}.{key}".removeprefix(".")
        if key in expected:
            kind = options[key].kind.partition(" ")[0] if key in options else ""
            different += _differences(expected[key], found.get(key), dotted, f"{owner.partition('.')[0]}.{kind}")
        else:
            different += _beyond_default(options[key], found[key], dotted)
    return different


def _beyond_default(option: Option, found: Any, name: str) -> list[str]:
    """Names of the options that differ from what an option is by default; none where that cannot be told."""
    if option.default is None or as_typed(found) == option.default or _is_number(option.default, found):
        return []
    if isinstance(found, dict) and option.default.endswith("()"):
        return _differences(option.default.removesuffix("()"), found, name)
    return [name]


def _is_number(text: Any, number: Any) -> bool:
    """Whether a text says a number as a run reads it, but YAML does not: 1e-4."""
    if not isinstance(text, str) or not isinstance(number, int | float) or isinstance(number, bool):
        return False
    try:
        return float(text) == number
    except ValueError:
        return False
