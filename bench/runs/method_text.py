"""The choices of a fit's method as its record describes them, in words."""

from collections.abc import Mapping
from typing import Any

from bench.runs.json_values import Value

LONGEST_NAME = 255
"""Characters of a name in a record, as in file systems."""


def in_words(described: Mapping[str, Any] | None) -> str:
    """A choice, as a record describes it, in one line.

    >>> in_words({"name": "LoRA", "rank": 8}), in_words(None)
    ('LoRA (rank 8)', 'the last projection')
    """
    if described is None:
        return "the last projection"
    inner = ", ".join(
        " + ".join(in_words(term) for term in value) if name == "terms" else f"{name} {value}"
        for name, value in described.items()
        if name not in ("name", "label_free")
    )
    return f"{described['name']} ({inner})" if inner else str(described["name"])


def check_choice(value: Value) -> None:
    """Refuse a choice that `in_words` cannot tell.

    Raises:
        FileError: It, or a term of it, has no name.
    """
    value["name"].text(LONGEST_NAME)
    for term in value["terms"].elements() if "terms" in value else ():
        check_choice(term)
