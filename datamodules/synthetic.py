"""A rendered image set that needs no download and shows what compression does to fine detail."""

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.random import Generator, Philox
from PIL import Image

from datamodules.base import DegradedDataModule
from datamodules.errors import UserError
from datamodules.sources import Source, digest
from datamodules.textures import SIZES, TEXTURES, render

_STREAMS = {"train": 0, "test": 1}
_IMAGES = {"train": 12_000, "test": 2_000}
_CLASSES = len(TEXTURES)


class SyntheticSource(Source):
    """Pictures drawn on demand from (seed, split, index); every ten in a row hold each class once, in random order.

    Args:
        split: "train" or "test": two streams of one Philox generator, which share no number.
        sizes: Sides in pixels; several take turns, ten pictures each.
        seed: Chooses one of 2**64 image sets.
    """

    classes = tuple(texture.name for texture in TEXTURES)

    def __init__(self, split: str, sizes: tuple[int, ...], seed: int) -> None:
        self.split, self.sizes, self.seed = split, sizes, seed

    def __len__(self) -> int:
        return _IMAGES[self.split]

    def load(self, index: int) -> Image.Image:
        size = self.sizes[index // _CLASSES % len(self.sizes)]
        return Image.fromarray(render(TEXTURES[self.label(index)], size, self._generator(0, index)))

    def label(self, index: int) -> int:
        block, place = divmod(index, _CLASSES)
        return int(self._generator(1, block).permutation(_CLASSES)[place])

    def content(self) -> str:
        """A digest of the settings and of the first picture of each size, which shows how they are drawn."""
        shown = (index * _CLASSES for index in range(len(self.sizes)))
        settings = [self.split, self.sizes, self.seed, len(self)]
        return digest(settings, (np.asarray(self.load(index)).tobytes() for index in shown))

    def _generator(self, purpose: int, counter: int) -> Generator:
        key = np.array([self.seed, 2 * _STREAMS[self.split] + purpose], dtype=np.uint64)
        return Generator(Philox(key=key, counter=[0, counter, 0, 0]))


class Synthetic(DegradedDataModule):
    """Ten textures of cloth, as fine as the pixels allow: 12,000 images to train, 2,000 to test.

    Its figures show the phenomenon; they are not those of any real image set.

    Args:
        size: 32 (as CIFAR-10), 96 (as STL-10), or "both", where the two take turns every ten images.
        image_seed: Chooses the image set; the train and test split of one seed have no image in common.
        **kwargs: See `DegradedDataModule`.

    Raises:
        UserError: The size or the seed is out of range.

    >>> data = Synthetic(degradations="jpeg-50", limit=10, num_workers=0)
    >>> data.setup("test")
    >>> [batch] = data.test_dataloader()
    >>> batch.views["jpeg-50"].shape
    torch.Size([10, 3, 32, 32])
    """

    dataset_name: ClassVar[str] = "synthetic"

    def __init__(self, size: Literal[32, 96, "both"] = 32, image_seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if size != "both" and size not in SIZES:
            raise UserError(f"`size` {size} is not rendered: choose 32, 96 or both", option="data.size")
        if not 0 <= image_seed < 2**64:
            raise UserError(
                f"`image_seed` {image_seed} is out of range: choose 0 to 2**64 - 1", option="data.image_seed"
            )
        self.sizes = SIZES if size == "both" else (size,)
        self.image_seed = image_seed

    def describe(self) -> dict[str, Any]:
        """What a result record says about the data: JSON-able."""
        return {**super().describe(), "sizes": list(self.sizes), "image_seed": self.image_seed}

    def source(self, split: str) -> Source:
        return SyntheticSource(split, self.sizes, self.image_seed)
