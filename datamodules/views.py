"""An image and its degraded views travel together: samples and batches."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor

from datamodules.pixels import Pixels, to_tensor

Images = Tensor | list[Tensor]
"""uint8 [B, 3, H, W], or B tensors uint8 [3, H_i, W_i] where sizes differ."""

PADDING = -1
"""An index that no source has: samplers use it to give every rank the same number of steps; collating drops it."""

NOT_ENCODED = -1
"""Stands in `encoded_bytes` for a view that no codec produced, and for an original that is no file of its own."""

_PAGE = 4096
"""Bytes by which shared memory is handed out."""


@dataclass(frozen=True)
class Unreadable:
    """An image that could not be decoded or degraded, and why, in one line."""

    index: int
    path: str | None
    reason: str


@dataclass(frozen=True)
class Draw:
    """What was drawn for a training image in an epoch.

    Attributes:
        epoch: Counted from 0.
        index: Position of the image in the source.
        view: Name of the degradation of its random view.
        mirrored: Whether both views show the image mirrored left to right.
    """

    epoch: int
    index: int
    view: str
    mirrored: bool


@dataclass(frozen=True)
class Sample:
    """One source image with all its views.

    Attributes:
        index: Position in the source.
        label: Its class; UNLABELLED where the source has no labels.
        path: File name relative to the data root, None for an image that is no file.
        pixels: uint8 [3, H, W] by view name, read-only and in any memory order: stacking them is the one copy.
        sizes: Height and width in pixels by view name, at native size.
        encoded_bytes: By view name, of the original those of its own file; NOT_ENCODED where there are none.
        codec_ms: Milliseconds of encoding and of decoding by view name, NaN where they are not known.
        fidelity: PSNR and SSIM by degraded view, of an image that was measured while its native pixels were at hand.
        draw: What its random view is, None of an image that has none.
    """

    index: int
    label: int
    path: str | None
    pixels: dict[str, Pixels]
    sizes: dict[str, tuple[int, int]]
    encoded_bytes: dict[str, int]
    codec_ms: dict[str, tuple[float, float]]
    fidelity: dict[str, tuple[float, float]]
    draw: Draw | None = None

    @property
    def views(self) -> dict[str, Tensor]:
        """uint8 [3, H, W] by view name, contiguous."""
        return {name: to_tensor(pixels) for name, pixels in self.pixels.items()}


@dataclass
class Batch:
    """Samples stacked view by view; `original` is the first view.

    Attributes:
        views: Images by view name, B in each.
        labels: int64 [B]; UNLABELLED where a source has no labels.
        indices: int64 [B], positions in the source.
        sizes: int64 [B, 2] by view name, height and width in pixels at native size, whatever `views` hold.
        encoded_bytes: int64 [B] by view name, of the original those of its own file; NOT_ENCODED where there are none.
        paths: B file names relative to the data root, None for images that are no files.
        codec_ms: float32 [B, 2] by view name, milliseconds of encoding and of decoding, NaN where they are not known;
            empty where no clock was looked at.
        fidelity: float32 [B, 2] by degraded view, PSNR and SSIM; None where they were not measured, or are still to be,
            from `views` at native size.
        draws: What the B random views are, in host memory on every device; empty where there are none.
        unreadable: Images that would have been in this batch.
        room: Bytes of shared memory that it may take on its way to another process; a larger one passes through a pipe.
        by_pipe: Whether it came through a pipe.
    """

    views: dict[str, Images]
    labels: Tensor
    indices: Tensor
    sizes: dict[str, Tensor]
    encoded_bytes: dict[str, Tensor]
    paths: list[str | None]
    codec_ms: dict[str, Tensor] = field(default_factory=dict)
    fidelity: dict[str, Tensor] | None = None
    draws: list[Draw] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    room: float = math.inf
    by_pipe: bool = False

    @classmethod
    def joined(cls, pieces: Sequence[Self]) -> Self:
        """One batch of several with the same views that follow each other, at least one."""
        full = [piece for piece in pieces if len(piece)] or pieces[:1]
        if len(pieces) == 1:
            return pieces[0]
        measured = [piece.fidelity for piece in full]
        unknown = [torch.full((len(piece), 2), math.nan) for piece in full]

        def columns(of: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
            return {name: torch.cat([column[name] for column in of]) for name in of[0]}

        return cls(
            views={name: _joined([piece.views[name] for piece in full]) for name in full[0].views},
            labels=torch.cat([piece.labels for piece in full]),
            indices=torch.cat([piece.indices for piece in full]),
            sizes=columns([piece.sizes for piece in full]),
            encoded_bytes=columns([piece.encoded_bytes for piece in full]),
            paths=[path for piece in full for path in piece.paths],
            codec_ms=columns([piece.codec_ms for piece in full]),
            fidelity={
                name: torch.cat([rest if of is None else of[name] for of, rest in zip(measured, unknown, strict=True)])
                for name in next((of for of in measured if of is not None), ())
            }
            or None,
            draws=[draw for piece in full for draw in piece.draws],
            unreadable=[image for piece in pieces for image in piece.unreadable],
            by_pipe=any(piece.by_pipe for piece in pieces),
        )

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
            **self._columns(function),
        )

    def _columns(self, function: Callable[[Any], Any]) -> dict[str, Any]:
        """A function of each of the small tensors."""
        return {
            "labels": function(self.labels),
            "indices": function(self.indices),
            "sizes": {name: function(sides) for name, sides in self.sizes.items()},
            "encoded_bytes": {name: function(count) for name, count in self.encoded_bytes.items()},
            "codec_ms": {name: function(times) for name, times in self.codec_ms.items()},
            "fidelity": self.fidelity and {name: function(pair) for name, pair in self.fidelity.items()},
        }

    def __getstate__(self) -> dict[str, Any]:
        """Between processes each tensor costs an open file: one per view, images of unequal size in one piece."""
        packed = {name: _pack(images) for name, images in self.views.items()}
        pages = sum(-(-tensor.nbytes // _PAGE) * _PAGE for tensor, _ in packed.values())
        by_pipe = self.by_pipe or pages > self.room
        carried = Tensor.numpy if by_pipe else Tensor.detach
        views = {name: (carried(tensor), shapes) for name, (tensor, shapes) in packed.items()}
        return self.__dict__ | {"views": views, **self._columns(Tensor.numpy), "by_pipe": by_pipe}

    def __setstate__(self, state: dict[str, Any]) -> None:
        arrived = torch.from_numpy if state["by_pipe"] else Tensor.detach
        views = {name: _unpack(arrived(images), shapes) for name, (images, shapes) in state["views"].items()}
        self.__dict__.update(state, views=views)
        self.__dict__.update(self._columns(torch.from_numpy))


def _joined(pieces: Sequence[Images]) -> Images:
    shapes = {images.shape[1:] if isinstance(images, Tensor) else None for images in pieces}
    whole = [images for images in pieces if isinstance(images, Tensor)]
    if len(shapes) == 1 and len(whole) == len(pieces):
        return torch.cat(whole)
    return [image for images in pieces for image in images]


def _pack(images: Images) -> tuple[Tensor, list[torch.Size] | None]:
    if isinstance(images, Tensor):
        return images, None
    return torch.cat([image.flatten() for image in images]), [image.shape for image in images]


def _unpack(packed: Tensor, shapes: list[torch.Size] | None) -> Images:
    if shapes is None:
        return packed
    parts = torch.split(packed, [shape.numel() for shape in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
