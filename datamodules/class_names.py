"""Class names as users give them, matched with the folders that hold the classes."""

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datamodules.errors import UserError
from datamodules.files import open_regular

_Given = str | int | float | bool | None  # of a command line, where a text that is quoted has to remain one
ClassNames = Mapping[str, _Given] | Mapping[Any, _Given] | Sequence[_Given] | Path | None
"""A map from folder names, a list in the order of the sorted folder names, or a file that holds one of them."""

_OPTION = "data.class_names"
_LARGEST_FILE = 2**22  # bytes; 20,000 classes with long names take a quarter


def prompt_names(root: Path, folders: Sequence[str], given: ClassNames) -> tuple[str, ...]:
    """The name of each folder's class as it is put into prompts.

    Args:
        root: What holds the folders, for messages.
        folders: Their names, sorted.
        given: What the user gives; None takes the folders' names. Without folders a list is needed.

    Raises:
        UserError: The names do not fit the folders, or it cannot be told how.
    """
    names = read_class_names(Path(given)) if isinstance(given, str | Path) else given
    if not folders:
        if names is None or isinstance(names, Mapping):
            raise UserError(
                f"the images in {str(root)!r} have no class folders: list the candidate classes with `class_names`",
                option=_OPTION,
            )
        return tuple(map(_text, names))
    if names is None:
        return tuple(folders)
    if isinstance(names, Mapping):
        return _mapped(root, folders, names)
    if len(names) != len(folders):
        raise UserError(
            f"`class_names` lists {len(names)} names, but {str(root)!r} has {len(folders)} class folders: "
            "list one name per folder, in the order of the sorted folder names",
            option=_OPTION,
        )
    by_number = sorted(folders, key=_natural)
    if by_number != list(folders):
        first, other = next((a, b) for a, b in zip(folders, by_number, strict=True) if a != b)
        raise UserError(
            f"`class_names` is a list, but of the folders in {str(root)!r} {first!r} comes as text where {other!r} "
            f"comes as a number: give a map such as {{{folders[0]!r}: {_text(names[0])!r}}}, which says which is which",
            option=_OPTION,
        )
    return tuple(map(_text, names))


def read_class_names(file: Path, what: str = "class names") -> Mapping[str, Any] | Sequence[Any]:
    """A list or a map from a JSON file, or a name per line from any other.

    Args:
        file: Where they are.
        what: They are, for messages.

    Raises:
        UserError: There is no such file, or it holds something else.
    """
    with open_regular(file.expanduser(), f"file of {what}") as opened:
        content = opened.read(_LARGEST_FILE + 1)
    here = f"file of {what} {str(file)!r}"
    if len(content) > _LARGEST_FILE:
        raise UserError(f"{here} is larger than {_LARGEST_FILE} bytes: name one with a name per line, or JSON")
    try:
        text = content.decode("utf-8-sig")
        found = json.loads(text) if file.suffix.lower() == ".json" else text.splitlines()
    except (ValueError, RecursionError) as error:
        reason = " ".join(f"{error}".split())
        raise UserError(f"{here} cannot be read ({reason}): save it as UTF-8, a name per line, or as JSON") from error
    if isinstance(found, list):
        found = [name for name in found if not isinstance(name, str) or name.strip()]
    if not isinstance(found, list | dict) or not found:
        raise UserError(f"{here} holds neither a list nor a map of names: give one of them")
    return found


def _mapped(root: Path, folders: Sequence[str], names: Mapping[Any, Any]) -> tuple[str, ...]:
    by_folder: dict[str, str] = {}
    for key, name in names.items():
        folder = _folder(root, folders, key)
        if folder in by_folder:
            raise UserError(f"`class_names` names folder {folder!r} twice: leave {key!r} out", option=_OPTION)
        by_folder[folder] = _text(name)
    return tuple(by_folder.get(folder, folder) for folder in folders)


def _folder(root: Path, folders: Sequence[str], key: Any) -> str:
    """The folder that a key of a map means: YAML has made numbers of some, and accents can be written in two ways."""
    if key in folders and isinstance(key, str):
        return key
    hint = "remove it"
    if isinstance(key, str):
        fitting = [folder for folder in folders if _composed(folder) == _composed(key)]
    elif isinstance(key, int) and not isinstance(key, bool):
        fitting = [folder for folder in folders if folder.isdecimal() and (folder.lstrip("0") or "0") == str(key)]
        hint = "quote the names of folders, since YAML reads 010 as eight"
    else:
        fitting, hint = [], "quote the names of folders, since YAML reads no, off, null and 1.5 as something else"
    if len(fitting) > 1:
        raise UserError(
            f"`class_names` maps {key!r}, which can be {' or '.join(map(repr, fitting))}: write it as the folder is",
            option=_OPTION,
        )
    if not fitting:
        raise UserError(
            f"`class_names` maps {key!r}, but {str(root)!r} has no such class folder: {hint}", option=_OPTION
        )
    return fitting[0]


def _text(name: Any) -> str:
    if not isinstance(name, str):
        raise UserError(
            f"`class_names` has {name!r} for a name, which is no text: quote it, since YAML reads no, off, null and "
            "numbers as something else",
            option=_OPTION,
        )
    return name


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _natural(name: str) -> list[object]:
    """Sorts texts by the numbers in them.

    >>> sorted(["x10", "x9", "x010"], key=_natural)
    ['x9', 'x10', 'x010']
    """
    parts: list[object] = list(re.split("([0-9]+)", name))
    parts[1::2] = [(len(digits.lstrip("0")), digits.lstrip("0")) for digits in parts[1::2] if isinstance(digits, str)]
    return parts
