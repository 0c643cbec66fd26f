"""torchvision's classification sets as a table: their splits, their prompts, and how they hold images."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from datamodules.image_files import ImageFiles
from datamodules.sources import ArraySource, Source, digest

_FER_PLACES = (
    0,
    1,
    2,
    3,
    5,
    6,
    4,
)  # its labels end in sad, surprised, neutral; the published names in neutral, sad, surprised

Read = Callable[[Any, Path, Sequence[str]], Source]
"""From an instance of torchvision's class, the root and the class names to the images."""


@dataclass(frozen=True)
class TorchvisionSet:
    """What differs between torchvision's data sets.

    Attributes:
        splits: Arguments of torchvision's class by the name of a split here. Where a set has no splits, its one split
            has both names, so that fits and tests see the same images.
        prompts: Name of its published prompts.
        read: How the images are had.
        stored: Format in which the set is published.
        by_hand: Why torchvision does not download it; None where it does.
        separators: What stands between the words of torchvision's class names, where these go into the prompt.
    """

    splits: Mapping[str, Mapping[str, Any]]
    prompts: str
    read: Read
    stored: str
    by_hand: str | None = None
    separators: str = "_"


class Indexed(Source):
    """Images that torchvision's class hands out one by one.

    Args:
        data: An instance of it.
        labels: Class indices.
        classes: Class names.
        files: What the images lie in; their sizes and the labels identify the content.
    """

    def __init__(self, data: Any, labels: Sequence[int], classes: Sequence[str], files: Sequence[Path]) -> None:
        self.data, self.classes, self.files = data, tuple(classes), tuple(files)
        self.labels = np.asarray(labels, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def load(self, index: int) -> Image.Image:
        image: Image.Image = self.data[index][0]
        return image

    def label(self, index: int) -> int:
        return int(self.labels[index])

    def content(self) -> str:
        return digest([*((file.name, file.stat().st_size) for file in self.files), *self.labels.tolist()])


def _below(root: Path, files: Iterable[str | Path], labels: Sequence[int], classes: Sequence[str]) -> ImageFiles:
    return ImageFiles(root, [os.path.relpath(file, root) for file in files], labels, classes)


def _files(images: str, labels: str, data: Any, root: Path, classes: Sequence[str]) -> Source:
    return _below(root, getattr(data, images), getattr(data, labels), classes)


def _sorted_files(data: Any, root: Path, classes: Sequence[str]) -> Source:
    """As `_files`, where torchvision takes files as the file system lists them, which is other on every machine."""
    pairs = sorted(zip(map(str, data._image_files), data._labels, strict=True))
    return _below(root, [file for file, _ in pairs], [label for _, label in pairs], classes)


def _pairs(samples: str, data: Any, root: Path, classes: Sequence[str]) -> Source:
    pairs = getattr(data, samples)
    return _below(root, [file for file, _ in pairs], [label for _, label in pairs], classes)


def _caltech(data: Any, root: Path, classes: Sequence[str]) -> Source:
    folder = Path(data.root) / "101_ObjectCategories"
    files = [
        folder / data.categories[label] / f"image_{number:04d}.jpg"
        for label, number in zip(data.y, data.index, strict=True)
    ]
    return _below(root, files, data.y, classes)


def _planes(data: Any, root: Path, classes: Sequence[str]) -> Source:
    return ArraySource(data.data.transpose(0, 2, 3, 1), data.labels, classes)


def _grey(images: Any, labels: Any, classes: Sequence[str]) -> Source:
    return ArraySource(np.repeat(np.asarray(images, dtype=np.uint8)[..., None], 3, axis=3), labels, classes)


def _mnist(data: Any, root: Path, classes: Sequence[str]) -> Source:
    return _grey(data.data.numpy(), data.targets.numpy(), classes)


def _fer(data: Any, root: Path, classes: Sequence[str]) -> Source:
    labels = [label for _, label in data._samples]
    if None in labels:
        raise ValueError("test.csv has no labels: bring fer2013.csv or icml_face_data.csv")
    places = [_FER_PLACES[label] for label in labels]
    return _grey([image.numpy() for image, _ in data._samples], places, classes)


def _pcam(data: Any, root: Path, classes: Sequence[str]) -> Source:
    files = [data._base_folder / data._FILES[data._split][part][0] for part in ("images", "targets")]
    with data.h5py.File(files[1]) as targets:
        labels = np.asarray(targets["y"]).reshape(-1)
    return Indexed(data, labels.tolist(), classes, files)


def _splits(*names: str, **renamed: str) -> dict[str, dict[str, Any]]:
    return {name: {"split": name} for name in names} | {name: {"split": split} for name, split in renamed.items()}


_WHOLE: dict[str, dict[str, Any]] = {"train": {}, "test": {}}

SETS: dict[str, TorchvisionSet] = {
    "Caltech101": TorchvisionSet(_WHOLE, "caltech101", _caltech, "JPEG"),
    "Country211": TorchvisionSet(
        _splits("train", "test", val="valid"), "country211", partial(_pairs, "samples"), "JPEG"
    ),
    "DTD": TorchvisionSet(_splits("train", "val", "test"), "dtd", partial(_files, "_image_files", "_labels"), "JPEG"),
    "EuroSAT": TorchvisionSet(_WHOLE, "eurosat", partial(_pairs, "samples"), "JPEG"),
    "FER2013": TorchvisionSet(
        _splits("train", "test"), "fer2013", _fer, "CSV", "it is downloaded from Kaggle, by hand, into `fer2013`"
    ),
    "FGVCAircraft": TorchvisionSet(
        _splits("train", "val", "trainval", "test"),
        "fgvc_aircraft",
        partial(_files, "_image_files", "_labels"),
        "JPEG",
    ),
    "Flowers102": TorchvisionSet(
        _splits("train", "val", "test"), "flowers", partial(_files, "_image_files", "_labels"), "JPEG"
    ),
    "Food101": TorchvisionSet(_splits("train", "test"), "food101", partial(_files, "_image_files", "_labels"), "JPEG"),
    "GTSRB": TorchvisionSet(_splits("train", "test"), "gtsrb", partial(_pairs, "_samples"), "PPM"),
    "MNIST": TorchvisionSet({"train": {"train": True}, "test": {"train": False}}, "mnist", _mnist, "arrays"),
    "OxfordIIITPet": TorchvisionSet(
        _splits("test", train="trainval"), "pets", partial(_files, "_images", "_labels"), "JPEG"
    ),
    "PCAM": TorchvisionSet(_splits("train", "val", "test"), "pcam", _pcam, "arrays (h5py)"),
    "RenderedSST2": TorchvisionSet(_splits("train", "val", "test"), "renderedsst2", partial(_pairs, "_samples"), "PNG"),
    "StanfordCars": TorchvisionSet(
        _splits("train", "test"),
        "cars",
        partial(_pairs, "_samples"),
        "JPEG",
        "its address is gone: bring `stanford_cars` by hand",
    ),
    "SUN397": TorchvisionSet(_WHOLE, "sun397", _sorted_files, "JPEG", separators="_/"),
    "SVHN": TorchvisionSet(_splits("train", "test", "extra"), "svhn", _planes, "arrays"),
}
