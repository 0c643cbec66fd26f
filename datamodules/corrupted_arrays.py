"""CIFAR-10-C and CIFAR-100-C (Hendrycks and Dietterich, 2019) as views of their clean images."""

import hashlib
from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from datamodules.archives import one_line
from datamodules.degradations import Degradation, Degraded
from datamodules.degradations.published import SEVERITIES, PublishedCorruption
from datamodules.errors import UserError
from datamodules.sources import ArraySource, digest

_LABELS = "labels"


class CorruptedArrays(ArraySource):
    """Clean images in memory, and beside each its published corruptions, which stay on disk.

    A file `<folder>/<corruption>.npy` holds the images five times over, by severity, in the order of the clean ones;
    `<folder>/labels.npy` has their labels, which show that it is the same order.

    Args:
        images: uint8 [N, H, W, 3].
        labels: N class indices.
        classes: Class names.
        folder: Where the arrays lie.
        corruptions: Names of those that are wanted.

    Raises:
        UserError: An array is missing, or is not of these images.
    """

    def __init__(
        self,
        images: npt.NDArray[np.uint8],
        labels: Sequence[int],
        classes: Sequence[str],
        folder: Path,
        corruptions: Collection[str],
    ) -> None:
        super().__init__(images, labels, classes)
        self.folder, self._wanted = folder, tuple(corruptions)
        self._arrays: dict[str, npt.NDArray[Any]] = {}
        expected = np.tile(self.labels, SEVERITIES)
        published = _array(folder, _LABELS, expected.shape)
        if not np.array_equal(published, expected):
            raise UserError(
                f"{folder / _LABELS!s}.npy has other labels than the clean images, so its corruptions are of others: "
                "take the test split of the set that they belong to",
                option="data.corrupted",
            )
        for corruption in corruptions:
            array = _array(folder, corruption, (SEVERITIES * len(self.images), *self.images.shape[1:]))
            if array.dtype != np.uint8:
                raise UserError(f"{corruption}.npy in {str(folder)!r} holds {array.dtype}, not uint8: replace it")

    def degraded(self, index: int, image: Image.Image, degradation: Degradation) -> Degraded:
        """A published corruption as it is, and any other view made of the clean image."""
        if not isinstance(degradation, PublishedCorruption):
            return super().degraded(index, image, degradation)
        name = degradation.corruption
        if name not in self._arrays:
            self._arrays[name] = np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        pixels = self._arrays[name][(degradation.severity - 1) * len(self) + index]
        return Degraded(Image.fromarray(np.array(pixels)), None)

    @cached_property
    def views_content(self) -> str:
        """Digest of the arrays of the corruptions that are wanted."""
        hashes = {}
        for name in sorted(self._wanted):
            with (self.folder / f"{name}.npy").open("rb") as opened:
                hashes[name] = hashlib.file_digest(opened, "sha256").hexdigest()
        return digest(hashes.items())

    def __getstate__(self) -> dict[str, Any]:
        """A fresh loader process opens the arrays for itself."""
        return self.__dict__ | {"_arrays": {}}


def _array(folder: Path, name: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """An array of a file, without its content.

    Raises:
        UserError: There is no such file, or its array has another shape.
    """
    file = folder / f"{name}.npy"
    if not file.is_file():
        raise UserError(
            f"{str(file)!r} is missing: name the folder of CIFAR-10-C or CIFAR-100-C with `corrupted`",
            option="data.corrupted",
        )
    try:
        array: npt.NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except Exception as error:
        raise UserError(f"{str(file)!r} holds no array ({one_line(error)}): replace it") from error
    if array.shape != shape:
        raise UserError(
            f"{str(file)!r} holds {list(array.shape)}, not {list(shape)}, {SEVERITIES} severities of the clean images: "
            "take the whole test split, and the set that it belongs to"
        )
    return array
