"""Any folder of images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from datamodules.base import DegradedDataModule
from datamodules.sources import FolderSource, Source


class ImageFolder(DegradedDataModule):
    """Images of any size and format below a folder, a subfolder per class: `<root>/[<split>/]<class>/**/<image>`.

    Where `root` has folders named `train` and `test`, those are the splits; otherwise `root` is the one split there is.
    Images that lie directly in the split's folder have no labels, which is enough for `predict`.

    Args:
        root: The folder.
        class_names: Names to put into the prompt: a map from folder names, or a list in the order of the sorted folder
            names. Needed as a list where images have no labels.
        **kwargs: See `DegradedDataModule`.
    """

    dataset_name: ClassVar[str] = "image_folder"

    def __init__(self, root: Path, class_names: Mapping[str, str] | Sequence[str] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root, self.names = Path(root), class_names

    def _source(self, split: str) -> Source:
        splits = (self.root / "train").is_dir() and (self.root / "test").is_dir()
        return FolderSource(self.root / split if splits else self.root, self.names)

    def describe(self) -> dict[str, Any]:
        """What a result record says about the data: JSON-able."""
        return {**super().describe(), "root": self.root.name}
