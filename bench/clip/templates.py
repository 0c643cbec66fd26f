"""Prompt templates as users give them: in full, by a known name, in a file, or those that a data set brings."""

from collections.abc import Sequence
from pathlib import Path

from bench.clip.text_classifier import check_templates
from datamodules.base import DegradedDataModule
from datamodules.class_names import read_class_names
from datamodules.errors import UserError

OF_THE_DATA = "dataset"
_SHIPPED = {"openai-imagenet": "OPENAI_IMAGENET_TEMPLATES", "simple": "SIMPLE_IMAGENET_TEMPLATES"}
NAMES = (OF_THE_DATA, *_SHIPPED)


def read_templates(given: Sequence[str] | str) -> tuple[str, ...]:
    """Prompts with "{}" where the class name goes; none where they are to be those that the data set brings.

    "openai-imagenet" (80 prompts, Radford et al. 2021) and "simple" (7 of them) are open_clip's lists.

    Args:
        given: The prompts, a single one, one of `NAMES`, or a file: a prompt per line, or a list in JSON.

    Raises:
        UserError: A name is unknown, a file cannot be read, or a prompt has no single place for the class name.

    >>> read_templates("a photo of a {}.")
    ('a photo of a {}.',)
    >>> read_templates("simple")[0]
    'itap of a {}.'
    """
    if given == OF_THE_DATA:
        return ()
    if not isinstance(given, str):
        templates = tuple(given)
    elif given in _SHIPPED:
        from open_clip import zero_shot_metadata

        templates = tuple(template("{}") for template in getattr(zero_shot_metadata, _SHIPPED[given]))
    elif "{}" in given:
        templates = (given,)
    else:
        templates = _from_file(given)
    check_templates(templates)
    return templates


def templates_of(data: DegradedDataModule) -> tuple[str, ...]:
    """The prompts that a data set brings.

    Raises:
        UserError: It brings none, or none that can be used.
    """
    if not data.templates:
        raise UserError(
            f"{data.dataset_name} brings no prompts of its own: choose `templates` {' or '.join(_SHIPPED)}, or write "
            "them out",
            option="model.templates",
        )
    check_templates(data.templates)
    return data.templates


def _from_file(name: str) -> tuple[str, ...]:
    if not Path(name).expanduser().is_file():
        raise UserError(
            f"`templates` {name!r} is neither a prompt with '{{}}' in the place of the class name nor one of "
            f"{', '.join(NAMES)}, nor a file: write a prompt, or correct the name",
            option="model.templates",
        )
    found = read_class_names(Path(name), "templates")
    if isinstance(found, dict) or not all(isinstance(template, str) for template in found):
        raise UserError(
            f"file of templates {name!r} holds no list of prompts: give a prompt per line", option="model.templates"
        )
    return tuple(found)
