"""What a checkpoint says about the fit that it interrupts, so that no other fit goes on from it."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint

from datamodules.base import DegradedDataModule
from datamodules.errors import UserError
from datamodules.views import Unreadable

UNREADABLE = "unreadable"
"""What a checkpoint calls the images that could not be read: index, path and reason of each."""

_KEY, _CONTENT = "fit", "content"
_UNSAID_BEFORE = (f"data.{_CONTENT}", "trainer.")  # settings that checkpoints of earlier versions lack
_HYPERPARAMETERS = ("hparams_name", "hyper_parameters", "hparams_type")  # Lightning's keys
_MISSING = object()


def data_settings(data: DegradedDataModule) -> dict[str, Any]:
    """What of the data decides about the course of a fit: JSON-able, under the names of the options."""
    return {
        "class_path": type(data).__name__,
        _CONTENT: data.content,
        **data.selection.describe(),
        "validation_every": data.validation_every,
        "batch_size": data.batch_size,
        "seed": data.seed,
        "training_views": data.training_views and data.training_views.describe(),
    }


def label(checkpoint: dict[str, Any], weights: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Write into a checkpoint what it is of, in place of hyperparameters that would outvote a command line.

    Args:
        checkpoint: What Lightning is about to save.
        weights: What the state dict fits, JSON-able.
        settings: What else decides about the course of the fit, JSON-able, under the names of the options.
    """
    for key in _HYPERPARAMETERS:
        checkpoint.pop(key, None)
    checkpoint[_KEY] = {"weights": _plain(weights), "settings": _plain(settings)}


def require_same(
    checkpoint: Mapping[str, Any], weights: Mapping[str, Any], settings: Mapping[str, Any] | None = None
) -> None:
    """Refuse a checkpoint of another fit.

    Args:
        checkpoint: What Lightning has read.
        weights: As in `label`.
        settings: As in `label`; None where nothing is to be continued.

    Raises:
        UserError: It is no checkpoint of a fit, or one of a fit with other weights or settings.
    """
    if not isinstance(found := checkpoint.get(_KEY), Mapping):
        raise UserError(
            "`ckpt_path` is no checkpoint of a fit by this program: give one of its last.ckpt", option="ckpt_path"
        )
    for part, asked in (("weights", weights), ("settings", settings)):
        if asked is None:
            continue
        before, now = dict(_leaves(found.get(part))), dict(_leaves(_plain(asked)))
        for name in dict.fromkeys([*before, *now]):
            theirs, ours = before.get(name, _MISSING), now.get(name, _MISSING)
            unsaid = name.startswith(_UNSAID_BEFORE) and theirs is _MISSING
            if theirs != ours and not unsaid:
                raise UserError(
                    f"`ckpt_path` is of a fit with {name} {_say(theirs)}, not {_say(ours)}: ask for what it was begun "
                    "with, or begin a fit of its own without `ckpt_path`",
                    option="ckpt_path",
                )


def unreadable_images(checkpoint: Mapping[str, Any]) -> list[Unreadable]:
    """The images that a fit could not read before a checkpoint; those of earlier versions list none.

    Raises:
        UserError: What it lists are no such images.
    """
    listed = checkpoint.get(UNREADABLE, ())
    if not isinstance(listed, list | tuple) or not all(map(_is_unreadable, listed)):
        raise UserError("`ckpt_path` is damaged: what could not be read is no list of images", option="ckpt_path")
    return [Unreadable(*image) for image in listed]


def _is_unreadable(image: Any) -> bool:
    if not isinstance(image, list | tuple) or len(image) != 3:
        return False
    index, path, reason = image
    return type(index) is int and index >= 0 and isinstance(path, str | None) and isinstance(reason, str)


def follow_moved(checkpoint: Mapping[str, Any], watches: Iterable[ModelCheckpoint]) -> None:
    """Let a checkpoint whose folder was moved name its other checkpoints where they are now.

    Lightning would forget which of them was the best and go on with a name that leads nowhere.

    Args:
        checkpoint: What Lightning has read, changed in place.
        watches: The callbacks that write checkpoints, set up.
    """
    states = checkpoint.get("callbacks", {})
    for watch in watches:
        state, now = states.get(watch.state_key, {}), watch.dirpath
        before = state.get("dirpath")
        if before is not None and now is not None and str(before) != str(now):
            states[watch.state_key] = _moved(state, str(before), str(now))


def _moved(value: Any, before: str, now: str) -> Any:
    if isinstance(value, dict):
        return {_moved(key, before, now): _moved(inner, before, now) for key, inner in value.items()}
    if isinstance(value, str) and (value == before or value.startswith(before + os.sep)):
        return now + value.removeprefix(before)
    return value


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of what mappings hold.

    >>> list(_leaves({"a": {"b": 1}, "c": [2]}))
    [('a.b', 1), ('c', [2])]
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _say(value: Any) -> str:
    return "unset" if value is _MISSING else json.dumps(value, ensure_ascii=False)
