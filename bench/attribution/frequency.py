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

from bench.attribution.block_dct import BLOCK, block_dct, split_blocks
from bench.attribution.jpeg_planes import (
    closest_halves,
    double,
    gradient_in_halves,
    gradient_in_ycbcr,
    halve,
    to_ycbcr,
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
    preprocess: Preprocess, gradient: Tensor, baseline: Tensor, target: Tensor, subsampled: bool = False
) -> FrequencyAttribution:
    """Read the Integrated Gradients of B pairs of images of one size in the DCT of their difference.

    Args:
        preprocess: What made the encoder's input of the images.
        gradient: float [B, 3, S, S], the mean gradient along the path between their inputs in [0, 1], in nats; see
            `bench.attribution.integrated_gradients.Attribution`.
        baseline: uint8 [B, 3, H, W], where the path starts.
        target: uint8 [B, 3, H, W], where it ends.
        subsampled: Whether the target's chroma was coded at half the resolution, as in JPEG 4:2:0.

    Raises:
        ValueError: The two sizes differ.
    """
    if baseline.shape != target.shape:
        raise ValueError(f"baseline and target have shapes {tuple(baseline.shape)} and {tuple(target.shape)}")
    height, width = baseline.shape[2:]
    slope = gradient.detach().cpu().double()
    before, after = baseline.cpu().double() / 255, target.cpu().double() / 255
    change = after - before
    inputs = preprocess.pixels(target).cpu().double() - preprocess.pixels(baseline).cpu().double()
    resizing = _inner(inputs - resize_linearly(preprocess, change), slope)
    slope = gradient_at_own_size(preprocess, slope, height, width)
    nats = functional.pad((change * slope).sum(1), (0, -width % BLOCK, 0, -height % BLOCK))
    blocks = split_blocks(nats).sum((3, 4))
    change, slope = to_ycbcr(change), gradient_in_ycbcr(slope)
    none = torch.zeros(len(change), dtype=torch.float64)
    if not subsampled:
        return FrequencyAttribution(_per_frequency(change, slope), blocks, none, none.clone(), resizing)
    luma = _per_frequency(change[:, :1], slope[:, :1])
    chroma, slope = to_ycbcr(before)[:, 1:], slope[:, 1:]
    coarse = halve(chroma)
    lost = double(coarse, height, width) - chroma
    coded = closest_halves(change[:, 1:] - lost)
    decoded = change[:, 1:] - lost - double(coded, height, width)
    return FrequencyAttribution(
        frequencies=torch.cat([luma, _per_frequency(coded, gradient_in_halves(slope))], 1),
        blocks=blocks,
        subsampling=_inner(lost, slope),
        decoding=_inner(decoded, slope),
        resizing=resizing,
    )


def _per_frequency(change: Tensor, gradient: Tensor) -> Tensor:
    """[B, C, 8, 8] of planes [B, C, H, W]."""
    return (block_dct(change, "edge") * block_dct(gradient, "zero")).sum((2, 3))


def _inner(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).flatten(1).sum(1)
