"""Data sets as tar shards, as CLIP_benchmark has them."""

from pathlib import Path
from typing import Any, ClassVar

from datamodules.base import DegradedDataModule
from datamodules.class_names import ClassNames, prompt_names
from datamodules.errors import UserError
from datamodules.files import open_regular
from datamodules.opening import require_root
from datamodules.shard_source import ShardSource
from datamodules.sources import Source

CLASSES, TEMPLATES, _TYPE = "classnames.txt", "zeroshot_classification_templates.txt", "dataset_type.txt"
_LARGEST_FILE = 2**22  # bytes


class TarShards(DegradedDataModule):
    """Images in tar shards with the names and prompts that belong to them, in CLIP_benchmark's layout.

    `<root>/<split>/<n>.tar` hold images and `.cls` labels, `<root>/<split>/nshards.txt` their number,
    `<root>/classnames.txt` a name per line and `<root>/zeroshot_classification_templates.txt` prompts with `{c}` in the
    place of the name. Nothing is unpacked: shards are indexed once, and every image is read from its place. Networks
    are not asked: the shards lie on a disk.

    Args:
        root: The folder.
        class_names: Names by label, as a list or a file, in place of those in the folder.
        **kwargs: See `DegradedDataModule`.

    >>> TarShards("wds_food101", degradations=["webp-50"]).views
    ('original', 'webp-50')
    """

    dataset_name: ClassVar[str] = "tar_shards"
    splits: ClassVar[tuple[str, ...]] = ("train", "val", "valid", "validation", "test")

    def __init__(self, root: Path, class_names: ClassNames = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root, self.names = Path(root).expanduser(), class_names

    def source(self, split: str) -> Source:
        require_root(self.root)
        folder = self.root / split
        if not folder.is_dir():
            there = [name for name in self.splits if (self.root / name).is_dir()]
            raise UserError(
                f"data root {str(self.root)!r} has no folder {split!r} of shards"
                f"{', only ' + ' and '.join(there) if there else ''}: give another `root` or `split`",
                option=("data.root", "data.split"),
            )
        return open_shards(self.root, split, self.names)

    def describe(self) -> dict[str, Any]:
        """What a result record says about the data: JSON-able."""
        return {**super().describe(), "root": self.root.name}


def open_shards(root: Path, split: str, class_names: ClassNames = None) -> ShardSource:
    """A split of shards with the names and prompts beside it.

    Args:
        root: Holds the folder of the split, and the texts.
        split: The folder's name.
        class_names: Names by label, in place of those in the folder.

    Raises:
        UserError: A shard or a text is missing or damaged, or the set has not one class per image.
    """
    kind = (_lines(root / _TYPE, "type of data set") or ["classification"])[0]
    if kind.lower() != "classification":
        raise UserError(f"{str(root / _TYPE)!r} says {kind!r}: only sets with one class per image are read")
    templates = [line.replace("{c}", "{}") for line in _lines(root / TEMPLATES, "prompts") or [] if line]
    if class_names is not None:
        return ShardSource(root / split, prompt_names(root, [], class_names), templates)
    names = _lines(root / CLASSES, "class names")
    if not names:
        raise UserError(
            f"{str(root)!r} has no {CLASSES}: bring it, or list the names with `class_names`",
            option="data.class_names",
        )
    return ShardSource(root / split, names, templates)


def _lines(file: Path, what: str) -> list[str] | None:
    """The lines of a text file, none of them left out but empty ones at its end; None where there is no such file."""
    if not file.exists():
        return None
    with open_regular(file, what) as opened:
        content = opened.read(_LARGEST_FILE + 1)
    try:
        if len(content) > _LARGEST_FILE:
            raise ValueError(f"it is larger than {_LARGEST_FILE} bytes")
        return [line.strip() for line in content.decode("utf-8-sig").rstrip().splitlines()]
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{what} {str(file)!r} cannot be read ({reason}): save it as UTF-8, one per line") from error
