"""Which images a repaired encoder is tested on: none that it was fitted to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from datamodules.errors import UserError

if TYPE_CHECKING:
    from datamodules.base import DegradedDataModule

_TRAIN = "train"


@dataclass(frozen=True)
class HeldOut:
    """Images to test on.

    Attributes:
        options: Of the data, by name, that choose them.
        sentence: What a reader is told about them.
        fitted: Number of images that are fitted to; None where only a download would tell.
    """

    options: Mapping[str, Any]
    sentence: str
    fitted: int | None


def held_out(data: "DegradedDataModule") -> HeldOut:
    """The tested split, or the part of the train split that fits hold out where there is no other.

    Where the tested split is the train split, has the same content, or is not there, the images are those that fitting
    holds out for validation: every n-th chosen one. Nothing is chosen by them in a repair.

    Args:
        data: As fits take them, with the split to test; not set up.

    Raises:
        UserError: There is no train split, or its images have no labels.
    """
    name = data.dataset_name
    if data.incomplete():
        if data.split == _TRAIN:
            return _part_of_train(data, None)
        return HeldOut({}, f"tested on the {data.split} split of {name}, fitted to its train split", None)
    train = data.source(_TRAIN)
    if not train.labelled:
        raise UserError(
            "the images have no labels, and a repair is judged by precision: sort them into a folder per class",
            option="data.root",
        )
    chosen = len(data.selection.of(len(train)))
    other = _another_split(data, train.content())
    if other is None:
        return _part_of_train(data, chosen)
    fitted = chosen - -(-chosen // data.validation_every)
    sentence = f"fitted to {fitted:,} images of the train split of {name}, tested on its {other} split"
    return HeldOut({"split": other}, sentence, fitted)


def _another_split(data: "DegradedDataModule", content: str) -> str | None:
    """A split that can be tested and has other images than the train split: the chosen one, if it can be had."""
    for split in dict.fromkeys([data.split, *reversed(data.splits)]):
        if split == _TRAIN:
            if split == data.split:
                return None
            continue
        try:
            if data.source(split).content() != content:
                return split
        except UserError:  # there is none
            continue
    return None


def _part_of_train(data: "DegradedDataModule", chosen: int | None) -> HeldOut:
    step, choice = data.validation_every, data.selection
    options: dict[str, Any] = {"split": _TRAIN}
    if choice.indices is not None:
        options |= {"indices": list(choice.indices)[: choice.limit][::step], "limit": None}
    else:
        options |= {"every": step * choice.every, "limit": None if choice.limit is None else -(-choice.limit // step)}
    held = f"one image in {step} of the train split of {data.dataset_name} is held out and tested"
    if chosen is None:
        return HeldOut(options, f"{held}, the others are fitted to", None)
    fitted = chosen - -(-chosen // step)
    sentence = f"{held}: {chosen - fitted:,} images; fitted to the other {fitted:,}"
    return HeldOut(options, sentence, fitted)
