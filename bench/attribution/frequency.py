"""Integrated Gradients in a codec's own coordinates: nats per frequency, channel and block of the image itself.

Along a straight line Integrated Gradients are the mean gradient times the change. An inner product does not depend on
the orthonormal basis that it is written in, and a linear map can be moved from one factor to the other as its
transpose: so the nats of a map can be read anew in the pixels of the image before its resize, in Y, Cb and Cr, and in
the DCT of their blocks, where each product is what one coefficient's change cost. What is not linear on the way, the
rounding and clipping of bytes, is left over and stated.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bench.attribution.block_dct import block_dct, split_blocks
from bench.attribution.coefficients import BLOCK, CHANNELS
from bench.attribution.jpeg_planes import (
    closest_halves,
    double,
    gradient_in_halves,
    gradient_in_ycbcr,
    halve,
    to_ycbcr,
    ycbcr_plane,
)
from bench.clip.linear_resize import gradient_at_own_size, resize_linearly
from bench.clip.preprocess import Preprocess


@dataclass(frozen=True)
class FrequencyAttribution:
    """The nats of B maps by frequency and by block, float64 in host memory, positive where the loss was raised.

    `frequencies`, `subsampling`, `decoding` and `resizing` sum to the map's total, and so do `blocks` and `resizing`.

    Attributes:
        frequencies: [B, 3, 8, 8], of the channels Y, Cb, Cr and the coefficients [v, u] of `block_dct`, over all blocks
            of the image; with chroma subsampled, of the blocks of the smaller planes, 16 x 16 pixels each.
        blocks: [B, ceil(H / 8), ceil(W / 8)], over all channels and frequencies, and with chroma subsampled over
            `subsampling` and `decoding` too.
        subsampling: [B], of what halving the original's chroma and doubling it again takes; 0 unless subsampled.
        decoding: [B], of what no planes of half the size explain, which is the rounding and clipping of decoded pixels;
            0 unless subsampled.
        resizing: [B], of the rounding and clipping in the resize to the encoder's input.
    """

    frequencies: Tensor
    blocks: Tensor
    subsampling: Tensor
    decoding: Tensor
    resizing: Tensor


def attribute_frequencies(
    preprocess: Preprocess,
    gradient: Tensor,
    baseline: Tensor,
    target: Tensor,
    subsampled: bool = False,
    moved: Tensor | None = None,
) -> FrequencyAttribution:
    """Read the Integrated Gradients of B pairs of images of one size in the DCT of their difference.

    Args:
        preprocess: What made the encoder's input of the images.
        gradient: float [B, 3, S, S], the mean gradient along the path between their inputs in [0, 1], in nats; see
            `bench.attribution.integrated_gradients.Attribution`.
        baseline: uint8 [B, 3, H, W], where the path starts.
        target: uint8 [B, 3, H, W], where it ends.
        subsampled: Whether the target's chroma was coded at half the resolution, as in JPEG 4:2:0.
        moved: float [B, 3, S, S], what `preprocess.pixels` makes of the target minus what it makes of the baseline, if
            that is known.

    Raises:
        ValueError: The two sizes differ.
    """
    if baseline.shape != target.shape:
        raise ValueError(f"baseline and target have shapes {tuple(baseline.shape)} and {tuple(target.shape)}")
    height, width = baseline.shape[2:]
    baseline, change = baseline.cpu(), target.cpu().to(torch.int16) - baseline.cpu()
    if moved is None:
        moved = preprocess.pixels(target) - preprocess.pixels(baseline)
    inputs, slopes = to_ycbcr(255 * moved.cpu().double()), gradient_in_ycbcr(gradient.detach().cpu().double() / 255)
    channels, blocks = [], torch.zeros(len(change), -(-height // BLOCK), -(-width // BLOCK), dtype=torch.float64)
    subsampling, decoding, resizing = torch.zeros(3, len(change), dtype=torch.float64)
    for channel, name in enumerate(CHANNELS):  # one at a time, since a photograph's planes take much memory
        error, slope = ycbcr_plane(change, channel), gradient_at_own_size(preprocess, slopes[:, channel], height, width)
        resizing += _inner(inputs[:, channel] - resize_linearly(preprocess, error), slopes[:, channel])
        nats = functional.pad(error * slope, (0, -width % BLOCK, 0, -height % BLOCK))
        blocks += split_blocks(nats).sum((3, 4))
        if subsampled and name != "Y":
            plane = ycbcr_plane(baseline, channel)
            lost = double(halve(plane), height, width) - plane
            coded = closest_halves(error - lost)
            subsampling += _inner(lost, slope)
            decoding += _inner(error - lost - double(coded, height, width), slope)
            error, slope = coded, gradient_in_halves(slope)
        channels.append(_per_frequency(error, slope))
    return FrequencyAttribution(torch.stack(channels, 1), blocks, subsampling, decoding, resizing)


def _per_frequency(change: Tensor, gradient: Tensor) -> Tensor:
    """[B, 8, 8] of planes [B, H, W]."""
    return (block_dct(change, "edge") * block_dct(gradient, "zero")).sum((1, 2))


def _inner(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).flatten(1).sum(1)
