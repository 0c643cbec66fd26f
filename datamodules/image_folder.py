"""Any folder of images."""

from pathlib import Path
from typing import Any, ClassVar

from datamodules.base import DegradedDataModule
from datamodules.class_names import ClassNames
from datamodules.errors import UserError
from datamodules.folders import FolderSource, visible
from datamodules.notices import say
from datamodules.sources import Source


class ImageFolder(DegradedDataModule):
    """Images of any size and format below a folder, a subfolder per class: `<root>/[<split>/]<class>/**/<image>`.

    Where `root` has two or more folders named like splits (train, val, valid, validation, test), or no others, those
    are the splits; otherwise `root` is the one split there is, and fitting sees the images that testing sees.
    Images that lie directly in the split's folder have no labels, which is enough for `predict`.

    Under an evaluation, images that are larger than the encoder's input are fitted to it where they are made, and
    batches are uniform. By itself a batch holds its views at native size: a photograph of 12 megapixels in four views
    is 144 MB. At most (num_workers * prefetch + 2) * batch_size images are in memory, however many there are.

    Args:
        root: The folder.
        class_names: Names to put into the prompt: a map from folder names, a list in the order of the sorted folder
            names, or a file that holds one of them: JSON, or a name per line. Without labels a list is needed.
        **kwargs: See `DegradedDataModule`.

    >>> ImageFolder("photos", {"n02123045": "tabby cat"}, degradations=["webp-{75,50}"]).views
    ('original', 'webp-75', 'webp-50')
    """

    dataset_name: ClassVar[str] = "image_folder"
    splits: ClassVar[tuple[str, ...]] = ("train", "val", "valid", "validation", "test")

    def __init__(self, root: Path, class_names: ClassNames = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root, self.names = Path(root).expanduser(), class_names

    def source(self, split: str) -> Source:
        folders = visible(self.root)[0] if self.root.is_dir() else []
        own = [folder for folder in folders if folder in self.splits]
        if not own or (len(own) == 1 and len(folders) > 1):  # a class may be called train
            if split not in ("train", "test"):
                raise UserError(
                    f"data root {str(self.root)!r} has no folder {split!r}: leave `split` at test", option="data.split"
                )
            return FolderSource(self.root, self.names)
        if split not in own:
            raise UserError(
                f"data root {str(self.root)!r} has no folder {split!r}, only {' and '.join(own)}: add it, or test "
                "another with `split`",
                option="data.split",
            )
        source = FolderSource(self.root / split, self.names)
        classes = set(visible(self.root / split)[0])
        for other in own:
            odd = sorted(classes ^ set(visible(self.root / other)[0])) if classes else []
            if odd:
                say(f"{split}: {odd[0]!r} is a class folder there or in {other} alone, so that each has its own choice")
        return source

    def describe(self) -> dict[str, Any]:
        """What a result record says about the data: JSON-able."""
        return {**super().describe(), "root": self.root.name}
