"""Outcomes and metrics as text: the per-image CSV table and the table on the screen."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import torch

from bench.outcomes import Outcomes

COLUMNS = (
    "index", "path", "label", "view", "prediction", "probability", "confidence", "loss", "rank", "encoded_bytes",
    "bits_per_pixel", "psnr", "ssim",
)  # fmt: skip
_SCREEN_ROWS = {
    "precision": ("precision", 4),
    "drop": ("drop", 4),
    "flip_rate": ("flips", 4),
    "precision_macro": ("precision (macro)", 4),
    "calibration_error": ("calibration error", 4),
    "loss": ("loss", 4),
    "probability": ("p(true class)", 4),
    "confidence": ("confidence", 4),
    "encoded_bytes": ("bytes per image", 0),
    "bits_per_pixel": ("bits per pixel", 3),
    "psnr": ("PSNR (dB)", 2),
    "ssim": ("SSIM", 4),
}
"""Metrics by name: what they are called on the screen, and decimals."""


def per_image_csv(outcomes: Mapping[str, Outcomes], paths: Mapping[int, str | None]) -> str:
    """One line per image and view, sorted by image index; classes are indices, unknown values are empty.

    The PSNR of a view that equals its original is `inf`.

    Args:
        outcomes: By view; every view has the same images in the same order.
        paths: File name by image index.

    The floats are written with nine digits, which is float32 without loss.
    """
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    order = next(iter(outcomes.values())).index.argsort()
    columns = {view: _columns(rows.select(order)) for view, rows in outcomes.items()}
    for lines in zip(*(columns[view] for view in columns), strict=True):
        for view, (index, label, *values) in zip(columns, lines, strict=True):
            writer.writerow([index, paths[int(index)], label, view, *values])
    return text.getvalue()


def _columns(rows: Outcomes) -> Iterator[tuple[str, ...]]:
    def whole(values: torch.Tensor) -> list[str]:
        return ["" if value < 0 else str(value) for value in values.tolist()]

    def real(values: torch.Tensor) -> list[str]:
        return ["" if value != value else f"{value:.9g}" for value in values.tolist()]

    return zip(
        whole(rows.index),
        whole(rows.label),
        whole(rows.prediction),
        real(rows.probability),
        real(rows.confidence),
        real(rows.loss),
        whole(rows.rank),
        whole(rows.encoded_bytes),
        real(rows.bits_per_pixel),
        real(rows.psnr),
        real(rows.ssim),
        strict=True,
    )


def screen_table(record: Mapping[str, Any]) -> str:
    """A run's headline metrics, a column per view, as in Figure 1 of Chen, Namboodiri and Padget (2023)."""
    metrics: Mapping[str, Mapping[str, Any]] = record["metrics"]
    views = list(metrics)
    rows = [["", *views]]
    for name, (title, decimals) in _SCREEN_ROWS.items():
        values = [metrics[view].get(name) for view in views]
        if any(value is not None for value in values):
            rows.append([title, *("" if value is None else f"{value:.{decimals}f}" for value in values)])
    data, model = record["data"], record["model"]
    skipped = f" ({len(record['skipped'])} skipped)" if record["skipped"] else ""
    head = (
        f"{model['encoder']} ({Path(str(model['pretrained'])).name}) on {data['name']}/{data['split']}, "
        f"{record['images']} images{skipped}, {len(data['class_names'])} classes"
    )
    return f"{head}\n\n{align(rows)}"


def align(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as lines: the first column to the left, the others to the right.

    >>> print(align([["", "a"], ["x", "0.5"]]))
         a
    x  0.5
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)
