"""What is looked at when a split is opened, whatever data set it is of."""

import unicodedata
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from datamodules.corrupted_arrays import CorruptedArrays
from datamodules.degradations import Degradation
from datamodules.degradations.published import PublishedCorruption
from datamodules.errors import UserError
from datamodules.notices import say
from datamodules.selection import Selection
from datamodules.sources import Source


def require_root(root: Path) -> None:
    """Refuse a data root that is no folder.

    Raises:
        UserError: It is none, or missing.
    """
    if not root.is_dir():
        raise UserError(
            f"data root {str(root)!r} is not a folder: give an existing one with `root`", option="data.root"
        )


def check_views(source: Source, degradations: Iterable[Degradation]) -> None:
    """Refuse views that are read from published arrays where the images come without any.

    Args:
        source: The split's images.
        degradations: The views.

    Raises:
        UserError: There is such a view.
    """
    published = [view.name for view in degradations if isinstance(view, PublishedCorruption)]
    if published and not isinstance(source, CorruptedArrays):
        raise UserError(
            f"view {published[0]!r} is published for CIFAR-10 and CIFAR-100 only: take one of these with `corrupted`, "
            "or leave the view out",
            option="data.degradations",
        )


def check_classes(source: Source, split: str) -> None:
    """Refuse class names between which nothing can be chosen.

    Args:
        source: The split's images.
        split: Its name, for messages.

    Raises:
        UserError: There are fewer than two, or one occurs twice, however its accents are stored.
    """
    names = [unicodedata.normalize("NFC", name) for name in source.classes]
    if len(set(names)) != len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise UserError(f"class name {repeated!r} is listed twice: give each class a name of its own")
    if len(names) < 2:
        raise UserError(
            f"{split}: the classes are {names}, which leaves nothing to choose between: lay the images out in two "
            "or more class folders, or list more `class_names`",
            option="data.class_names",
        )


def say_what_is_left_out(source: Source, selection: Selection, split: str) -> None:
    """Say where a limit takes images of few classes, as it does of a folder that is sorted by class.

    Args:
        source: The split's images.
        selection: Which of them are used.
        split: Its name.

    Raises:
        UserError: The selection has a position that lies outside the split.
    """
    chosen = selection.of(len(source))
    if selection.limit is None or not source.labelled:
        return
    found = {source.label(index) for index in chosen}
    if 2 * len(found) < min(len(source.classes), len(chosen)):
        every = selection.every * -(-len(replace(selection, limit=None).of(len(source))) // len(chosen))
        mend = "" if selection.indices is not None else f": --data.every {every} in its place takes them evenly"
        say(
            f"{split}: the {len(chosen):,} images that --data.limit takes are of {len(found):,} of "
            f"{len(source.classes):,} classes{mend}"
        )


def say_what_is_odd(source: Source, split: str) -> None:
    """Say which files are passed over, and that originals are compressed already, which biases every drop down.

    Args:
        source: The split's images.
        split: Its name.
    """
    if others := source.passed_over():
        say(f"{split}: files that are no images are passed over: {others}")
    if (lossy := source.already_lossy()).count:
        say(
            f"{split}: {lossy.count} of {len(source)} source images are already compressed "
            f"({', '.join(lossy.formats)}; the first is {lossy.first}): their 'original' is not lossless, so drops "
            "are biased, mostly down; use a lossless copy if there is one"
        )
