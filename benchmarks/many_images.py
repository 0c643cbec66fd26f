"""What the size of a run costs beside the encoder: `python -m benchmarks.many_images [--images 1280000] [--views 4]`.

A whole `test` run in a process of its own, with sampler, journal, outcomes, tables and records as they are, of images
that are not decoded and embeddings that are drawn at random: the loader hands on labels and names. Printed are the
peak memory before the first batch, at the last one and in the end, and the seconds that a batch took and all that comes
after the last one; then those of reading the table back, as the report does.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from bench.evaluation import ZeroShotEvaluation
from bench.runs.folder import load_run
from bench.runs.images import read_columns
from benchmarks.timing import machine
from callbacks import ResultsWriter
from datamodules.base import DegradedDataModule
from datamodules.image_files import FileNames, ImageFiles
from datamodules.views import NOT_ENCODED, PADDING, Batch

_DEMO = Path(__file__).parents[1] / "configs/models/demo-rn"
_VIEWS = ("original", *(f"jpeg-{quality}" for quality in (75, 50, 25, 90, 60, 40, 10, 95, 85, 30, 20)))
_MIB = 2**20


class _Names(ImageFiles):
    """Names and labels of images that are nowhere."""

    def load(self, index: int) -> Image.Image:
        return Image.new("RGB", (8, 8), (index % 256, 0, 0))

    def content(self) -> str:
        return f"sha256:{len(self):064x}"

    def file_size(self, index: int) -> int:
        return NOT_ENCODED


class _Positions(Dataset[int]):
    def __init__(self, data: "_Stub") -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data.positions)

    def __getitem__(self, position: int) -> int:
        return position

    def collate(self, positions: Sequence[int]) -> Batch:
        """A batch of one pixel per image, and sizes that a codec might have given it."""
        kept = torch.tensor([position for position in positions if position != PADDING])
        source, views = self.data.chosen, self.data.views
        sides = torch.full((len(kept), 2), 224)
        return Batch(
            views={view: torch.empty(len(kept), 3, 1, 1, dtype=torch.uint8) for view in views},
            labels=torch.tensor([source.label(int(index)) for index in kept]),
            indices=kept,
            sizes=dict.fromkeys(views, sides),
            encoded_bytes={view: 10_000 + kept % (1000 + place) for place, view in enumerate(views)},
            paths=[source.path(int(index)) for index in kept],
        )


class _Stub(DegradedDataModule):
    def __init__(self, images: int, classes: int, **options: Any) -> None:
        super().__init__(num_workers=0, **options)
        self.images, self.classes = images, classes

    def source(self, split: str) -> _Names:
        names = (f"n{number * self.classes // self.images:08d}/{number:08d}.JPEG" for number in range(self.images))
        labels = torch.arange(self.images) * self.classes // self.images
        return _Names(Path(), FileNames(names), labels.numpy(), [f"class {label}" for label in range(self.classes)])

    def test_dataloader(self) -> DataLoader[Batch]:
        positions = _Positions(self)
        sampler = super().test_dataloader().sampler
        return DataLoader(positions, self.batch_size, sampler=sampler, collate_fn=positions.collate)  # type: ignore[arg-type]


class _Watch(Callback):
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.peaks: dict[str, float] = {}

    def mark(self, name: str) -> None:
        self.seconds[name] = time.perf_counter()
        self.peaks[name] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _MIB

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.mark("first batch")

    def on_test_batch_end(self, *_: Any) -> None:
        self.mark("last batch")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=1_280_000)
    parser.add_argument("--views", type=int, default=4, help=f"1 to {len(_VIEWS)}")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=512)
    options = parser.parse_args()
    print(f"{options.images:,} images x {options.views} views, {options.classes} classes; {machine()}")
    watch = _Watch()
    watch.mark("imports")
    views, size = _VIEWS[: options.views], options.batch_size
    data = _Stub(options.images, options.classes, degradations=views, batch_size=size)
    module = ZeroShotEvaluation(f"{_DEMO}.json", f"{_DEMO}.safetensors", fidelity=False)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            accelerator="cpu", logger=False, default_root_dir=folder, enable_progress_bar=False,
            callbacks=[watch, ResultsWriter(), _RandomEmbeddings(options.classes)], enable_model_summary=False,
        )  # fmt: skip
        trainer.test(module, data, verbose=False)
        watch.mark("written")
        sizes = {file.name: file.stat().st_size / _MIB for file in Path(folder).iterdir() if file.is_file()}
        run = load_run(folder)
        read_columns(run, ["loss"])
        watch.mark("read back")
    steps = -(-options.images // size)
    seconds = watch.seconds
    print(f"a batch of {size}: {(seconds['last batch'] - seconds['first batch']) / steps * 1e3:.1f} ms")
    print(f"after the last batch: {seconds['written'] - seconds['last batch']:.1f} s")
    print(f"reading the table back: {seconds['read back'] - seconds['written']:.1f} s")
    for name, peak in watch.peaks.items():
        print(f"peak memory, {name:12} {peak:8.0f} MiB")
    for name, mebibytes in sizes.items():
        print(f"{name:14} {mebibytes:8.1f} MiB")


class _RandomEmbeddings(Callback):
    def __init__(self, classes: int) -> None:
        self.classes = classes

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, ZeroShotEvaluation)
        generator, size = torch.Generator().manual_seed(0), pl_module.classifier.text.shape[1]
        pl_module.classifier.embed = lambda images: functional.normalize(  # type: ignore[method-assign]
            torch.randn(len(images), size, generator=generator), dim=1
        )


if __name__ == "__main__":
    main()
