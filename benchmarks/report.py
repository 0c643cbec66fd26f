"""What a report of the whole paper costs: `python -m benchmarks.report [--share 1] [--keep FOLDER]`.

Made-up runs of the paper's nine encoders on its four splits, each in four views with as many images right as the paper
prints, result files and per-image tables as runs write them; then `lightning report --against paper` on them.
"""

import argparse
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from bench.metrics import measure, support
from bench.outcomes import Outcomes
from bench.paper import PRETRAINED, TEMPLATE, VIEWS
from bench.references.sources import Images, load
from bench.runs.folder import RunFolder
from bench.runs.provenance import DataRecord, ModelRecord, SoftwareRecord
from bench.runs.record import RunInfo, RunRecord
from bench.runs.table import per_image_csv
from benchmarks.commands import timed_run
from benchmarks.timing import machine

_CLASSES = 10
_BYTES = dict(zip(VIEWS[1:], (960, 800, 700), strict=True))


def write_runs(folder: Path, share: float) -> int:
    """All of them.

    Args:
        folder: What they are written into.
        share: Of the images, in (0, 1].

    Returns:
        The number of runs.
    """
    paper = load("paper")
    runs = [(table, row) for table in paper.tables for row in paper.rows]
    for seed, (table, row) in enumerate(runs):
        published = {figure.view: figure.value for figure in paper.figures(row, table)}
        write_run(folder / f"{table.data}-{table.splits[0]}-{row.encoder}", table, row.encoder, published, seed, share)
    return len(runs)


def write_run(
    folder: Path, table: Images, encoder: str, published: Mapping[str, float], seed: int, share: float
) -> None:
    """One run: images are right in the order of a difficulty that views share but for noise.

    Args:
        folder: Of the run.
        table: The images.
        encoder: Name.
        published: Precision by view.
        seed: Of the difficulty.
        share: Of the images, in (0, 1].
    """
    draws = np.random.default_rng(seed)
    images = max(1, round(share * table.images))
    labels = np.arange(images) % _CLASSES
    difficulty = draws.random(images)
    outcomes = {}
    for view, precision in published.items():
        hardest = np.argsort(difficulty + 0.1 * draws.random(images))[round(precision * images) :]
        best = labels.copy()
        best[hardest] = (labels[hardest] + draws.integers(1, _CLASSES, len(hardest))) % _CLASSES
        logits = torch.tensor(draws.random((images, _CLASSES)) + 2 * np.eye(_CLASSES)[best])
        size = torch.full((images,), _BYTES.get(view, -1))
        bits = torch.full((images,), _BYTES[view] / 128 if view in _BYTES else torch.nan)
        outcomes[view] = Outcomes.from_logits(
            logits, torch.tensor(labels), torch.arange(images), encoded_bytes=size, bits_per_pixel=bits
        )
    data: dict[str, object] = {
        "name": table.data,
        "split": table.splits[0],
        "views": list(VIEWS),
        "images_selected": images,
    }
    data |= {
        "class_names": [f"class {place}" for place in range(_CLASSES)],
        "content": f"{table.data}-{table.splits[0]}",
    }
    model = {"encoder": encoder, "pretrained": PRETRAINED, "templates": [TEMPLATE], "precision": "32-true"}
    record = RunRecord(
        images,
        measure(outcomes, _CLASSES, labelled=True),
        ModelRecord.of(model | {"weights_sha256": encoder}),
        DataRecord.of(data),
        SoftwareRecord(packages={}, libjpeg_turbo=None, git_commit=None),
        RunInfo("test"),
        support(outcomes[VIEWS[0]], _CLASSES),
    )
    folder.mkdir(parents=True)
    record.write(folder)
    RunFolder(folder).table.write_text("".join(per_image_csv(outcomes, lambda _: None)), encoding="utf-8")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0, help="of the images")
    parser.add_argument("--keep", type=Path, help="an empty folder for runs and report, which stay there")
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        runs = write_runs(folder / "runs", options.share)
        before = os.times()
        seconds, _ = timed_run(
            ["report", str(folder / "runs"), "--output", str(folder / "report"), "--against", "paper"]
        )
        after = os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        size = (folder / "report" / "index.html").stat().st_size
    print(f"{runs} runs: {cpu:.1f} s of processor time ({seconds:.1f} s), index.html {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
