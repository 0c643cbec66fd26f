"""STL-10 (Coates, Lee and Ng, 2011), stored without loss."""

from pathlib import Path
from typing import Any, ClassVar

from datamodules.archives import fetch, reading, require
from datamodules.base import DegradedDataModule
from datamodules.errors import UserError
from datamodules.prompts import published_templates
from datamodules.sources import ArraySource, Source

CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")


class STL10(DegradedDataModule):
    """13,000 labelled images of 96 x 96 pixels in ten classes: 5,000 to train, 8,000 to test.

    Args:
        root: Folder that holds torchvision's `stl10_binary`.
        download: Fetch the archive (2.6 GB, most of it unlabelled images) unless an acceptable copy is there.
        verify_checksums: Refuse a copy whose checksums torchvision does not know. The unlabelled images are not needed.
        **kwargs: See `DegradedDataModule`.
    """

    dataset_name: ClassVar[str] = "stl10"

    def __init__(
        self, root: Path = Path("data"), download: bool = False, verify_checksums: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.root, self.download, self.verify_checksums = Path(root).expanduser(), download, verify_checksums

    def prepare_data(self) -> None:
        """Download what is missing, on one process per machine."""
        from torchvision import datasets

        if self.incomplete():
            archive = datasets.STL10
            fetch(archive, self.root, [*archive.train_list[:2], *archive.test_list])

    def incomplete(self) -> bool:
        """Whether `prepare_data` will download."""
        try:
            return self.download and not (self._files("train") and self._files("test"))
        except UserError:
            return True

    def _files(self, split: str) -> list[list[str | None]]:
        from torchvision import datasets

        archive = datasets.STL10
        labelled = archive.train_list[:2] if split == "train" else archive.test_list
        return require(archive, self.root, labelled, verify=self.verify_checksums)

    def source(self, split: str) -> Source:
        from torchvision import datasets

        archive, files = datasets.STL10, self._files(split)
        lists = {"train_list": files, "test_list": files}
        with reading(archive, self.root):
            data = type(archive.__name__, (archive,), lists)(self.root, split=split)
            source = ArraySource(data.data.transpose(0, 2, 3, 1), data.labels, CLASSES)
        source.templates = published_templates("stl10")
        return source
