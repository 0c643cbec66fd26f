"""Resize, crop and normalise on the device, bit for bit what Pillow and torchvision do on the host.

Pillow resamples 8-bit images with integers: coefficients rounded to 22 fractional bits, one pass per direction, and
after each pass ``clip(floor((sum + 2**21) / 2**22), 0, 255)``. Here both passes are matrix products in float32. Each
coefficient is split into a high and a low part so small that every product and every partial sum is an integer below
2**24, hence exact in any order of summation, on any device, in TF32 as well.
"""

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from datamodules.errors import UserError
from datamodules.geometry import Geometry, Interpolation, Mode
from datamodules.views import Images

FRACTION_BITS = 22  # Pillow's PRECISION_BITS for 8-bit images: 32 - 8 - 2
_REORDERS = int(PIL.__version__.split(".")[0]) >= 13
_EXACT = 2**24  # integers up to here are exact in float32
_CARRY = 2**16  # room for the low sum's carry and the rounding constant
_TF32_EXACT = 2**11  # and up to here in TF32

# Measured with `python -m benchmarks.resize`: narrow bands waste few products on zeros, wide ones feed the BLAS better.
_ROWS_UP, _ROWS_DOWN = 32, 16
_CPU_CHUNK_VALUES = 2**21  # values in flight per chunk: the working set stays in the cache


class _Band(NamedTuple):
    """Some consecutive outputs of one pass: `first` to `last` are made from inputs `start` to `stop`."""

    first: int
    last: int
    start: int
    stop: int
    high: Tensor  # float32 [last - first, stop - start], times 2**(shift - 22)
    low: Tensor  # float32 of the same shape, times 2**-shift


class _Pass(NamedTuple):
    bands: tuple[_Band, ...]
    start: int  # inputs that any band reads
    stop: int
    scale: float  # weight of floor(low product) relative to the high product


class Axis(NamedTuple):
    """What happens along one side: `size` inputs are resampled to `resized`, of which [first, last) are kept."""

    size: int
    resized: int
    first: int
    last: int


class Preprocess(nn.Module):
    """Turn uint8 images of any size into a CLIP's input.

    Resize, centre crop and scaling equal torchvision's ``Resize``, ``CenterCrop`` and ``ToTensor`` applied to PIL
    images bit for bit, whatever the device, autocast or TF32 setting.

    Args:
        image_size: Side of the square output in pixels.
        mean: Mean per channel, in [0, 1].
        std: Standard deviation per channel, in [0, 1].
        resize_mode: "shortest" scales the shorter side to `image_size` and crops the centre; "squash" scales both.
        interpolation: Pillow's antialiased "bicubic" or "bilinear".

    Raises:
        UserError: `resize_mode` or `interpolation` is one that is not supported.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        image_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        resize_mode: Mode = "shortest",
        interpolation: Interpolation = "bicubic",
    ) -> None:
        super().__init__()
        self.geometry = Geometry(image_size, resize_mode, interpolation)
        with torch.inference_mode(False):
            self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
            self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Images) -> Tensor:
        """Images as in `pixels` to normalised float32 [B, 3, image_size, image_size]."""
        return self.pixels(images).sub_(self.mean).div_(self.std)  # `normalise` without its copies

    def normalise(self, pixels: Tensor) -> Tensor:
        """``(pixels - mean) / std`` per channel; differentiable; float [B, 3, H, W] in and out."""
        return (pixels - self.mean) / self.std

    def pixels(self, images: Images) -> Tensor:
        """Resize, crop and scale to [0, 1].

        Args:
            images: uint8 [B, 3, H, W], or B tensors uint8 [3, H_i, W_i] of unequal size on one device.

        Returns:
            float32 [B, 3, image_size, image_size] on the device of the images; an ordinary tensor (fit for autograd)
            even when called in inference mode.

        Raises:
            ValueError: an image is not uint8 with three channels and at least one pixel.
        """
        with torch.inference_mode(False), torch.no_grad():
            if isinstance(images, Tensor):
                return self._resize(images)
            if not images:
                return self.mean.new_empty((0, 3, self.geometry.size, self.geometry.size))
            groups: defaultdict[torch.Size, list[int]] = defaultdict(list)
            for i, image in enumerate(images):
                groups[image.shape].append(i)
            rows: dict[int, Tensor] = {}
            for indices in groups.values():
                rows.update(zip(indices, self._resize(torch.stack([images[i] for i in indices])), strict=True))
            return torch.stack([rows[i] for i in range(len(images))])

    def axes(self, height: int, width: int) -> tuple[Axis, Axis]:
        """What happens along the two sides of an image of a size in pixels."""
        sides = height, width
        rows, columns = (
            Axis(size, resized, corner, corner + self.geometry.size)
            for size, resized in zip(sides, self.geometry.resized(sides), strict=True)
            for corner in [self.geometry.crop(resized)]
        )
        return rows, columns

    def _resize(self, images: Tensor) -> Tensor:
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape[2:]:
            raise ValueError(f"expected uint8 [B, 3, H, W], got {images.dtype} {list(images.shape)}")
        count, side, (height, width) = len(images), self.geometry.size, images.shape[2:]
        rows, columns = self.axes(height, width)
        pixels = torch.empty((count, 3, side, side), dtype=torch.float32, device=images.device)
        chunk = max(1, count)
        if images.device.type == "cpu":
            chunk = max(1, _CPU_CHUNK_VALUES // (3 * max(height, side) * max(width, side)))
        source, target = images, pixels
        if _vertical_first(rows, columns):
            source, target, rows, columns = images.mT, pixels.mT, columns, rows
        with _full_precision(images.device):
            for i in range(0, count, chunk):
                _resample(source[i : i + chunk], target[i : i + chunk], rows, columns, self.geometry.interpolation)
        return pixels


def _vertical_first(rows: Axis, columns: Axis) -> bool:
    """Whether the installed Pillow runs the vertical pass first: since version 13, where the height shrinks much more.

    Both orders round in between, hence differ.
    """
    return _REORDERS and rows.size - rows.resized > max(0, 2 * (columns.size - columns.resized))


def _resample(images: Tensor, out: Tensor, rows: Axis, columns: Axis, interpolation: Interpolation) -> None:
    """Write the kept part of the resized images, divided by 255, to `out`."""
    vertical = _plan(rows, interpolation, images.device) if rows.size != rows.resized else None
    horizontal = _plan(columns, interpolation, images.device) if columns.size != columns.resized else None
    start, stop = (vertical.start, vertical.stop) if vertical else (rows.first, rows.last)
    planes = 3 * len(images)
    # rows outermost: then the vertical pass is one product over all planes and columns
    source = images.flatten(0, 1)[:, start:stop].transpose(0, 1)
    if horizontal is None:
        lines = source[..., columns.first : columns.last].float()
    else:
        flat = source.to(torch.float32, memory_format=torch.contiguous_format).view(-1, columns.size)
        lines = torch.empty((len(flat), out.shape[-1]), device=out.device)
        for band in horizontal.bands:
            window = flat[:, band.start : band.stop]
            _rounded(window, band.high.t(), window, band.low.t(), horizontal.scale, lines[:, band.first : band.last])
        lines = lines.view(stop - start, planes, -1)
    target = out.flatten(0, 1).transpose(0, 1)  # [rows, planes, columns]
    white = out.new_full((), 255)  # a tensor of the device: by a number CUDA does not divide, it multiplies by 1 / 255
    if vertical is None:
        torch.div(lines, white, out=target)
        return
    lines = lines.reshape(stop - start, -1)
    for band in vertical.bands:
        window = lines[band.start - start : band.stop - start]
        part = target[band.first : band.last]
        values = _rounded(band.high, window, band.low, window, vertical.scale)
        torch.div(values.view(part.shape), white, out=part)


def _rounded(
    high: Tensor, high_right: Tensor, low: Tensor, low_right: Tensor, scale: float, out: Tensor | None = None
) -> Tensor:
    """clip(floor(high @ high_right + scale * floor(low @ low_right) + 1/2), 0, 255)."""
    values = torch.mm(low, low_right).floor_()
    values.addmm_(high, high_right, beta=scale)
    return torch.clamp(values.add_(0.5).floor_(), 0, 255, out=values if out is None else out)


@lru_cache(maxsize=256)
def _plan(axis: Axis, interpolation: Interpolation, device: torch.device) -> _Pass:
    """Bands of split coefficients that resample one side."""
    starts, weights = fixed_point_coefficients(axis.size, axis.resized, interpolation)
    shift = _shift(weights)
    scale = 2.0 ** (shift - FRACTION_BITS)
    stops = np.minimum(starts + weights.shape[1], axis.size)
    step = axis.last - axis.first
    if device.type == "cpu":
        step = _ROWS_UP if axis.resized >= axis.size else _ROWS_DOWN
    bands = []
    for first in range(axis.first, axis.last, step):
        last = min(first + step, axis.last)
        start, stop = int(starts[first]), int(stops[last - 1])
        dense = np.zeros((last - first, stop - start), dtype=np.int64)
        for row in range(first, last):
            taps = stops[row] - starts[row]
            dense[row - first, starts[row] - start :][:taps] = weights[row, :taps]
        used = np.flatnonzero(dense.any(axis=0))
        start, stop = start + int(used[0]), start + int(used[-1]) + 1
        high, low = _split(dense[:, used[0] : used[-1] + 1], shift)
        bands.append(
            _Band(
                first - axis.first,
                last - axis.first,
                start,
                stop,
                torch.from_numpy((high * scale).astype(np.float32)).to(device),
                torch.from_numpy((low * 2.0**-shift).astype(np.float32)).to(device),
            )
        )
    return _Pass(tuple(bands), min(b.start for b in bands), max(b.stop for b in bands), scale)


def fixed_point_coefficients(
    size: int, resized: int, interpolation: Interpolation
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pillow's resampling coefficients (``precompute_coeffs`` and ``normalize_coeffs_8bpc`` of its Resample.c).

    Args:
        size: Length of the side in pixels, at least 1.
        resized: Length after resampling, at least 1.
        interpolation: "bicubic" (a = -0.5, support 2) or "bilinear" (support 1), widened by the scale when shrinking.

    Returns:
        First input of each output, int64 [resized], and its coefficients times 2**22, int64 [resized, taps], zero
        where an output has fewer taps than the widest one.

    >>> starts, weights = fixed_point_coefficients(4, 2, "bilinear")
    >>> starts.tolist(), (weights / 2**22).round(3).tolist()
    ([0, 1], [[0.429, 0.429, 0.143, 0.0, 0.0], [0.143, 0.429, 0.429, 0.0, 0.0]])
    """
    scale = size / resized
    stretch = max(scale, 1.0)
    support = (2.0 if interpolation == "bicubic" else 1.0) * stretch
    taps = int(np.ceil(support)) * 2 + 1
    centres = (np.arange(resized) + 0.5) * scale
    starts = np.maximum((centres - support + 0.5).astype(np.int64), 0)
    counts = np.minimum((centres + support + 0.5).astype(np.int64), size) - starts
    tap = np.arange(taps)
    x = np.abs((tap + starts[:, None] - centres[:, None] + 0.5) * (1.0 / stretch))
    if interpolation == "bicubic":
        near = (1.5 * x - 2.5) * x * x + 1.0
        far = (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
        weights = np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))
    else:
        weights = np.where(x < 1.0, 1.0 - x, 0.0)
    weights[tap >= counts[:, None]] = 0.0
    weights /= np.add.accumulate(weights, axis=1)[:, -1:]  # summed from left to right, as Pillow does
    fixed = weights * 2**FRACTION_BITS
    return starts, np.trunc(fixed + np.copysign(0.5, fixed)).astype(np.int64)


def _split(weights: NDArray[np.int64], shift: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Weights as ``high * 2**shift + low`` with low in [-2**(shift - 1), 2**(shift - 1))."""
    high = (weights + (1 << (shift - 1))) >> shift
    return high, weights - (high << shift)


def _shift(weights: NDArray[np.int64]) -> int:
    """Bits of the low part for which both products are exact in float32 and the factors in TF32."""
    for shift in range(12, 6, -1):
        parts = _split(weights, shift)
        if all(np.abs(p).max() <= _TF32_EXACT and np.abs(p).sum(1).max() * 255 < _EXACT - _CARRY for p in parts):
            return shift
    raise UserError(f"an image side is {weights.shape[1] // 4} times the encoder's input: scale the images down first")


@contextlib.contextmanager
def _full_precision(device: torch.device) -> Iterator[None]:
    """Keep autocast out, and the bfloat16 products that float32 matmul precision "medium" allows."""
    medium = torch.get_float32_matmul_precision() == "medium"
    if medium:
        torch.set_float32_matmul_precision("high")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        if medium:
            torch.set_float32_matmul_precision("medium")
