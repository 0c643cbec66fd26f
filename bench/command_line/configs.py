"""Configurations by name, and the paths in them."""

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from bench.command_line.yaml_text import read_yaml
from datamodules.errors import UserError

SUFFIX = ".yaml"
CONFIG_OPTIONS = ("-c", "--config")
_PACKAGE = Path(__file__).parents[1]
_OUTPUTS = ("output", "root", "save_dir", "default_root_dir", "dirpath")
"""Options whose paths stay relative to the working directory: folders of data, and what a run writes."""


def folder() -> Path:
    """Where the configurations of this project are: beside the packages in a checkout, within `bench` in a wheel."""
    inside = _PACKAGE / "configs"
    return inside if inside.is_dir() else _PACKAGE.parent / "configs"


def shipped() -> list[str]:
    """Names of the configurations of this project."""
    root = folder()
    return sorted(file.relative_to(root).with_suffix("").as_posix() for file in root.rglob(f"*{SUFFIX}"))


def find_config(name: str, base: Path | None = None) -> Path:
    """The file that a configuration's name stands for.

    Args:
        name: A path, or the name of one of this project's configurations: `demo`, `finetune/augment`.
        base: Folder of the configuration that names it, where a path is looked for first.

    Raises:
        UserError: There is none.
    """
    places = ([base / name] if base else []) + [Path(name).expanduser()]
    for place in places:
        if place.exists() and not place.is_dir():
            return _as_seen_from_here(place)
    if name.removesuffix(SUFFIX) in shipped():
        return _as_seen_from_here(folder() / f"{name.removesuffix(SUFFIX)}{SUFFIX}")
    close = get_close_matches(Path(name).stem, shipped(), n=1)
    known = f"did you mean {close[0]}?" if close else "give a YAML file, or one of those that `lightning` alone lists"
    raise UserError(f"{name!r} is no file and no configuration of this project: {known}")


def read_config(file: Path) -> dict[str, Any]:
    """A configuration in which the paths of files beside it can be used from the working directory.

    Raises:
        UserError: It is missing, damaged, or no mapping.
    """
    content: dict[str, Any] = resolved(read_yaml(file), file.parent)
    return content


def is_written_out(name: str) -> bool:
    """Whether what is given as a configuration is its content, not its name."""
    return name.lstrip().startswith("{") or "\n" in name


def resolved(content: Any, base: Path) -> Any:
    """Content of a configuration whose relative paths of files that lie below `base` lead there.

    A text is such a path if it has an extension and the file exists: tags such as `openai`, paths of folders, and
    files that are yet to be written stay as they are.
    """
    if isinstance(content, dict):
        return {key: value if key in _OUTPUTS else resolved(value, base) for key, value in content.items()}
    if isinstance(content, list):
        return [resolved(value, base) for value in content]
    if isinstance(content, str) and _is_file_below(content, base):
        return str(_as_seen_from_here(base / content))
    return content


def _is_file_below(text: str, base: Path) -> bool:
    if len(text) > 1000 or "\0" in text or "\n" in text or not Path(text).suffix or Path(text).is_absolute():
        return False
    try:
        return (base / text).is_file()
    except OSError:  # a name that is too long
        return False


def _as_seen_from_here(file: Path) -> Path:
    """Relative to the working directory if the file is below it, so that records hold no machine's folders."""
    here, file = Path.cwd(), Path(os.path.abspath(file))
    return file.relative_to(here) if file.is_relative_to(here) else file
