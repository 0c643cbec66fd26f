"""Outcomes and metrics as text: the per-image CSV table and the table on the screen."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import torch

from bench.outcomes import Outcomes

COLUMNS = (
    "index", "path", "label", "view", "prediction", "probability", "confidence", "loss", "rank", "encoded_bytes",
    "bits_per_pixel", "psnr", "ssim",
)  # fmt: skip
_IMAGES_AT_ONCE = 1024
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


def per_image_csv(outcomes: Mapping[str, Outcomes], path: Callable[[int], str | None]) -> Iterator[str]:
    """One line per image and view, sorted by image index; classes are indices, unknown values are empty.

    It comes in pieces, since the text of a large run weighs more than all its outcomes. The PSNR of a
    view that equals its original is `inf`.

    Args:
        outcomes: By view; every view has the same images in the same order.
        path: File name of an image index.

    The floats are written with nine digits, which is float32 without loss.
    """
    order = next(iter(outcomes.values())).index.argsort()
    yield ",".join(COLUMNS) + "\n"
    for start in range(0, len(order), _IMAGES_AT_ONCE):
        rows = order[start : start + _IMAGES_AT_ONCE]
        text = StringIO()
        writer = csv.writer(text, lineterminator="\n")
        columns = {view: _columns(found.select(rows)) for view, found in outcomes.items()}
        for lines in zip(*columns.values(), strict=True):
            for view, (index, label, *values) in zip(columns, lines, strict=True):
                writer.writerow([index, path(int(index)), label, view, *values])
        yield text.getvalue()


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
