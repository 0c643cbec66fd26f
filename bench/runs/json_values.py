"""JSON that need not be trusted: read with the name of every key that is wrong."""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from bench.runs.files import FileError, read_bounded

LONGEST_TEXT = 4096
"""Characters of a text in a record."""

_LARGEST = 1e15  # of any number that is measured: it can be printed
_LARGEST_COUNT = 2**53
_MOST_VALUES = 2**24  # in a file; each may take 60 bytes of memory
_MOST_GROUPS = 2**20  # lists and mappings in a file
_DEEPEST = 100  # levels of lists and mappings
_SEAL = "checksum"
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class Value:
    """A value in a JSON file and the place where it stands; every access checks its type.

    Args:
        content: As `json.loads` gives it.
        file: The file, for messages.
        keys: The way from the file's outermost value to this one.

    Raises:
        FileError: From every method, where the value is not what is asked for.

    >>> Value({"a": {"b": 2}}, Path("run.json"))["a"]["b"].whole()
    2
    """

    def __init__(self, content: Any, file: Path, keys: tuple[str, ...] = ()) -> None:
        self.content, self._file, self._keys = content, file, keys

    def fail(self, problem: str) -> NoReturn:
        """Say what is wrong with this value."""
        place = "/".join(self._keys) or "its content"
        text = " ".join(f"{place[:200]} {problem}".split())
        raise FileError(self._file, "".join(letter if letter.isprintable() else "?" for letter in text))

    def __contains__(self, key: str) -> bool:
        return key in self.mapping()

    def __getitem__(self, key: str) -> "Value":
        """A member that has to be there."""
        member = Value(self.mapping().get(key), self._file, (*self._keys, key))
        if key not in self.content:
            member.fail("is missing: not a result of this program, or not whole")
        return member

    def get(self, key: str) -> "Value | None":
        """A member; None where it is missing or null."""
        return None if self.mapping().get(key) is None else self[key]

    def items(self) -> list[tuple[str, "Value"]]:
        """Members by key."""
        return [(key, self[key]) for key in self.mapping()]

    def elements(self) -> list["Value"]:
        """Elements of a list."""
        return [Value(one, self._file, (*self._keys, str(place))) for place, one in enumerate(self.sequence())]

    def mapping(self) -> dict[str, Any]:
        """A mapping as it is."""
        return self.content if isinstance(self.content, dict) else self._wrong("a mapping")

    def sequence(self) -> list[Any]:
        """A list as it is."""
        return self.content if isinstance(self.content, list) else self._wrong("a list")

    def text(self, longest: int = LONGEST_TEXT) -> str:
        """A text of at most so many characters."""
        if not isinstance(self.content, str):
            self._wrong("a text")
        if len(self.content) > longest:
            self.fail(f"has {len(self.content)} characters, and at most {longest} are read")
        return self.content

    def flag(self) -> bool:
        """True or false."""
        return self.content if isinstance(self.content, bool) else self._wrong("true or false")

    def whole(self, least: int = 0, most: int = _LARGEST_COUNT) -> int:
        """A whole number in a range, both ends included."""
        if type(self.content) is not int:
            self._wrong("a whole number")
        if not least <= self.content <= most:
            self.fail(f"is out of range: {_brief(self.content)} is not from {least} to {most}")
        return int(self.content)

    def real(self) -> float:
        """A finite number that can be printed."""
        if not isinstance(self.content, int | float) or isinstance(self.content, bool):
            self._wrong("a number")
        if not abs(self.content) <= _LARGEST:
            self.fail(f"is out of range: {_brief(self.content)} is no measurement")
        return float(self.content)

    def wholes(self, least: int = 0, most: int = _LARGEST_COUNT, count: int | None = None) -> tuple[int, ...]:
        """A list of whole numbers in a range, of a given length."""
        numbers = self.sequence()
        if count is not None and len(numbers) != count:
            self.fail(f"has {len(numbers)} elements instead of {count}")
        if not all(type(number) is int and least <= number <= most for number in numbers):
            self.fail(f"is no list of whole numbers from {least} to {most}")
        return tuple(numbers)

    def texts(self, longest: int = LONGEST_TEXT) -> tuple[str, ...]:
        """A list of texts."""
        texts = self.sequence()
        if not all(isinstance(text, str) and len(text) <= longest for text in texts):
            self.fail(f"is no list of texts of at most {longest} characters")
        return tuple(texts)

    def further(self, known: Sequence[str]) -> dict[str, Any]:
        """Members of a mapping that have no name in `known`."""
        return {key: value for key, value in self.mapping().items() if key not in known}

    def check_seal(self) -> None:
        """The content is what `sealed` was given; nobody has changed it since."""
        if self[_SEAL].text() != _checksum(self.further((_SEAL,))):
            self[_SEAL].fail("is not that of the content, which was changed after it was written")

    def replaced(self, content: Any) -> "Value":
        """Another value at this place."""
        return Value(content, self._file, self._keys)

    def _wrong(self, wanted: str) -> NoReturn:
        self.fail(f"is {type(self.content).__name__} instead of {wanted}")


def read_json(file: Path, most: int, *, follow: bool = True) -> Value:
    """Read a JSON file that need not be trusted.

    Args:
        file: The file.
        most: Bytes that it may have.
        follow: Whether it may be a link to a regular file.

    Raises:
        FileError: It is no regular file, too large or too deep, or no JSON.
        OSError: It cannot be read.
    """
    content = read_bounded(file, most, follow=follow)
    if content.count(b",") > _MOST_VALUES or content.count(b"[") + content.count(b"{") > _MOST_GROUPS:
        raise FileError(file, f"it has more than {_MOST_VALUES:,} values, or {_MOST_GROUPS:,} lists and mappings")
    if _depth(content) > _DEEPEST:
        raise FileError(file, f"its values are nested too deep, in more than {_DEEPEST} levels")
    try:
        value = json.loads(content.decode("utf-8"), parse_constant=_refuse)
        if _SURROGATE.search(content):  # half a character can be written but never printed
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeError as error:
        raise FileError(file, "it has text that is no UTF-8") from error
    except ValueError as error:
        raise FileError(file, f"no JSON, or cut off ({' '.join(str(error).split())[:200]})") from error
    return Value(value, file)


def plain(value: Any) -> Any:
    """What JSON has for a value: lists for tuples, null for numbers that are not finite, text that can be encoded.

    >>> plain({"a": (1, float("nan"))})
    {'a': [1, None]}
    """
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, str):  # file names may hold bytes that are no UTF-8
        return value.encode("utf-8", "backslashreplace").decode()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def differences(one: Any, other: Any, name: str = "") -> list[str]:
    """Where two JSON values differ, as dotted names of the keys.

    >>> differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}})
    ['a.c']
    """
    if isinstance(one, dict) and isinstance(other, dict):
        keys = list(dict.fromkeys([*one, *other]))
        parts = (differences(one.get(key), other.get(key), f"{name}.{key}" if name else key) for key in keys)
        return [difference for part in parts for difference in part]
    return [] if one == other else [name or "subject"]


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """JSON-able content with a checksum of its own, which tells a changed one from what was written."""
    content = plain(value)
    return {**content, _SEAL: _checksum(content)}


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def as_text(value: Mapping[str, Any], depth: int = 3) -> str:
    """JSON of a mapping, a line per member down to a depth and lists of numbers in one line.

    >>> print(as_text({"a": {"b": [1, 2]}, "c": []}), end="")
    {
     "a": {
      "b": [1,2]
     },
     "c": []
    }
    """
    return _lines(plain(value), depth, "\n") + "\n"


def _lines(value: Any, depth: int, line: str) -> str:
    if not isinstance(value, dict) or not value or not depth:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    inner = line + " "
    members = (f"{json.dumps(key)}: {_lines(member, depth - 1, inner)}" for key, member in value.items())
    return f"{{{inner}{f',{inner}'.join(members)}{line}}}"


def _depth(content: bytes) -> int:
    """Levels of brackets; those in texts count too, of which nobody has a hundred unclosed ones."""
    letters = np.frombuffer(content, dtype=np.uint8)
    opening, closing = (np.isin(letters, list(kind)) for kind in (b"[{", b"]}"))
    steps = opening.astype(np.int8) - closing
    return int(steps[steps != 0].cumsum(dtype=np.int64).max(initial=0))


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _brief(number: float) -> str:
    return str(number) if isinstance(number, float) or abs(number) < _LARGEST_COUNT else "a number of many digits"
