"""What each frequency of the 8 x 8 DCT costs, channel by channel."""

from typing import TYPE_CHECKING, Any

import numpy as np

from bench.figures.lettering import plain
from bench.figures.style import finish, new_figure, signed_colours, write_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bench.attribution.spectra import MeanSpectrum

_INCHES = (12.4, 4.45)
_PANEL_INCHES = 2.95
_LEFT, _BOTTOM, _STEP = 0.75, 0.95, 3.75  # inches: of the first panel, and from one to the next
_NATS = 1000  # thousandths
_LEAST = 0.01  # of the strongest cell: what is less is not written


def frequency_maps(spectrum: "MeanSpectrum") -> "Figure":
    """A panel per channel, Y, Cb and Cr, a cell per coefficient, its mean in thousandths of a nat per image."""
    from bench.attribution.coefficients import CHANNELS

    milli = _NATS * spectrum.mean
    end = float(np.abs(milli).max()) or 1.0
    sure = (spectrum.low > 0) | (spectrum.high < 0)
    figure = new_figure(*_INCHES)
    figure.set_layout_engine("none")  # finding a layout takes most of the time
    count = f"{spectrum.images:,} image{'s' if spectrum.images > 1 else ''}"
    figure.suptitle(f"{plain(spectrum.view)}: thousandths of a nat per frequency, mean of {count}", fontsize=11)
    for number, channel in enumerate(CHANNELS):
        axes = _panel(figure, _LEFT + number * _STEP, _PANEL_INCHES)
        image = axes.imshow(milli[number], cmap=signed_colours("1"), vmin=-end, vmax=end)
        axes.set_title(f"{channel}: sum {milli[number].sum():+,.0f}", fontsize=10)
        side = spectrum.block_sides[number]
        axes.set_xlabel(f"horizontal frequency, half periods per {side} pixels", fontsize=8)
        axes.set_ylabel("vertical frequency" if number == 0 else "", fontsize=8)
        axes.set_xticks(range(8))
        axes.set_yticks(range(8))
        axes.tick_params(labelsize=7, length=0)
        write_numbers(axes, image, _LEAST * end, decimals=1 if end < 100 else 0, bold=sure[number])
    beside = _panel(figure, _LEFT + (len(CHANNELS) - 1) * _STEP + _PANEL_INCHES + 0.2, 0.13)
    figure.colorbar(image, cax=beside, label="thousandths of a nat")
    return finish(figure, _caption(spectrum))


def _panel(figure: "Figure", left: float, width: float) -> Any:
    return figure.add_axes((left / _INCHES[0], _BOTTOM / _INCHES[1], width / _INCHES[0], _PANEL_INCHES / _INCHES[1]))


def _caption(spectrum: "MeanSpectrum") -> str:
    halved = spectrum.block_sides[1] > spectrum.block_sides[0]
    told = (
        "A cell is what the change of one DCT coefficient, in all blocks of an image together, added to its loss "
        "(orange) or took from it (blue), by Integrated Gradients; at the top left that of the blocks' means. "
    )
    if halved:
        told += "Chroma as JPEG stores it, at half the resolution. "
    else:
        told += "The transform is that of 8 x 8 pixels of the error, whatever the codec's own is. "
    told += (
        f"Missing from the sum: rounding to bytes{' and halving of chroma' if halved else ''}. Without a number: below "
    )
    told += f"{_LEAST:.0%} of the strongest."
    if np.isfinite(spectrum.low).all():
        told += " Bold: the cell's interval over images (95%) leaves 0 out, which 1 in 20 cells that cost nothing do."
    return told
