"""STL-10 (Coates, Lee and Ng, 2011), stored without loss."""

from pathlib import Path
from typing import Any, ClassVar

from datamodules.archives import fetch, require
from datamodules.base import DegradedDataModule
from datamodules.sources import ArraySource, Source

CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")


class STL10(DegradedDataModule):
    """13,000 labelled images of 96 x 96 pixels in ten classes: 5,000 to train, 8,000 to test.

    Args:
        root: Folder that holds torchvision's `stl10_binary`.
        download: Fetch the archive (2.6 GB, most of it unlabelled images) if it is not there.
        verify_checksums: Refuse a copy whose checksums torchvision does not know. The unlabelled images are not needed.
        **kwargs: See `DegradedDataModule`.
    """

    dataset_name: ClassVar[str] = "stl10"

    def __init__(
        self, root: Path = Path("data"), download: bool = False, verify_checksums: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.root, self.download, self.verify_checksums = Path(root), download, verify_checksums

    def prepare_data(self) -> None:
        """Download, on one process per machine."""
        from torchvision import datasets

        if self.download:
            fetch(datasets.STL10, self.root)

    def _source(self, split: str) -> Source:
        from torchvision import datasets

        archive = datasets.STL10
        labelled = archive.train_list[:2] if split == "train" else archive.test_list
        checked = require(archive, self.root, labelled, verify=self.verify_checksums)

        lists = {"train_list": checked, "test_list": checked}
        data = type(archive.__name__, (archive,), lists)(self.root, split=split)
        return ArraySource(data.data.transpose(0, 2, 3, 1), data.labels, CLASSES)
