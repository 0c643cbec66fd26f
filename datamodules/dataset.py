"""The data set that makes samples: decodes an image, degrades it, measures each view, and shrinks it where wanted."""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.decoding import to_rgb
from datamodules.degradations import ORIGINAL, Degradation, Degraded, is_cropped, register, registered
from datamodules.degradations.quantisation import loaded_tables, make_known
from datamodules.errors import UserError
from datamodules.geometry import Geometry
from datamodules.pixels import Pixels, picture, planes, stack, stacked, to_tensor
from datamodules.sources import Source
from datamodules.text import printable
from datamodules.views import NOT_ENCODED, PADDING, Batch, Images, Sample, Unreadable

Comparison = Callable[[Images, Images], tuple[Tensor, Tensor]]
"""From originals and views, both uint8 [B, 3, H, W], to PSNR and SSIM, float32 [B] each."""

_UNKNOWN = (math.nan, math.nan)


class DegradedViews(Dataset[Sample | Unreadable | None]):
    """Decodes each image of a source once and degrades it at its native size.

    Indexing returns a `Sample`, `Unreadable` in place of an image that cannot be had (so that the process which knows
    what to do about it decides), and None for PADDING.

    With a geometry, a view that is no smaller than the encoder's square is fitted to it as soon as it is made, so that
    one original and one view at a time are in memory at native size; a smaller one stays as it is, for the device to
    enlarge. A batch whose images would not stack is fitted whole.

    Args:
        source: The images.
        degradations: The views, `original` first.
        indices: Positions in the source, in the order wanted; None takes all.
        geometry: What to fit views to; None leaves every view at its native size.
        compare: What measures the fidelity of views that are fitted, before they are; None measures nothing.
    """

    def __init__(
        self,
        source: Source,
        degradations: Sequence[Degradation],
        indices: Sequence[int] | None = None,
        geometry: Geometry | None = None,
        compare: Comparison | None = None,
    ) -> None:
        self.source, self.degradations = source, tuple(degradations)
        self.indices = range(len(source)) if indices is None else indices
        self.geometry, self.compare = geometry, compare
        self.names = tuple(degradation.name for degradation in degradations)

    def __len__(self) -> int:
        return len(self.indices)

    def __getstate__(self) -> dict[str, Any]:
        """A loader process may be a fresh one: what the user registered and loaded travels with the data set."""
        return self.__dict__ | {"_kinds": registered(), "_tables": loaded_tables()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for kind in state.pop("_kinds"):
            register(kind)
        for tables in state.pop("_tables"):
            make_known(tables)
        self.__dict__.update(state)

    def __getitem__(self, position: int) -> Sample | Unreadable | None:
        if position == PADDING:
            return None
        index = self.index(position)
        return self.sample(index, partial(self._degraded, index))

    def _degraded(self, index: int, image: Image.Image) -> Iterator[tuple[str, Degraded]]:
        for degradation in self.degradations:
            yield degradation.name, self.source.degraded(index, image, degradation)

    def index(self, position: int) -> int:
        """Position in the source of what indexing takes."""
        return self.indices[position]

    def sample(
        self, index: int, degrade: Callable[[Image.Image], Iterable[tuple[str, Degraded]]]
    ) -> Sample | Unreadable:
        """Decode an image of the source and degrade it.

        Args:
            index: Position in the source.
            degrade: From the RGB image to its views by name, the original first; each is let go before the next is
                asked for.
        """
        sample = Sample(index, self.source.label(index), self.source.path(index), {}, {}, {}, {}, {})
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # on odd metadata, once per image and worker; what matters raises
                original = None
                for name, degraded in degrade(self._rgb(index)):
                    native = degraded.image
                    size = self.source.file_size(index) if name == ORIGINAL else degraded.encoded_bytes
                    sample.encoded_bytes[name] = NOT_ENCODED if size is None else size
                    sample.sizes[name] = native.height, native.width
                    sample.codec_ms[name] = _or_nan(degraded.encode_ms), _or_nan(degraded.decode_ms)
                    if self.geometry is None or not self.geometry.shrinks(native.size):
                        sample.pixels[name] = planes(native)
                    else:
                        sample.pixels[name] = planes(self.geometry.fit(native))
                        if self.compare is not None and name == ORIGINAL:
                            original = planes(native)
                    if original is not None and name != ORIGINAL:
                        same = sample.sizes[name] == sample.sizes[ORIGINAL] and not is_cropped(name)
                        sample.fidelity[name] = self._compared(original, planes(native)) if same else _UNKNOWN
                    del native, degraded  # or it would be in memory until the next is made
        except Exception as error:  # decoders raise whatever their format drove them to
            return Unreadable(index, sample.path, why_unreadable(error))
        return sample

    def _rgb(self, index: int) -> Image.Image:
        with self.source.load(index) as image:
            return to_rgb(image)

    def _compared(self, original: Pixels, view: Pixels) -> tuple[float, float]:
        if self.compare is None or original.shape != view.shape:
            return _UNKNOWN
        psnr, ssim = self.compare(*(torch.from_numpy(pixels)[None] for pixels in (original, view)))
        return float(psnr), float(ssim)

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
        measured = [sample.fidelity for sample in read]
        batch = Batch(
            views={name: stack([sample.pixels[name] for sample in read]) for name in self.names},
            labels=torch.tensor([sample.label for sample in read], dtype=torch.int64),
            indices=torch.tensor([sample.index for sample in read], dtype=torch.int64),
            sizes={
                name: torch.tensor([sample.sizes[name] for sample in read], dtype=torch.int64).view(-1, 2)
                for name in self.names
            },
            encoded_bytes={
                name: torch.tensor([sample.encoded_bytes[name] for sample in read], dtype=torch.int64)
                for name in self.names
            },
            paths=[sample.path for sample in read],
            codec_ms={
                name: torch.tensor([sample.codec_ms[name] for sample in read], dtype=torch.float32).view(-1, 2)
                for name in self.names
            },
            fidelity={name: torch.tensor([found.get(name, _UNKNOWN) for found in measured]) for name in self.names[1:]}
            if any(measured)
            else None,
            draws=[sample.draw for sample in read if sample.draw],
            unreadable=[sample for sample in samples if isinstance(sample, Unreadable)],
        )
        return self._uniform(batch)

    def join(self, pieces: Sequence[Batch]) -> Batch:
        """One batch of several that follow each other, at least one."""
        return self._uniform(Batch.joined(pieces))

    def _uniform(self, batch: Batch) -> Batch:
        """The batch; where its images do not stack, those that are not fitted yet are small, and they are now."""
        if self.geometry is None or all(isinstance(images, Tensor) for images in batch.views.values()):
            return batch
        fidelity = None if self.compare is None else self._measured(batch, self.geometry, self.compare)
        fit = partial(_fitted, geometry=self.geometry)
        return replace(
            batch, views={name: stacked([*map(fit, images)]) for name, images in batch.views.items()}, fidelity=fidelity
        )

    def _measured(self, batch: Batch, geometry: Geometry, compare: Comparison) -> dict[str, Tensor]:
        """The fidelity of all images, those included that are still at their native size."""
        originals = batch.views[ORIGINAL]
        rows = [row for row, image in enumerate(originals) if image.shape[1:] != (geometry.size, geometry.size)]
        columns = batch.fidelity or {name: torch.full((len(batch), 2), math.nan) for name in self.names[1:]}
        for name, column in columns.items() if rows else ():
            if is_cropped(name):
                continue
            pairs = ([images[row] for row in rows] for images in (originals, batch.views[name]))
            column[rows] = torch.stack(compare(*pairs), 1)
        return columns


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _fitted(image: Tensor, geometry: Geometry) -> Tensor:
    height, width = image.shape[1:]
    if height == width == geometry.size or not geometry.within_reach((width, height)):
        return image
    return to_tensor(planes(geometry.fit(picture(image.numpy()))))


def why_unreadable(error: Exception) -> str:
    """An error in one printable line, without the absolute path that system errors carry."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return printable(" ".join(f"{type(error).__name__}: {text}".split()))
