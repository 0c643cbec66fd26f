"""Data sets that torchvision downloads and reads; what differs between them is the table in `torchvision_sets`."""

from difflib import get_close_matches
from http.client import HTTPException
from pathlib import Path
from typing import Any, ClassVar

from lightning.pytorch.trainer.states import TrainerFn

from datamodules.archives import one_line
from datamodules.base import DegradedDataModule
from datamodules.errors import UserError
from datamodules.prompts import published_class_names, published_templates, spaced
from datamodules.sources import Source
from datamodules.torchvision_sets import SETS, TorchvisionSet


class Torchvision(DegradedDataModule):
    """A classification set of torchvision's, with the class names and prompts that were published for it.

    Caltech101, Country211, DTD, EuroSAT, FER2013, FGVCAircraft, Flowers102, Food101, GTSRB, MNIST, OxfordIIITPet, PCAM,
    RenderedSST2, StanfordCars, SUN397 or SVHN. Most are photographs stored as JPEG, which a warning says: what a codec
    costs on top of that is less than it costs on an original.

    Args:
        dataset: Name of torchvision's class.
        root: Folder that holds, or will hold, torchvision's folder of the set.
        download: Let torchvision fetch what is missing.
        split: As the set has it: "test", "train" and, of some, "val", "trainval" or "extra". Sets that come without
            splits (Caltech101, EuroSAT, SUN397) are whole in both "test" and "train".
        **kwargs: See `DegradedDataModule`.

    >>> Torchvision("Food101", degradations=["jpeg-50"]).dataset_name
    'food101'
    """

    splits: ClassVar[tuple[str, ...]] = ("train", "val", "trainval", "test", "extra")

    def __init__(
        self, dataset: str, root: Path = Path("data"), download: bool = False, split: str = "test", **kwargs: Any
    ) -> None:
        if dataset not in SETS:
            near = get_close_matches(dataset, SETS, 1)
            raise UserError(
                f"`dataset` {dataset!r} is none of {', '.join(SETS)}"
                + (f": did you mean {near[0]}?" if near else ": choose one of them"),
                option="data.dataset",
            )
        super().__init__(split=split, **kwargs)
        self.dataset_name = dataset.lower()  # type: ignore[misc]  # of the other modules the class knows it
        self.dataset, self.root, self.download = dataset, Path(root).expanduser(), download
        if split not in self._set.splits:
            raise UserError(
                f"`split` {split!r} is none of {dataset}: choose {' or '.join(self._set.splits)}", option="data.split"
            )

    @property
    def _set(self) -> TorchvisionSet:
        return SETS[self.dataset]

    def prepare_data(self) -> None:
        """Let torchvision download what is missing, on one process per machine."""
        for split in self._missing():
            if self._set.by_hand is not None:
                raise UserError(f"torchvision cannot download {self.dataset}: {self._set.by_hand}, below `root`")
            try:
                self._torchvision(split, download=True)
            except (OSError, RuntimeError, HTTPException, EOFError, ValueError) as error:
                raise UserError(
                    f"{self.dataset} could not be downloaded into {str(self.root)!r} ({one_line(error)}): check the "
                    "network, or bring the files by hand"
                ) from error

    def incomplete(self) -> bool:
        """Whether `prepare_data` will download."""
        return bool(self._missing())

    def _missing(self) -> list[str]:
        """The split that is to be downloaded: the one that is tested, or that which is fitted."""
        if not self.download:
            return []
        fits = self.trainer is not None and self.trainer.state.fn in (TrainerFn.FITTING, TrainerFn.VALIDATING)
        split = "train" if fits else self.split
        return [] if self._is_there(split) else [split]

    def _is_there(self, split: str) -> bool:
        try:
            self._torchvision(split)
        except Exception:  # which torchvision's classes raise in many ways where a set is not there
            return False
        return True

    def _torchvision(self, split: str, **options: Any) -> Any:
        from torchvision import datasets

        return getattr(datasets, self.dataset)(self.root, **self._set.splits[split], **options)

    def source(self, split: str) -> Source:
        try:
            data = self._torchvision(split)
            source = self._set.read(data, self.root, self._class_names(data))
        except Exception as error:
            raise UserError(
                f"{str(self.root)!r} does not hold a readable {self.dataset} ({one_line(error)}): name the folder that "
                "does with `root`, or add `download=True`",
                option=("data.root", "data.download"),
            ) from error
        source.templates = published_templates(self._set.prompts)
        return source

    def _class_names(self, data: Any) -> tuple[str, ...]:
        own = getattr(data, "classes", getattr(data, "categories", None))
        names = published_class_names(self._set.prompts)
        if names is None:
            return tuple(spaced(name, self._set.separators) for name in own or ())
        if own is not None and len(own) != len(names):
            raise ValueError(f"it has {len(own)} classes, not {len(names)}")
        return names
