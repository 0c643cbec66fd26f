"""An image and its degraded views travel together: samples, batches and the data set that makes them."""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.decoding import to_rgb
from datamodules.degradations import ORIGINAL, Degradation, Degraded, register, registered
from datamodules.errors import UserError
from datamodules.sources import Source
from datamodules.text import printable

Images = Tensor | list[Tensor]
"""uint8 [B, 3, H, W], or B tensors uint8 [3, H_i, W_i] where sizes differ."""

Pixels = npt.NDArray[np.uint8]

PADDING = -1
"""An index that no source has: samplers use it to give every rank the same number of steps; collating drops it."""

NOT_ENCODED = -1
"""Stands in `encoded_bytes` for a view that no codec produced, and for an original that is no file of its own."""

_PAGE = 4096
"""Bytes by which shared memory is handed out."""

_SMALL = 2**14
"""Pixels up to which taking an image apart into planes costs less in NumPy than in Pillow."""


@dataclass(frozen=True)
class Unreadable:
    """An image that could not be decoded or degraded, and why, in one line."""

    index: int
    path: str | None
    reason: str


@dataclass(frozen=True)
class Sample:
    """One source image with all its views.

    Attributes:
        index: Position in the source.
        label: Its class; UNLABELLED where the source has no labels.
        path: File name relative to the data root, None for an image that is no file.
        pixels: uint8 [3, H, W] by view name, read-only and in any memory order: stacking them is the one copy.
        encoded_bytes: By view name, of the original those of its own file; NOT_ENCODED where there are none.
    """

    index: int
    label: int
    path: str | None
    pixels: dict[str, Pixels]
    encoded_bytes: dict[str, int]

    @property
    def views(self) -> dict[str, Tensor]:
        """uint8 [3, H, W] by view name, contiguous."""
        return {name: _to_tensor(pixels) for name, pixels in self.pixels.items()}


@dataclass
class Batch:
    """Samples stacked view by view; `original` is the first view.

    Attributes:
        views: Images by view name, B in each.
        labels: int64 [B]; UNLABELLED where a source has no labels.
        indices: int64 [B], positions in the source.
        encoded_bytes: int64 [B] by view name, of the original those of its own file; NOT_ENCODED where there are none.
        paths: B file names relative to the data root, None for images that are no files.
        unreadable: Images that would have been in this batch.
        room: Bytes of shared memory that it may take on its way to another process; a larger one passes through a pipe.
        by_pipe: Whether it came through a pipe.
    """

    views: dict[str, Images]
    labels: Tensor
    indices: Tensor
    encoded_bytes: dict[str, Tensor]
    paths: list[str | None]
    unreadable: list[Unreadable] = field(default_factory=list)
    room: float = math.inf
    by_pipe: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> Self:
        """Move every tensor, without waiting where the host memory is pinned."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=tensor.is_pinned()))

    def pin_memory(self) -> Self:
        """Called by the data loader when it pins memory."""
        return self._map(Tensor.pin_memory)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        return replace(
            self,
            views={
                name: function(images) if isinstance(images, Tensor) else [function(image) for image in images]
                for name, images in self.views.items()
            },
            labels=function(self.labels),
            indices=function(self.indices),
            encoded_bytes={name: function(count) for name, count in self.encoded_bytes.items()},
        )

    def __getstate__(self) -> dict[str, Any]:
        """Between processes images of unequal size travel as one tensor per view: each tensor costs an open file."""
        packed = {name: _pack(images) for name, images in self.views.items()}
        tensors = [*(tensor for tensor, _ in packed.values()), self.labels, self.indices, *self.encoded_bytes.values()]
        pages = sum(-(-tensor.nbytes // _PAGE) * _PAGE for tensor in tensors)
        by_pipe = self.by_pipe or pages > self.room
        carried = Tensor.numpy if by_pipe else Tensor.detach
        return self.__dict__ | {
            "views": {name: (carried(tensor), shapes) for name, (tensor, shapes) in packed.items()},
            "labels": carried(self.labels),
            "indices": carried(self.indices),
            "encoded_bytes": {name: carried(count) for name, count in self.encoded_bytes.items()},
            "by_pipe": by_pipe,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        arrived = torch.from_numpy if state["by_pipe"] else Tensor.detach
        self.__dict__.update(
            state,
            views={name: _unpack(arrived(images), shapes) for name, (images, shapes) in state["views"].items()},
            labels=arrived(state["labels"]),
            indices=arrived(state["indices"]),
            encoded_bytes={name: arrived(count) for name, count in state["encoded_bytes"].items()},
        )


class DegradedViews(Dataset[Sample | Unreadable | None]):
    """Decodes each image of a source once and degrades it at its native size.

    Indexing returns a `Sample`, `Unreadable` in place of an image that cannot be had (so that the process which knows
    what to do about it decides), and None for PADDING.

    Args:
        source: The images.
        degradations: The views, `original` first.
        indices: Positions in the source, in the order wanted; None takes all.
    """

    def __init__(
        self, source: Source, degradations: Sequence[Degradation], indices: Sequence[int] | None = None
    ) -> None:
        self.source, self.degradations = source, tuple(degradations)
        self.indices = range(len(source)) if indices is None else indices
        self.names = tuple(degradation.name for degradation in degradations)

    def __len__(self) -> int:
        return len(self.indices)

    def __getstate__(self) -> dict[str, Any]:
        """A loader process may be a fresh one: what the user registered travels with the data set."""
        return self.__dict__ | {"_kinds": registered()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for kind in state.pop("_kinds"):
            register(kind)
        self.__dict__.update(state)

    def __getitem__(self, position: int) -> Sample | Unreadable | None:
        if position == PADDING:
            return None
        return self.sample(
            self.index(position),
            lambda image: zip(self.names, (one(image) for one in self.degradations), strict=True),
        )

    def index(self, position: int) -> int:
        """Position in the source of what indexing takes."""
        return self.indices[position]

    def sample(
        self, index: int, degrade: Callable[[Image.Image], Iterable[tuple[str, Degraded]]]
    ) -> Sample | Unreadable:
        """Decode an image of the source and degrade it.

        Args:
            index: Position in the source.
            degrade: From the RGB image to its views by name.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # on odd metadata, once per image and worker; what matters raises
                with self.source.load(index) as image:
                    rgb = to_rgb(image)
                pixels, encoded_bytes = {}, {}
                for name, degraded in degrade(rgb):
                    pixels[name] = _pixels(degraded.image)
                    size = self.source.file_size(index) if name == ORIGINAL else degraded.encoded_bytes
                    encoded_bytes[name] = NOT_ENCODED if size is None else size
        except Exception as error:  # decoders raise whatever their format drove them to
            return Unreadable(index, self.source.path(index), _reason(error))
        return Sample(
            index=index,
            label=self.source.label(index),
            path=self.source.path(index),
            pixels=pixels,
            encoded_bytes=encoded_bytes,
        )

    def samples(self) -> Iterator[Sample]:
        """All of them, one after the other.

        Raises:
            UserError: One cannot be read, which it could be when the run met it.
        """
        for position, index in enumerate(self.indices):
            sample = self[position]
            if not isinstance(sample, Sample):
                reason = sample.reason if sample else "it is gone"
                raise UserError(f"image {index} can no longer be read ({reason}): leave the data alone during a run")
            yield sample

    def collate(self, samples: Sequence[Sample | Unreadable | None]) -> Batch:
        """Stack samples into a batch, which may be empty."""
        read = [sample for sample in samples if isinstance(sample, Sample)]
        return Batch(
            views={name: _stack([sample.pixels[name] for sample in read]) for name in self.names},
            labels=torch.tensor([sample.label for sample in read], dtype=torch.int64),
            indices=torch.tensor([sample.index for sample in read], dtype=torch.int64),
            encoded_bytes={
                name: torch.tensor([sample.encoded_bytes[name] for sample in read], dtype=torch.int64)
                for name in self.names
            },
            paths=[sample.path for sample in read],
            unreadable=[sample for sample in samples if isinstance(sample, Unreadable)],
        )


def _reason(error: Exception) -> str:
    """An error in one printable line, without the absolute path that system errors carry."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return printable(" ".join(f"{type(error).__name__}: {text}".split()))


def _pixels(image: Image.Image) -> Pixels:
    """uint8 [3, H, W] of an RGB image; the faster of two ways, which Pillow's calls and NumPy's strides decide."""
    if image.width * image.height <= _SMALL:
        return np.frombuffer(image.tobytes(), np.uint8).reshape(image.height, image.width, 3).transpose(2, 0, 1)
    planes = b"".join([image.tobytes("raw", band) for band in "RGB"])
    return np.frombuffer(planes, np.uint8).reshape(3, image.height, image.width)


def _to_tensor(pixels: Pixels) -> Tensor:
    return torch.from_numpy(pixels.copy())


def _stack(images: list[Pixels]) -> Images:
    if not images:
        return torch.empty(0, 3, 1, 1, dtype=torch.uint8)
    if len({image.shape for image in images}) > 1:
        return [_to_tensor(image) for image in images]
    stacked = np.empty((len(images), *images[0].shape), np.uint8)  # NumPy asks for huge pages, torch does not
    return torch.from_numpy(np.stack(images, out=stacked))


def _pack(images: Images) -> tuple[Tensor, list[torch.Size] | None]:
    if isinstance(images, Tensor):
        return images, None
    return torch.cat([image.flatten() for image in images]), [image.shape for image in images]


def _unpack(packed: Tensor, shapes: list[torch.Size] | None) -> Images:
    if shapes is None:
        return packed
    parts = torch.split(packed, [shape.numel() for shape in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
