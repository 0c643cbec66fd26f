"""ImageNet-1k (Russakovsky et al., 2015), in torchvision's layout; its photographs are JPEGs."""

from pathlib import Path
from typing import Any, ClassVar

from lightning.pytorch.trainer.states import TrainerFn

from datamodules.archives import one_line
from datamodules.base import DegradedDataModule
from datamodules.errors import UserError
from datamodules.folders import FolderSource, visible
from datamodules.sources import Source

_OWN_NAMES = {"n04008634": "projectile", "n04356056": "dark glasses"}
"""WordNet's words for the two classes whose names in open_clip's list, missile and sunglasses, are those of another."""


class ImageNet(DegradedDataModule):
    """1,281,167 photographs to train and 50,000 to validate, in a thousand classes.

    They lie in torchvision's layout, `<root>/<split>/<WordNet id>/<image>`. Class names and the 80 prompts are
    open_clip's, but for two names that occur twice there: the class "projectile, missile" is called projectile, and
    "sunglasses, dark glasses, shades" dark glasses. The photographs are JPEGs, so that drops are biased, mostly down,
    which a warning says.

    Args:
        root: Folder that holds `val` and `train`, or the archives (see `download`).
        download: Let torchvision unpack the archives that have to be fetched by hand: `ILSVRC2012_devkit_t12.tar.gz`
            and `ILSVRC2012_img_val.tar` or `ILSVRC2012_img_train.tar`, in `root`.
        split: "val" or "train".
        **kwargs: See `DegradedDataModule`.

    >>> ImageNet("imagenet", degradations=["jpeg-50"]).split
    'val'
    """

    dataset_name: ClassVar[str] = "imagenet"
    splits: ClassVar[tuple[str, ...]] = ("val", "train")

    def __init__(self, root: Path, download: bool = False, split: str = "val", **kwargs: Any) -> None:
        super().__init__(split=split, **kwargs)
        self.root, self.download = Path(root).expanduser(), download

    def prepare_data(self) -> None:
        """Let torchvision unpack what is missing, on one process per machine."""
        from torchvision import datasets

        if self.incomplete():
            try:
                datasets.ImageNet(self.root, split=self._needed())
            except Exception as error:
                raise UserError(
                    f"ImageNet cannot be unpacked in {str(self.root)!r} ({one_line(error)}): put "
                    "ILSVRC2012_devkit_t12.tar.gz and ILSVRC2012_img_val.tar or ILSVRC2012_img_train.tar there"
                ) from error

    def incomplete(self) -> bool:
        """Whether `prepare_data` will unpack."""
        return self.download and not (self.root / self._needed()).is_dir()

    def _needed(self) -> str:
        fits = self.trainer is not None and self.trainer.state.fn in (TrainerFn.FITTING, TrainerFn.VALIDATING)
        return "train" if fits else self.split

    def source(self, split: str) -> Source:
        from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

        folder, names = self.root / split, class_names()
        there = visible(folder)[0] if folder.is_dir() else []
        if wrong := sorted(set(names) ^ set(there)):
            state = "missing" if wrong[0] in names else "none of the thousand"
            raise UserError(
                f"{str(folder)!r} holds {len(there)} class folders, {wrong[0]!r} is {state}: name the folder that "
                "holds ImageNet's `val` or `train` with `root`, add `download=True` where its archives lie there, or "
                "take a part of the classes with datamodules.ImageFolder",
                option=("data.root", "data.download"),
            )
        source = FolderSource(folder, names)
        source.templates = tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)
        return source


def class_names() -> dict[str, str]:
    """The thousand names as they are put into prompts, by WordNet id, in the order of the labels.

    >>> list(class_names().items())[:2]
    [('n01440764', 'tench'), ('n01443537', 'goldfish')]
    """
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
    from timm.data import ImageNetInfo

    return dict(zip(ImageNetInfo().label_names(), IMAGENET_CLASSNAMES, strict=True)) | _OWN_NAMES
