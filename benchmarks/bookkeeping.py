"""What keeping account of a run costs a step, the encoder taken out: `python -m benchmarks.bookkeeping`.

CPU time of `ZeroShotEvaluation.test_step` on one thread, embeddings made beforehand, without PSNR and SSIM; against a
bare loop that does nothing but class logits, argmax and a comparison with the labels for the same views. The two run in
turns in one process; figures are medians.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch.nn import functional

from bench.clip.zero_shot import class_logits
from bench.evaluation import ZeroShotEvaluation
from bench.runs.table import align
from datamodules import Synthetic
from datamodules.views import Batch

VIEWS = ("original", "jpeg-75", "jpeg-50", "jpeg-25")


_DEMO = Path(__file__).parents[1] / "configs/models/demo-rn"


def prepared(classes: int, batch_size: int) -> tuple[ZeroShotEvaluation, Batch, Callable[[], Any]]:
    """A module that is ready to test, a batch for it, and the bare loop over that batch."""
    data = Synthetic(degradations=VIEWS, num_workers=0, limit=batch_size, batch_size=batch_size)
    data.setup("test")
    module = ZeroShotEvaluation(f"{_DEMO}.json", f"{_DEMO}.safetensors", fidelity=False)
    module.trainer = data.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, barebones=True)
    module.trainer.datamodule = data  # type: ignore[attr-defined]  # a connector declares it
    module.setup("test")
    generator = torch.Generator().manual_seed(0)
    size = module.classifier.text.shape[1]

    def directions(count: int) -> torch.Tensor:
        return functional.normalize(torch.randn(count, size, generator=generator), dim=1)

    batch = next(iter(data.test_dataloader()))
    batch.labels = torch.randint(classes, (batch_size,), generator=generator)
    module.classifier.text = directions(classes)
    for precision in module.precisions:
        precision.num_classes = classes  # type: ignore[assignment]
    by_view = {images.data_ptr(): directions(batch_size) for images in batch.views.values()}
    module.classifier.embed_restored = lambda images, view=None: by_view[images.data_ptr()]  # type: ignore[method-assign,union-attr]

    def bare() -> int:
        right = [
            (class_logits(module.classifier.model, found, module.classifier.text).argmax(1) == batch.labels).sum()
            for found in by_view.values()
        ]
        return int(torch.stack(right).sum())

    return module, batch, bare


def milliseconds(function: Callable[[], Any], times: int) -> float:
    """CPU time of one call, the mean of several."""
    start = time.process_time()
    for _ in range(times):
        function()
    return (time.process_time() - start) / times * 1e3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [["classes", "batch", "bare loop (ms)", "test_step (ms)", "more (ms)"]]
    figures = []
    with torch.inference_mode():
        for classes in (10, 1000):
            for batch_size in (1, 128):
                module, batch, bare = prepared(classes, batch_size)

                def step(module: ZeroShotEvaluation = module, batch: Batch = batch) -> None:
                    module.test_step(batch, 0)
                    module.parts.clear()

                pairs = []
                for _ in range(options.rounds):
                    pairs.append((milliseconds(bare, 10), milliseconds(step, 10)))
                base, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
                more = statistics.median(one - other for other, one in pairs)
                figures.append({"classes": classes, "batch_size": batch_size, "bare": base, "step": ours, "more": more})
                rows.append([str(classes), f"{batch_size} x {len(VIEWS)}", *(f"{v:.3f}" for v in (base, ours, more))])
    print(align(rows))
    if options.json:
        options.json.write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
