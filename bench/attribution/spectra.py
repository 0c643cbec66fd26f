"""What frequencies and blocks cost in the images of a run: parts of sums, means over images, the costliest blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.attribution.coefficients import BLOCK, CHANNELS
from bench.statistics.means import mean_intervals

if TYPE_CHECKING:
    import pandas as pd

    from bench.attribution.frequency import FrequencyAttribution

Floats = npt.NDArray[np.floating]

PARTS = {
    "luma_low": "luma, low",
    "luma_mid": "luma, mid",
    "luma_high": "luma, high",
    "chroma": "chroma",
    "subsampling": "halving of chroma",
    "rounding": "rounding to bytes",
}
"""What the sum of an attribution consists of, by the name of the column: what readers call it."""

BANDS = {"low": (0, 2), "mid": (3, 6), "high": (7, 14)}
"""First and last v + u of the coefficients [v, u] of each band."""

_NO_LOSS = 1e9  # nats

LEAST_WITH_INTERVALS = 10
"""Images: of fewer, what heavy tails do to an interval has not been measured; see `benchmarks/frequencies.py`."""


@dataclass(frozen=True)
class Spectrum:
    """The nats of one image's map by frequency and by block; see `bench.attribution.frequency.FrequencyAttribution`.

    Attributes:
        frequencies: float64 [3, 8, 8].
        blocks: float64 [ceil(H / 8), ceil(W / 8)].
        parts: By the names of `PARTS`, which add up to the map's sum.
        subsampled: Whether the blocks of chroma are those of planes of half the size.
    """

    frequencies: Floats
    blocks: Floats
    parts: Mapping[str, float]
    subsampled: bool

    @classmethod
    def of(cls, attribution: FrequencyAttribution, place: int, subsampled: bool) -> Spectrum:
        """Of one of several maps."""
        frequencies = attribution.frequencies[place].numpy()
        luma = {f"luma_{band}": float(frequencies[0][cells].sum()) for band, cells in band_cells().items()}
        parts = luma | {
            "chroma": float(frequencies[1:].sum()),
            "subsampling": float(attribution.subsampling[place]),
            "rounding": float(attribution.decoding[place] + attribution.resizing[place]),
        }
        return cls(frequencies, attribution.blocks[place].numpy(), parts, subsampled)


@dataclass(frozen=True)
class MeanSpectrum:
    """The mean over the images of a view, in nats per image.

    Attributes:
        view: Its name.
        images: How many there are.
        mean: float64 [3, 8, 8].
        low: Lower ends of the cells' intervals, each by itself at 95%, float64 [3, 8, 8]; NaN of fewer images than
            `LEAST_WITH_INTERVALS`.
        high: Upper ends.
        block_sides: Of a block of Y, Cb and Cr, in pixels of the image.
    """

    view: str
    images: int
    mean: Floats
    low: Floats
    high: Floats
    block_sides: tuple[int, int, int]


def band_cells() -> dict[str, npt.NDArray[np.bool_]]:
    """Which coefficients [v, u] are of each of `BANDS`: bool [8, 8].

    >>> {band: int(cells.sum()) for band, cells in band_cells().items()}
    {'low': 6, 'mid': 22, 'high': 36}
    """
    order = np.add.outer(np.arange(BLOCK), np.arange(BLOCK))
    return {band: (first <= order) & (order <= last) for band, (first, last) in BANDS.items()}


def mean_spectrum(view: str, spectra: Sequence[Spectrum]) -> MeanSpectrum:
    """The mean of at least one; intervals are Student's."""
    values = np.stack([spectrum.frequencies.ravel() for spectrum in spectra])
    ends = mean_intervals(values, least=LEAST_WITH_INTERVALS)
    mean, low, high = (cells.reshape(spectra[0].frequencies.shape) for cells in ends)
    chroma = 2 * BLOCK if all(spectrum.subsampled for spectrum in spectra) else BLOCK
    return MeanSpectrum(view, len(spectra), mean, low, high, (BLOCK, chroma, chroma))


def spectra_table(means: Sequence[MeanSpectrum]) -> pd.DataFrame:
    """A row per view, channel and coefficient: what `read_spectra` reads."""
    import pandas as pd

    rows = [
        {
            "view": mean.view,
            "images": mean.images,
            "channel": channel,
            "block_side": mean.block_sides[number],
            "vertical": vertical,
            "horizontal": horizontal,
            "nats": mean.mean[number, vertical, horizontal],
            "nats_low": mean.low[number, vertical, horizontal],
            "nats_high": mean.high[number, vertical, horizontal],
        }
        for mean in means
        for number, channel in enumerate(CHANNELS)
        for vertical in range(BLOCK)
        for horizontal in range(BLOCK)
    ]
    return pd.DataFrame(rows)


def read_spectra(table: pd.DataFrame) -> list[MeanSpectrum]:
    """The inverse of `spectra_table`.

    Raises:
        KeyError, TypeError, ValueError, IndexError: It is not what `spectra_table` makes.
    """
    means = []
    for view, rows in table.groupby("view", sort=False):
        ordered = rows.sort_values(["vertical", "horizontal"], kind="stable")
        parts = [ordered[ordered["channel"] == channel] for channel in CHANNELS]
        mean, low, high = (
            np.stack([part[name].to_numpy(np.float64).reshape(BLOCK, BLOCK) for part in parts])
            for name in ("nats", "nats_low", "nats_high")
        )
        if not (np.abs(mean) < _NO_LOSS).all():  # nor where one is not a number
            raise ValueError(f"the nats of {view!r} are none")
        luma, blue, red = (int(part["block_side"].iloc[0]) for part in parts)
        means.append(MeanSpectrum(str(view), int(rows["images"].iloc[0]), mean, low, high, (luma, blue, red)))
    return means


def costliest_blocks(spectra: Mapping[str, Mapping[int, Spectrum]], most: int) -> pd.DataFrame:
    """The blocks that raised the loss most, of all images of a view: a row each, the costliest of a view first.

    Columns: `view`, `index` of the image, `x` and `y` of the block's corner at the top left in pixels of the image, its
    `nats`, and `image_nats`, those of all blocks of the image.

    Args:
        spectra: By view and index of the image.
        most: Blocks per view.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for view, of_images in spectra.items():
        found = [
            {"view": view, "index": index, "x": BLOCK * x, "y": BLOCK * y, "nats": nats, "image_nats": total}
            for index, blocks, total in (
                (i, spectrum.blocks, spectrum.blocks.sum()) for i, spectrum in of_images.items()
            )
            for y, x in zip(*np.unravel_index(_strongest(blocks, most), blocks.shape), strict=True)
            if (nats := blocks[y, x]) > 0
        ]
        rows += sorted(found, key=lambda row: -row["nats"])[:most]
    return pd.DataFrame(rows, columns=["view", "index", "x", "y", "nats", "image_nats"])


def _strongest(blocks: Floats, most: int) -> npt.NDArray[np.intp]:
    return np.argsort(-blocks, axis=None, kind="stable")[:most]
