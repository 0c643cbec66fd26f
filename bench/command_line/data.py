"""What is audited: a folder, or the data of a configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datamodules.degradations import DEFAULT_DEGRADATIONS, ORIGINAL
from datamodules.errors import UserError
from datamodules.folders import FolderSource, visible
from datamodules.sources import Source

if TYPE_CHECKING:
    from datamodules.base import DegradedDataModule

_NO_CLASSES = ("", " ")  # what a folder without class folders needs a list of


@dataclass(frozen=True)
class Chosen:
    """Images to look at.

    Attributes:
        name: For readers.
        source: Where they are.
        indices: Positions in it.
        classes: Names by label; empty for images without labels.
        views: Whose bias is of interest.
    """

    name: str
    source: Source
    indices: Sequence[int]
    classes: Sequence[str]
    views: Sequence[str]


def folder(root: Path) -> Chosen:
    """All images below a folder; its folders are the classes.

    Raises:
        UserError: It is no folder, or holds no image.
    """
    names = None if root.is_dir() and visible(root)[0] else _NO_CLASSES
    source = FolderSource(root, names)
    views = [view for view in DEFAULT_DEGRADATIONS if view != ORIGINAL]
    return Chosen(root.resolve().name, source, range(len(source)), source.classes if source.labelled else (), views)


def chosen(config: str, words: Sequence[str], command: str) -> Chosen:
    """The images that a configuration's `data` names.

    Args:
        config: YAML file, or the name of one of this project's.
        words: Further options, `--data.name value`.
        command: Whose options these are, for messages.

    Raises:
        UserError: They cannot be had.
    """
    data = configured(config, words, command)
    source = data.chosen
    classes = source.classes if source.labelled else ()
    views = [view for view in data.views if view != ORIGINAL]
    return Chosen(f"{data.dataset_name}/{data.split}", source, data.positions, classes, views)


def configured(config: str, words: Sequence[str], command: str) -> "DegradedDataModule":
    """The data that a configuration names, set up for images with or without labels.

    Args:
        config: YAML file, or the name of one of this project's.
        words: Further options, `--data.name value`.
        command: Whose options these are, for messages.

    Raises:
        UserError: They cannot be had.
    """
    from bench.command_line.configs import find_config, read_config
    from bench.command_line.yaml_text import read_options

    content = read_config(find_config(config)).get("data")
    content = {"class_path": content} if isinstance(content, str) else content
    if not isinstance(content, dict) or "class_path" not in content:
        raise UserError(f"{config!r} has no `data` with a class_path: name a configuration of `lightning test`")

    def option_of_data(word: str, name: str) -> str:
        if not word.startswith("--data."):
            raise UserError(f"{word!r} is no option of `lightning {command}`: give --data.NAME VALUE")
        return name.removeprefix("--data.")

    arguments = dict(content.get("init_args") or {}) | read_options(words, option_of_data)
    data = built(content["class_path"], arguments)
    data.prepare_data()
    data.setup("predict")
    return data


def built(class_path: str, arguments: Mapping[str, Any]) -> "DegradedDataModule":
    """The data of a class and its arguments as a configuration names them; nothing is opened.

    Raises:
        UserError: There is no such class, or it takes no such arguments.
    """
    import datamodules
    from bench.command_line.instances import instance
    from datamodules.base import DegradedDataModule

    for name in datamodules.__all__:
        getattr(datamodules, name)  # short names of classes are those of imported ones
    data: DegradedDataModule = instance(
        DegradedDataModule, "data", {"class_path": class_path, "init_args": dict(arguments)}
    )
    return data
