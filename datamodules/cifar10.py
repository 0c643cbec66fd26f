"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009), stored without loss."""

from pathlib import Path
from typing import Any, ClassVar

from datamodules.archives import Files, fetch, reading, require
from datamodules.base import DegradedDataModule
from datamodules.corrupted_arrays import CorruptedArrays
from datamodules.degradations.published import PublishedCorruption
from datamodules.errors import UserError
from datamodules.prompts import published_templates, spaced
from datamodules.sources import ArraySource, Source


class CIFAR10(DegradedDataModule):
    """60,000 images of 32 x 32 pixels in ten classes: 50,000 to train, 10,000 to test.

    Args:
        root: Folder that holds torchvision's `cifar-10-batches-py`.
        download: Fetch the archive (170 MB) unless an acceptable copy is there.
        verify_checksums: Refuse a copy whose checksums torchvision does not know. Without it, whatever batch files of
            the split are there are used; they are pickles, so only for a copy you trust.
        corrupted: Folder of CIFAR-10-C as it was published (Zenodo record 2535967), whose arrays are then the views
            `published-fog-3` and so on of the test images.
        **kwargs: See `DegradedDataModule`.

    >>> CIFAR10(degradations=["jpeg-{75,25}"]).views
    ('original', 'jpeg-75', 'jpeg-25')
    """

    dataset_name: ClassVar[str] = "cifar10"
    _archive: ClassVar[str] = "CIFAR10"  # torchvision's class

    def __init__(
        self,
        root: Path = Path("data"),
        download: bool = False,
        verify_checksums: bool = True,
        corrupted: Path | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.root, self.download, self.verify_checksums = Path(root).expanduser(), download, verify_checksums
        self.corrupted = corrupted if corrupted is None else Path(corrupted).expanduser()

    def prepare_data(self) -> None:
        """Download what is missing, on one process per machine."""
        if self.incomplete():
            archive = self._torchvision()
            files = [(archive.meta["filename"], archive.meta["md5"]), *archive.train_list, *archive.test_list]
            fetch(archive, self.root, files)

    def incomplete(self) -> bool:
        """Whether `prepare_data` will download."""
        try:
            return self.download and not (self._batches("train") and self._batches("test"))
        except UserError:
            return True

    def _torchvision(self) -> Any:
        from torchvision import datasets

        return getattr(datasets, self._archive)

    def _batches(self, split: str) -> list[list[str | None]]:
        archive = self._torchvision()
        files: Files = archive.train_list if split == "train" else archive.test_list
        if not self.verify_checksums:
            files = [file for file in files if (self.root / archive.base_folder / file[0]).is_file()] or files[:1]
        require(archive, self.root, [(archive.meta["filename"], archive.meta["md5"])], verify=self.verify_checksums)
        return require(archive, self.root, files, verify=self.verify_checksums)

    def source(self, split: str) -> Source:
        archive, batches = self._torchvision(), self._batches(split)
        lists = {"train_list": batches, "test_list": batches, "meta": {**archive.meta, "md5": None}}
        with reading(archive, self.root):
            data = type(archive.__name__, (archive,), lists)(self.root, train=split == "train")
            source = ArraySource(data.data, data.targets, [spaced(name) for name in data.classes])
        if corruptions := self._corruptions():
            source = CorruptedArrays(source.images, data.targets, source.classes, self._folder(split), corruptions)
        source.templates = published_templates(self.dataset_name)
        return source

    def describe(self) -> dict[str, Any]:
        """What a result record says about the data, JSON-able; with published corruptions what their arrays hold."""
        source = self.chosen
        own = {"views_content": source.views_content} if isinstance(source, CorruptedArrays) else {}
        return {**super().describe(), **own}

    def _corruptions(self) -> list[str]:
        views = [view for view in self.degradations if isinstance(view, PublishedCorruption)]
        return list(dict.fromkeys(view.corruption for view in views))

    def _folder(self, split: str) -> Path:
        if self.corrupted is None:
            raise UserError(
                f"views published-... are read from arrays: name the folder of {self._archive[:5]}-"
                f"{self._archive[5:]}-C with `corrupted`",
                option="data.corrupted",
            )
        if split != "test":
            raise UserError(
                f"views published-... are of the test images, and here {split} images are taken: leave them out of "
                "`degradations`",
                option="data.degradations",
            )
        return self.corrupted


class CIFAR100(CIFAR10):
    """60,000 images of 32 x 32 pixels in a hundred classes: 50,000 to train, 10,000 to test.

    Args:
        root: Folder that holds torchvision's `cifar-100-python`.
        download: Fetch the archive (169 MB) unless an acceptable copy is there.
        verify_checksums: As for `CIFAR10`.
        corrupted: Folder of CIFAR-100-C as it was published (Zenodo record 3555552), as for `CIFAR10`.
        **kwargs: See `DegradedDataModule`.
    """

    dataset_name: ClassVar[str] = "cifar100"
    _archive: ClassVar[str] = "CIFAR100"
