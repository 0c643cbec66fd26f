"""Class names and prompts that were published for data sets, as data with their source beside them."""

import json
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def _published() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((files(__package__) / "data/prompts.json").read_text(encoding="utf-8"))
    return content


def published_templates(name: str) -> tuple[str, ...]:
    """Prompts of a data set, with "{}" in the place of the class name.

    >>> published_templates("food101")
    ('a photo of {}, a type of food.',)
    """
    return tuple(_published()["templates"][name])


def published_class_names(name: str) -> tuple[str, ...] | None:
    """Names of a data set's classes in the order of its labels; None where its own names go into the prompt.

    >>> published_class_names("pcam")
    ('lymph node', 'lymph node containing metastatic tumor tissue')
    """
    names = _published()["class_names"].get(name)
    return None if names is None else tuple(names)


def spaced(name: str, separators: str = "_") -> str:
    """A class name as a text, where a data set has one of these characters between words.

    >>> spaced("aquarium_fish"), spaced("car_interior/backseat", "_/"), spaced("F/A-18")
    ('aquarium fish', 'car interior backseat', 'F/A-18')
    """
    return " ".join(name.translate(dict.fromkeys(map(ord, separators), " ")).split())
