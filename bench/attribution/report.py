"""Writes explained images to files and to TensorBoard."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench.attribution.explanations import (
    AttributionRecord,
    Explanation,
    columns,
    explanations_csv,
    explanations_markdown,
    spectra,
)
from bench.attribution.spectra import Spectrum, costliest_blocks, mean_spectrum, spectra_table
from bench.figures.frequencies import frequency_maps
from bench.figures.tensorboard import write_figure, write_pixels
from bench.runs.files import write_atomically
from bench.runs.folder import RunFolder

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


LEAST_IN_A_HISTOGRAM = 20
"""Images: of fewer a histogram shows where each is, which the table does better."""

MOST_BLOCKS = 20
"""Blocks per view in the table of the costliest ones."""


class AttributionReport:
    """The report of one run; for its first process.

    Args:
        folder: The run's; the folder of its attributions is made when it is needed.
        writer: TensorBoard, or None.
    """

    def __init__(self, folder: RunFolder, writer: "SummaryWriter | None") -> None:
        self.folder, self.writer = folder, writer

    def add_figure(self, index: int, figure: npt.NDArray[np.uint8], cards: Mapping[str, npt.NDArray[np.uint8]]) -> None:
        """Write one image's pictures, uint8 [height, width, 3].

        Args:
            index: Of the image.
            figure: All views: `<index>.png`, `attribution_all_views/<index>`.
            cards: By view, for TensorBoard alone: `attribution/<index>/<view>`.
        """
        path = self.folder.attribution_picture(index)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(figure).save(path)
        if self.writer is not None:
            for view, card in cards.items():
                write_pixels(self.writer, f"attribution/{index}/{view}", card)
            write_pixels(self.writer, f"attribution_all_views/{index}", figure)

    def add_maps(self, index: int, arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Write one image's arrays: `maps/<index>.npz`."""
        path = self.folder.attribution_maps(index)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]  # no array is `allow_pickle`

    def finish(
        self,
        explanations: Sequence[Explanation],
        record: AttributionRecord,
        class_names: Sequence[str],
        legend: str,
    ) -> None:
        """Write the table, and everything numeric to TensorBoard.

        Args:
            explanations: At least one.
            record: What sums them up.
            class_names: By label.
            legend: What the colours mean.
        """
        self.folder.attributions.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder.attribution_table, explanations_csv(explanations, class_names))
        self._finish_spectra(spectra(explanations))
        if self.writer is None:
            return
        self.writer.add_text("attribution/table", explanations_markdown(explanations, class_names))
        self.writer.add_text("attribution/legend", legend)
        if warning := record.warning():
            self.writer.add_text("attribution/warning", warning)
        for view, found in record.views.items():
            for part, value in found.residual.items():
                self.writer.add_scalar(f"attribution/residual_{part}/{view}", value)
            for name, column in columns(explanations, view).items():
                defined = column[column.isfinite()]
                if len(defined):
                    self.writer.add_scalar(f"attribution/{name}/{view}", float(defined.mean()))
                if len(defined) >= LEAST_IN_A_HISTOGRAM:
                    self.writer.add_histogram(f"attribution_images/{name}/{view}", defined)

    def _finish_spectra(self, found: Mapping[str, Mapping[int, Spectrum]]) -> None:
        """Write what frequencies and blocks cost, where views have any."""
        if not found:
            return
        means = [mean_spectrum(view, list(of_images.values())) for view, of_images in found.items()]
        tables = {
            self.folder.attribution_frequencies: spectra_table(means),
            self.folder.attribution_blocks: costliest_blocks(found, MOST_BLOCKS),
        }
        for path, table in tables.items():
            write_atomically(path, table.to_csv(index=False, float_format="%.9g", lineterminator="\n"))
        if self.writer is not None:
            for mean in means:
                write_figure(self.writer, f"attribution_frequencies/{mean.view}", frequency_maps(mean))
