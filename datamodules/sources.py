"""Where images come from: an indexed collection of lossless (or declared lossy) images with labels."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
from PIL import Image

from datamodules.degradations import Degradation, Degraded

UNLABELLED = -1

_AT_ONCE = 1024


@dataclass(frozen=True)
class AlreadyLossy:
    """Images of a source that are stored in formats which lose detail, or can.

    Attributes:
        formats: Pillow's names of them, sorted.
        count: How many images are known to be stored so.
        first: Path of the first of them.
    """

    formats: tuple[str, ...] = ()
    count: int = 0
    first: str | None = None


class Source(ABC):
    """Images of one split of a data set, addressed by index.

    Attributes:
        classes: Class names as they are put into the prompt; a label is an index into them.
        templates: Prompts that belong to the data set, with "{}" in the place of the class name; none where none are
            known.
    """

    classes: tuple[str, ...]
    templates: tuple[str, ...] = ()

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def load(self, index: int) -> Image.Image:
        """Open image `index` in whatever mode it is stored; may raise whatever the decoder raises."""

    @abstractmethod
    def label(self, index: int) -> int:
        """Class of image `index`, or UNLABELLED."""

    @property
    def labelled(self) -> bool:
        """Whether the images have labels: all of them or none."""
        return len(self) > 0 and self.label(0) != UNLABELLED

    def path(self, index: int) -> str | None:
        """Where image `index` lies, relative to the data root, in valid UTF-8; None if it is no file."""
        return None

    def file_size(self, index: int) -> int | None:
        """Bytes of the file that image `index` is; None if it is no file of its own.

        Raises:
            OSError: The file is gone.
        """
        return None

    def file(self, index: int) -> bytes | None:
        """The file that image `index` is; None if it is no file of its own.

        Raises:
            OSError: The file is gone.
        """
        return None

    def degraded(self, index: int, image: Image.Image, degradation: Degradation) -> Degraded:
        """A view of image `index`: what a degradation makes of it, unless the source has views of its own.

        Args:
            index: Position of the image.
            image: The image as upright RGB; it is left as it is.
            degradation: The view.
        """
        return degradation(image)

    @abstractmethod
    def content(self) -> str:
        """A digest of images and labels, `sha256:<hex>`; equal for equal sources wherever they lie."""

    def already_lossy(self) -> AlreadyLossy:
        """Which images have lost detail before any degradation."""
        return AlreadyLossy()

    def passed_over(self) -> str | None:
        """What lies beside the images and is not among them, in one line; None if nothing does."""
        return None


class ArraySource(Source):
    """A source whose images are arrays in memory.

    Args:
        images: uint8 [N, H, W, 3].
        labels: N class indices.
        classes: Class names.

    Raises:
        ValueError: The arguments do not fit each other.
    """

    def __init__(self, images: npt.NDArray[np.uint8], labels: Sequence[int], classes: Sequence[str]) -> None:
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
            raise ValueError(f"images are {images.dtype} {list(images.shape)}, not uint8 [N, H, W, 3]")
        if len(images) != len(labels):
            raise ValueError(f"{len(images)} images have {len(labels)} labels")
        if not set(np.unique(labels).tolist()) <= set(range(len(classes))):
            raise ValueError(f"labels lie outside 0 to {len(classes) - 1}")
        self.images = np.ascontiguousarray(images)  # torchvision hands over planes, which Pillow takes slowly
        self.labels, self.classes = np.asarray(labels), tuple(classes)

    def __len__(self) -> int:
        return len(self.images)

    def load(self, index: int) -> Image.Image:
        return Image.fromarray(self.images[index])

    def label(self, index: int) -> int:
        return int(self.labels[index])

    def content(self) -> str:
        return digest(
            [str(self.images.shape), *self.labels.tolist()], (np.ascontiguousarray(image).data for image in self.images)
        )


def digest(facts: Iterable[object], blocks: Iterable[bytes | memoryview] = ()) -> str:
    """`sha256:<hex>` of the representations of facts, a line each, and of blocks of bytes.

    >>> digest(["a", 1]) == digest(["a", 1]) != digest(["a", "1"])
    True
    """
    found = hashlib.sha256()
    lines = (f"{fact!r}\n" for fact in facts)
    while several := "".join(islice(lines, _AT_ONCE)):
        found.update(several.encode("utf-8", "backslashreplace"))
    for block in blocks:
        found.update(block)
    return f"sha256:{found.hexdigest()}"
