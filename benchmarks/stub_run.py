"""A whole `test` run with a stub for the encoder: `python -m benchmarks.stub_run FOLDER [--images 50000] [--views 12]`.

Sampler, journal, outcomes, tables, records and pictures are the run's own. The loader hands on labels and names of
images that are not decoded, with bytes, PSNR and SSIM as codecs have them; the encoder draws embeddings near those of
the classes, so that some 0.7 of the originals are right and views lose 1 to 15 points, the more the fewer their bytes.
Printed are the processor seconds of a batch and of what comes after the last one, and the peak memory at each stage.
"""

import argparse
import math
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from bench.clip.zero_shot import ZeroShotClassifier
from bench.evaluation import ZeroShotEvaluation
from callbacks import ResultsWriter, TensorBoardReport
from datamodules.base import DegradedDataModule
from datamodules.image_files import FileNames, ImageFiles
from datamodules.imagenet import class_names
from datamodules.views import PADDING, Batch, Images

VIEWS = (
    *("original", "jpeg-75", "jpeg-50", "jpeg-25", "jpeg-90", "jpeg-10", "webp-90", "webp-75", "webp-50", "webp-25"),
    *("avif-60", "avif-40"),
)
ENCODERS = ("demo-rn", "demo-vit")
_MODELS = Path(__file__).parents[1] / "configs/models"
_MIB = 2**20
_SIDE = 224
_BITS = dict(zip(VIEWS, (0, 1.6, 1.0, 0.6, 2.9, 0.3, 2.5, 1.2, 0.7, 0.4, 0.9, 0.4), strict=True))
_LOGIT_SCALE = 22  # makes confidences about as large as the precision, for embeddings as they are drawn here
_SIGNALS = (0.58, 0.62)  # by encoder
_CLASS_SPREAD, _IMAGE_SPREAD = 0.1, 0.2
_FAMILY = 10  # classes that are alike
_LEAST_NOISE, _MOST_NOISE = 0.1, 0.7  # of a view beside the image's own


class _Names(ImageFiles):
    """Names and labels of images that are nowhere."""

    def load(self, index: int) -> Image.Image:
        """A gradient with some noise, for the few pictures that are shown."""
        draws = np.random.default_rng(index)
        ramp = np.linspace(0, 1, _SIDE)[:, None, None] * draws.integers(100, 200, 3)
        pixels = ramp.swapaxes(0, index % 2) + draws.integers(0, 56, (_SIDE, _SIDE, 3))
        return Image.fromarray(pixels.astype(np.uint8))

    def content(self) -> str:
        return f"sha256:{len(self):064x}"

    def file_size(self, index: int) -> int:
        return 110_000


class _Positions(Dataset[int]):
    def __init__(self, data: "_StubData") -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data.positions)

    def __getitem__(self, position: int) -> int:
        return position

    def collate(self, positions: Sequence[int]) -> Batch:
        """A batch of one pixel per image, which says label and view, and what codecs might have made of it."""
        kept = torch.tensor([position for position in positions if position != PADDING])
        source, views = self.data.chosen, self.data.views
        labels = torch.tensor([source.label(int(index)) for index in kept])
        detail = (kept * 7919 % 1000) / 1000  # of an image, in [0, 1)
        noise = torch.stack([_noise(view) for view in views])
        sides = torch.full((len(kept), 2), _SIDE)
        return Batch(
            views={view: _pixels(labels, place) for place, view in enumerate(views)},
            labels=labels,
            indices=kept,
            sizes=dict.fromkeys(views, sides),
            encoded_bytes={view: (_SIDE**2 / 8 * _bits(view) * (0.5 + detail)).long() for view in views},
            paths=[source.path(int(index)) for index in kept],
            codec_ms={view: torch.stack([2 + 3 * detail, 1 + detail], dim=1) for view in views},
            fidelity={
                view: torch.stack([44 - 18 * strength - 6 * detail, 0.99 - 0.3 * strength - 0.1 * detail], dim=1)
                for view, strength in zip(views, noise, strict=True)
            },
        )


def _pixels(labels: Tensor, view: int) -> Tensor:
    return torch.stack([labels // 256, labels % 256, torch.full_like(labels, view)], dim=1).byte()[..., None, None]


def _bits(view: str) -> float:
    return _BITS[view] or 24.0


def _noise(view: str) -> Tensor:
    """How much a view adds to the noise of its image's embedding, by its bits per pixel."""
    if view == "original":
        return torch.tensor(0.0)
    least, most = min(filter(None, _BITS.values())), max(_BITS.values())
    share = math.log(most / _BITS[view]) / math.log(most / least)
    return torch.tensor(_LEAST_NOISE + (_MOST_NOISE - _LEAST_NOISE) * share)


class _StubData(DegradedDataModule):
    dataset_name = "stub"

    def __init__(self, images: int, classes: int, **options: Any) -> None:
        super().__init__(num_workers=0, **options)
        self.images, self.classes = images, classes

    def source(self, split: str) -> _Names:
        names = (f"n{number * self.classes // self.images:08d}/{number:08d}.png" for number in range(self.images))
        labels = torch.arange(self.images) * self.classes // self.images
        known = [*class_names().values()]
        return _Names(Path(), FileNames(names), labels.numpy(), known[: self.classes])

    def test_dataloader(self) -> DataLoader[Batch]:
        positions = _Positions(self)
        sampler = super().test_dataloader().sampler
        return DataLoader(positions, self.batch_size, sampler=sampler, collate_fn=positions.collate)  # type: ignore[arg-type]


class _StubEncoder(Callback):
    """Puts drawn embeddings in the place of the encoder's: images are as hard, classes as alike for all encoders."""

    def __init__(self, place: int, views: Sequence[str]) -> None:
        self.place, self.noise = place, [_noise(view) for view in views]
        self.images, self.draws = torch.Generator().manual_seed(0), torch.Generator().manual_seed(1 + place)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, ZeroShotEvaluation)
        classifier: ZeroShotClassifier = pl_module.classifier
        classes, size = classifier.text.shape
        families = torch.randn(-(-classes // _FAMILY), size, generator=self.images).repeat_interleave(_FAMILY, 0)
        own = torch.randn(classes, size, generator=self.images)
        self.text = functional.normalize(functional.normalize(families[:classes]) + functional.normalize(own))
        self.signal = _SIGNALS[self.place] + _CLASS_SPREAD * torch.randn(classes, generator=self.images)
        classifier.text = self.text
        scale = classifier.model.logit_scale
        assert isinstance(scale, Tensor)
        scale.data.fill_(math.log(_LOGIT_SCALE))
        classifier.embed_restored = self.embed  # type: ignore[method-assign]

    def embed(self, images: Images, view: str | None = None) -> Tensor:
        """Unit embeddings [B, D] of images that say label and view; the original comes first and decides for all."""
        assert isinstance(images, Tensor)
        high, low, place = images[..., 0, 0].long().unbind(1)
        labels, size = 256 * high + low, self.text.shape[1]
        if not place[0]:
            hard = _IMAGE_SPREAD * torch.randn(len(labels), generator=self.images)
            noise = torch.randn(len(labels), size, generator=self.draws) / size**0.5
            self.original = (self.signal[labels] + hard)[:, None] * self.text[labels] + noise
        further = torch.randn(len(labels), size, generator=self.draws) / size**0.5
        return functional.normalize(self.original + self.noise[int(place[0])] * further)


class _Watch(Callback):
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.peaks: dict[str, float] = {}

    def mark(self, name: str) -> None:
        self.seconds[name] = time.process_time()
        self.peaks[name] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _MIB

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.mark("first batch")

    def on_test_batch_end(self, *_: Any) -> None:
        self.mark("last batch")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.mark("measured")


class _AfterPictures(Callback):
    def __init__(self, watch: _Watch) -> None:
        self.watch = watch

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.watch.mark("drawn")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="of the run")
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--views", type=int, default=12, help=f"1 to {len(VIEWS)}")
    parser.add_argument("--classes", type=int, default=1000, help="2 to 1000")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--encoder", type=int, default=0, help="which of the two stubs: 0 or 1")
    parser.add_argument("--table", choices=("csv", "parquet"), default="csv")
    options = parser.parse_args()
    watch, views = _Watch(), VIEWS[: options.views]
    data = _StubData(options.images, options.classes, degradations=views, batch_size=options.batch_size)
    model = _MODELS / ENCODERS[options.encoder]
    module = ZeroShotEvaluation(f"{model}.json", f"{model}.safetensors")
    trainer = Trainer(
        accelerator="cpu",
        logger=TensorBoardLogger(options.folder.parent, name="", version=options.folder.name, default_hp_metric=False),
        callbacks=[
            watch,
            TensorBoardReport(),
            _AfterPictures(watch),
            ResultsWriter(table=options.table),
            _StubEncoder(options.encoder, views),
        ],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.test(module, data, verbose=False)
    watch.mark("written")
    seconds = watch.seconds
    steps = -(-options.images // options.batch_size)
    print(f"  a batch of {options.batch_size}: {(seconds['last batch'] - seconds['first batch']) / steps * 1e3:.1f} ms")
    for before, after, what in (
        ("last batch", "measured", "metrics"),
        ("measured", "drawn", "pictures in TensorBoard"),
        ("drawn", "written", "table and record"),
    ):
        print(f"  {what}: {seconds[after] - seconds[before]:.1f} s")
    for name, peak in watch.peaks.items():
        print(f"  peak memory, {name}: {peak:,.0f} MiB")


if __name__ == "__main__":
    main()
