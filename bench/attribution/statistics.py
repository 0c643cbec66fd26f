"""Numbers for what attribution maps look like: concentrated, local, on the encoder's or the codec's grid.

All functions take attributions float [B, 3, H, W] (or a per-pixel map [B, H, W], see `pixel_map`) on any device and
return one number per image, float64 [B] in host memory, where they are computed: not every device has float64. NaN
means that the quantity is undefined for that image: a map without any mass has no concentration, a constant one no
correlation and no spectrum. Means over images should leave NaN out.
"""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

_SHARES = (0.01, 0.05, 0.10)


@dataclass(frozen=True)
class AttributionStatistics:
    """Per image, float64 [B] each.

    Attributes:
        mass: sum of the absolute attribution, in nats: how much the compression error matters, whichever way.
        mass_top_1: share in [0, 1] of the absolute mass in the strongest 1% of pixels; see `mass_share`.
        mass_top_5: share in [0, 1] of the absolute mass in the strongest 5% of pixels.
        mass_top_10: share in [0, 1] of the absolute mass in the strongest 10% of pixels.
        gini: in [0, 1); see `gini`.
        neighbour_correlation: in [-1, 1]; see `neighbour_correlation`.
        patch_grid: in dB, about 0 for no grid; see `grid_energy` with the encoder's patch size.
        codec_grid: the same with the codec's 8 x 8 blocks as the encoder sees them; NaN where the codec has none.
        positive_share: share in [0, 1] of the absolute mass that raised the loss; see `positive_share`.
    """

    mass: Tensor
    mass_top_1: Tensor
    mass_top_5: Tensor
    mass_top_10: Tensor
    gini: Tensor
    neighbour_correlation: Tensor
    patch_grid: Tensor
    codec_grid: Tensor
    positive_share: Tensor

    def means(self) -> dict[str, float]:
        """Mean of each over the images where it is defined; NaN where it is for none."""
        return {f.name: float(getattr(self, f.name).nanmean()) for f in fields(self)}


def attribution_statistics(
    attribution: Tensor, patch_period: float | None, block_period: float | None
) -> AttributionStatistics:
    """All statistics of a batch.

    Args:
        attribution: float [B, 3, H, W] in the encoder's input pixels.
        patch_period: the encoder's patch size (ViT) or total stride (ResNet: 32) in input pixels, or None to leave it
            out (NaN).
        block_period: width of the codec's blocks in input pixels, see `codec_period`, or None for a view that is not
            made of 8 x 8 blocks (NaN).
    """
    attribution = attribution.cpu()
    mass = pixel_map(attribution)
    nowhere = torch.full((len(mass),), float("nan"), dtype=torch.float64)
    top_1, top_5, top_10 = (mass_share(mass, share) for share in _SHARES)
    return AttributionStatistics(
        mass=mass.sum((1, 2)),
        mass_top_1=top_1,
        mass_top_5=top_5,
        mass_top_10=top_10,
        gini=gini(mass),
        neighbour_correlation=neighbour_correlation(mass),
        patch_grid=nowhere if patch_period is None else grid_energy(mass, patch_period),
        codec_grid=nowhere if block_period is None else grid_energy(mass, block_period),
        positive_share=positive_share(attribution),
    )


def pixel_map(attribution: Tensor) -> Tensor:
    """Absolute mass per pixel: float64 [B, H, W], the sum over colour channels of |attribution| [B, 3, H, W]."""
    return _exact(attribution).abs().sum(dim=1)


def mass_share(mass: Tensor, share: float) -> Tensor:
    """Share of the mass that the strongest `share` of pixels hold, at least one pixel.

    Args:
        mass: [B, H, W], at least 0.
        share: in (0, 1].

    Returns:
        float64 [B] in [0, 1]; NaN for a map without mass.

    >>> mass_share(torch.tensor([[[6.0, 2.0], [1.0, 1.0]]]), 0.25).tolist()
    [0.6]
    """
    flat = _exact(mass).flatten(1)
    strongest = flat.topk(max(1, round(share * flat.shape[1])), dim=1).values
    return strongest.sum(1) / flat.sum(1)


def gini(mass: Tensor) -> Tensor:
    """Gini coefficient over pixels, 0 where all are equal, 1 - 1 / n where one of n pixels holds everything.

    With the n masses ascending, `sum_i (2 i - n - 1) x_i / (n sum_i x_i)`. Used as a measure of how sparse an
    attribution is by Chalasani et al. (2020), "Concise explanations of neural networks using adversarial training".

    Args:
        mass: [B, H, W], at least 0.

    Returns:
        float64 [B] in [0, 1); NaN for a map without mass.

    >>> gini(torch.tensor([[[0.0, 0.0], [0.0, 3.0]]])).tolist()
    [0.75]
    """
    ascending = _exact(mass).flatten(1).sort(dim=1).values
    n = ascending.shape[1]
    ranks = torch.arange(1, n + 1, dtype=torch.float64)
    return (ascending @ (2 * ranks - n - 1)) / (n * ascending.sum(1))


def neighbour_correlation(mass: Tensor) -> Tensor:
    """Moran's I (1950) with the four direct neighbours as weights: spatial correlation at a distance of one pixel.

    `(n / W) sum_ij w_ij (x_i - m)(x_j - m) / sum_i (x_i - m)^2`, with w_ij = 1 for neighbours, W the sum of w. Near 1
    for smooth maps, near -1 / (n - 1) for noise, -1 for a checkerboard.

    Args:
        mass: [B, H, W], H * W at least 2.

    Returns:
        float64 [B], about -1 to 1; NaN for a constant map.

    >>> neighbour_correlation(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])).tolist()
    [-1.0]
    """
    mass = _exact(mass)
    deviation = mass - mass.mean(dim=(1, 2), keepdim=True)
    down, right = deviation[:, 1:] * deviation[:, :-1], deviation[:, :, 1:] * deviation[:, :, :-1]
    height, width = mass.shape[1:]
    pairs = (height - 1) * width + height * (width - 1)
    variance = deviation.square().mean(dim=(1, 2))
    correlation = (down.sum(dim=(1, 2)) + right.sum(dim=(1, 2))) / pairs / variance
    return correlation.masked_fill(_constant(mass), float("nan"))


def codec_period(source_size: tuple[int, int], input_side: int, block: float = 8) -> float:
    """Width of a codec's block in the encoder's input pixels: `block * input_side / min(source_size)`.

    The chroma blocks of 4:2:0 JPEG are twice as wide. A 32-pixel image at 224 has blocks of 56 pixels:

    >>> codec_period((32, 32), 224)
    56.0

    Args:
        source_size: Height and width of the image in pixels; its shorter side becomes the input's.
        input_side: Of the encoder's input, in pixels.
        block: Width of a block in pixels of that image, as `datamodules.degradations.Degradation.block_period` has it.
    """
    return block * input_side / min(source_size)


def grid_energy(mass: Tensor, period: float) -> Tensor:
    """How far a grid's frequencies stand out of the power spectrum, in decibels: about 0 for no grid.

    A grid of period P, whatever its shape, puts lines at the multiples of 1 / P into the spectra of the map's two
    profiles, the mean over rows and the mean over columns: the evidence by which Fan and de Queiroz (2003),
    "Identification of bitmap compression history", find JPEG's blocks. The power is that of both profiles, means
    removed, under a Hann window. Each multiple below the Nyquist frequency is compared with the bins around it, from 2
    bins away (the window's lobe) to half-way to the next multiple, by 10 log10 of the power minus the mean of the same
    over those bins. A power law and white noise leave 0 on average. The result is the mean over multiples. One image's
    value scatters by about 10 log10(2) / sqrt(multiples); means over images are what to compare.

    Args:
        mass: [B, S, S].
        period: in pixels.

    Returns:
        float64 [B], in dB; NaN for a constant map, and for all maps unless 2 < period <= S / 4, where lines and the
        bins between them can be told apart. Powers are floored 120 dB below the squared mean of the map.

    Raises:
        ValueError: the maps are not square.
    """
    mass = _exact(mass)
    batch, height, side = mass.shape
    if height != side:
        raise ValueError(f"maps of {height} x {side} pixels; need square ones")
    spacing = side / period
    if batch == 0 or not (period > 2 and spacing >= 4):
        return torch.full((batch,), float("nan"), dtype=torch.float64)
    profiles = torch.stack([mass.mean(dim=1), mass.mean(dim=2)], dim=1)
    profiles = profiles / profiles.mean(dim=(1, 2), keepdim=True) - 1
    window = torch.hann_window(side, dtype=torch.float64)
    level = 10 * torch.fft.rfft(profiles * window).abs().square().sum(dim=1).clamp(min=1e-12).log10()
    bins = torch.arange(level.shape[1])
    excess = []
    for multiple in range(1, math.ceil(side / 2 / spacing)):
        line = round(multiple * spacing)
        distance = (bins - multiple * spacing).abs()
        around = (distance >= 1.5) & (distance <= max(2.0, spacing / 2)) & (bins > 0) & (bins != line)
        excess.append(level[:, line] - level[:, around].mean(dim=1))
    return torch.stack(excess).mean(dim=0).masked_fill(_constant(mass), float("nan"))


def positive_share(attribution: Tensor) -> Tensor:
    """Share of the absolute mass that is positive, where compression raised the loss.

    Args:
        attribution: [B, 3, H, W].

    Returns:
        float64 [B] in [0, 1]; NaN for a map without mass.

    >>> positive_share(torch.tensor([[[[3.0, -1.0]]]])).tolist()
    [0.75]
    """
    flat = _exact(attribution).flatten(1)
    return flat.clamp(min=0).sum(1) / flat.abs().sum(1)


def _exact(values: Tensor) -> Tensor:
    return values.cpu().double()


def _constant(mass: Tensor) -> Tensor:
    flat = mass.flatten(1)
    return (flat == flat[:, :1]).all(dim=1)
