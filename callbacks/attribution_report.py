"""Writes explained images to files and to TensorBoard."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from bench.attribution.explanations import Explanation, columns, explanations_csv, explanations_markdown
from bench.runs.files import write_atomically
from bench.runs.folder import ATTRIBUTION_TABLE


class AttributionReport:
    """The report of one run; for its first process.

    Args:
        folder: Where the files go; made when it is needed.
        writer: TensorBoard, or None.
    """

    def __init__(self, folder: Path, writer: SummaryWriter | None) -> None:
        self.folder, self.writer = folder, writer

    def add_figure(self, index: int, figure: npt.NDArray[np.uint8]) -> None:
        """Write one image's picture, uint8 [height, width, 3]: `<index>.png`, `attribution/<index>`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(figure).save(self.folder / f"{index}.png")
        if self.writer is not None:
            self.writer.add_image(f"attribution/{index}", figure, dataformats="HWC")

    def add_maps(self, index: int, arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Write one image's arrays: `maps/<index>.npz`."""
        folder = self.folder / "maps"
        folder.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(folder / f"{index}.npz", **arrays)  # type: ignore[arg-type]  # no array is `allow_pickle`

    def finish(
        self,
        explanations: Sequence[Explanation],
        summary: dict[str, Any],
        class_names: Sequence[str],
        legend: str,
        warning: str | None,
    ) -> None:
        """Write the table, and everything numeric to TensorBoard.

        Args:
            explanations: At least one.
            summary: Theirs, from `bench.attribution.explanations.summary`.
            class_names: By label.
            legend: What the colours mean.
            warning: What is to be known before the numbers are used.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / ATTRIBUTION_TABLE, explanations_csv(explanations, class_names))
        if self.writer is None:
            return
        self.writer.add_text("attribution/table", explanations_markdown(explanations, class_names))
        self.writer.add_text("attribution/legend", legend)
        if warning:
            self.writer.add_text("attribution/warning", warning)
        for view, found in summary["views"].items():
            for part, value in found["residual"].items():
                self.writer.add_scalar(f"attribution/residual_{part}/{view}", value)
            for name, column in columns(explanations, view).items():
                defined = column[column.isfinite()]
                if len(defined):
                    self.writer.add_scalar(f"attribution/{name}/{view}", float(defined.mean()))
                    self.writer.add_histogram(f"attribution_images/{name}/{view}", defined)
