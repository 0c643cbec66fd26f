"""Any folder of images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from datamodules.base import DegradedDataModule
from datamodules.sources import FolderSource, Source, visible

_SPLIT_FOLDERS = {"train", "test", "val", "valid", "validation"}


class ImageFolder(DegradedDataModule):
    """Images of any size and format below a folder, a subfolder per class: `<root>/[<split>/]<class>/**/<image>`.

    Where `root` has folders named `train` and `test`, or no others than such as are named like splits, those are the
    splits; otherwise `root` is the one split there is, and fitting sees the images that testing sees.
    Images that lie directly in the split's folder have no labels, which is enough for `predict`.

    A batch holds its views at native size: a photograph of 12 megapixels in four views is 144 MB. At most
    (num_workers * prefetch + 2) * batch_size such images are in memory, however many there are.

    Args:
        root: The folder.
        class_names: Names to put into the prompt: a map from folder names, or a list in the order of the sorted folder
            names. Needed as a list where images have no labels.
        **kwargs: See `DegradedDataModule`.
    """

    dataset_name: ClassVar[str] = "image_folder"

    def __init__(self, root: Path, class_names: Mapping[str, str] | Sequence[str] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root, self.names = Path(root).expanduser(), class_names

    def source(self, split: str) -> Source:
        folders = set(visible(self.root)[0]) if self.root.is_dir() else set()
        split_up = folders >= {"train", "test"} or (folders and folders <= _SPLIT_FOLDERS)
        return FolderSource(self.root / split if split_up else self.root, self.names)

    def describe(self) -> dict[str, Any]:
        """What a result record says about the data: JSON-able."""
        return {**super().describe(), "root": self.root.name}
