"""What `lightning test` costs beside the encoder's bare forward pass, and beside clip-benchmark.

    python -m benchmarks.evaluation IMAGES [--encoder ViT-B/32 --encoder RN50] [--images 128]

IMAGES is the folder that holds torchvision's `cifar-10-batches-py`; encoders have random weights, or those of
`--pretrained`. What is timed, in seconds per image and view:

- test: `Trainer.test` with this project's modules, loaders, metrics and result files, batch by batch, from the second
  one on (so that neither the start of the loaders nor compiling is in it), with and without compiling;
- bare: after each batch of it, `encode_image` uncompiled over prepared float tensors of the same number and batch
  size, once with this project's memory layout and allocation, and once as open_clip and a fresh process have them
  (stock). Ratios are of neighbours in time, since the speed of a shared machine drifts within minutes;
- clip-benchmark, between two runs of ours on the same images: its own classifier and loop over four loaders, one per
  view, whose images lie decoded and degraded in memory (`pip install clip-benchmark`; left out without it), stock.
"""

import argparse
import io
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bench.clip.encoders import Encoder, load_encoder
from bench.clip.preprocess import Preprocess
from bench.evaluation import ZeroShotEvaluation
from bench.paper import TEMPLATE, VIEWS
from benchmarks.allocation import stock_allocation
from benchmarks.checkpoints import ARCHITECTURES, random_checkpoint
from benchmarks.timing import collect, machine, make_every_classifier, ratios, spread, take_turns
from callbacks import ResultsWriter
from datamodules import CIFAR10
from datamodules.base import DegradedDataModule
from datamodules.cores import usable_cores


class _Clock(Callback):
    """Times every batch, and what is run between two batches for comparison."""

    def __init__(self, between: Mapping[str, Callable[[], float]]) -> None:
        self.between = between
        self.start, self.batches = 0.0, list[float]()
        self.others: dict[str, list[float]] = {name: [] for name in between}

    def on_test_start(self, *_: Any) -> None:
        self.start = time.perf_counter()

    def on_test_batch_end(self, *_: Any) -> None:
        self.batches.append(time.perf_counter() - self.start)
        for name, run in self.between.items():
            self.others[name].append(run())
        self.start = time.perf_counter()


class _Contest:
    """The contestants of one encoder on the same images.

    Args:
        name: Encoder.
        pretrained: Its weights.
        root: CIFAR-10.
        images: Number of source images that count; a batch more is run through.
        batch_size: Images per batch.
    """

    def __init__(self, name: str, pretrained: str, root: Path, images: int, batch_size: int) -> None:
        self.name, self.pretrained, self.batch_size = name, pretrained, batch_size
        self.root, self.images = root, images
        self.predictions: dict[str, dict[str, Tensor]] = {}
        encoder = load_encoder(name, pretrained)
        self.bare = encoder
        self.as_built = load_encoder(name, pretrained)
        self.as_built.model.to(memory_format=torch.contiguous_format)
        data = self._data()
        data.setup("test")
        self.class_names = data.class_names
        self.labels, self.views = _views(data)
        preprocess = Preprocess(encoder.image_size, encoder.mean, encoder.std)
        self.prepared = [preprocess(images[:batch_size]) for images in self.views.values()]

    def _data(self) -> DegradedDataModule:
        return CIFAR10(
            self.root,
            verify_checksums=False,
            degradations=VIEWS,
            batch_size=self.batch_size,
            limit=self.images + self.batch_size,
        )

    def _module(self, *, compile: bool) -> ZeroShotEvaluation:
        return ZeroShotEvaluation(self.name, self.pretrained, compile=compile)

    def forward(self, encoder: Encoder) -> float:
        """Seconds of the bare forward passes of one batch, all views."""
        start = time.perf_counter()
        with torch.inference_mode():
            for images in self.prepared:
                encoder.model.encode_image(images)  # type: ignore[operator]
        return time.perf_counter() - start

    def stock_forward(self) -> float:
        """The same of the encoder as open_clip builds it, where freed memory goes back to the system."""
        with stock_allocation():
            seconds = self.forward(self.as_built)
        self.forward(self.bare)  # whoever comes next finds the memory that it kept
        return seconds

    def test(self, *, compile: bool, compare: bool) -> _Clock:
        """Run all images; with what it is compared with in between, if asked for."""
        between: dict[str, Callable[[], float]] = {}
        if compare:
            between = {"bare": partial(self.forward, self.bare), "bare, stock": self.stock_forward}
        clock, module = _Clock(between), self._module(compile=compile)
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            trainer = Trainer(
                accelerator="cpu",
                logger=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                default_root_dir=folder,
                callbacks=[ResultsWriter(), clock],
            )
            trainer.test(module, datamodule=self._data(), verbose=False)
        run = module.whole_run()
        assert run is not None
        outcomes = {view: rows.prediction for view, rows in run.outcomes.items()}
        self.predictions["compiled" if compile else "test"] = outcomes
        return clock

    def seconds(self, clock: _Clock) -> float:
        """Per image and view, without the first batch."""
        return statistics.mean(clock.batches[1:]) / (self.batch_size * len(VIEWS))

    @stock_allocation()
    def peer(self) -> float:
        """Seconds per image and view of clip-benchmark on the same images."""
        from clip_benchmark.metrics import zeroshot_classification as peer

        tqdm, peer.tqdm = peer.tqdm, iter
        encoder, transform = self.as_built, transform_of(self.as_built)
        found = {}
        start = time.perf_counter()
        templates = [TEMPLATE.replace("{}", "{c}")]
        for view, images in self.views.items():
            loader = DataLoader(
                _Pictures(images, self.labels, transform), batch_size=self.batch_size, num_workers=usable_cores()
            )
            classifier = peer.zero_shot_classifier(
                encoder.model, encoder.tokenizer, list(self.class_names), templates, "cpu", amp=False
            )
            logits, _ = peer.run_classification(encoder.model, classifier, loader, "cpu", amp=False)
            found[view] = logits.argmax(1)
        seconds = time.perf_counter() - start
        peer.tqdm = tqdm
        self.predictions["clip-benchmark"] = found
        return seconds / (len(self.labels) * len(VIEWS))


class _Pictures(Dataset[tuple[Tensor, int]]):
    def __init__(self, images: Tensor, labels: Tensor, transform: Any) -> None:
        self.pictures = [Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy())) for image in images]
        self.labels, self.transform = labels.tolist(), transform

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.pictures[index]), self.labels[index]


def transform_of(encoder: Encoder) -> Any:
    """open_clip's own."""
    from open_clip.transform import image_transform

    return image_transform(encoder.image_size, is_train=False, mean=encoder.mean, std=encoder.std)


def _views(data: DegradedDataModule) -> tuple[Tensor, dict[str, Tensor]]:
    batches = list(_batches(data))
    views = {view: torch.cat([torch.as_tensor(batch.views[view]) for batch in batches]) for view in VIEWS}
    return torch.cat([batch.labels for batch in batches]), views


def _batches(data: DegradedDataModule) -> Iterator[Any]:
    yield from data.test_dataloader()


def main() -> None:
    """Print ratios for each encoder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, metavar="IMAGES")
    parser.add_argument("--encoder", action="append", help=f"repeatable; default {', '.join(ARCHITECTURES)}")
    parser.add_argument("--pretrained", action="append", help="tag or file, one per encoder; default random weights")
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    make_every_classifier()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    encoders = arguments.encoder or list(ARCHITECTURES)
    print(f"{machine()}; {arguments.images} images x {len(VIEWS)} views, batches of {arguments.batch_size}")
    with tempfile.TemporaryDirectory() as folder:
        given = arguments.pretrained or [str(random_checkpoint(encoder, Path(folder))) for encoder in encoders]
        for encoder, pretrained in zip(encoders, given, strict=True):
            contest = _Contest(encoder, pretrained, arguments.root, arguments.images, arguments.batch_size)
            compare(contest, arguments.repetitions)


def compare(contest: _Contest, repetitions: int) -> None:
    """Time one encoder and print the table."""
    print(f"\n{contest.name}; products of this machine reach {_product_rate() / 1e9:.0f} GFLOP/s")
    contest.stock_forward()
    views = contest.batch_size * len(VIEWS)
    steady = {}
    for compile in (False, True):
        clock = contest.test(compile=compile, compare=True)
        name, own = "test, compiled" if compile else "test", clock.batches[1:]
        steady[name] = statistics.median(own) / views
        rate = contest.bare.flops() / steady[name] / 1e9
        print(f"  {name:14s} {1000 * steady[name]:7.2f} ms per image and view, median of {len(own)} batches", end="")
        print(f", {rate:.0f} GFLOP/s")
        for reference, others in clock.others.items():
            found = ratios(others[1:], own)
            milliseconds = 1000 * statistics.median(others[1:]) / views
            print(f"    {reference:14s} {milliseconds:7.2f} ms: test is faster by {spread(found)}")
        if compile:
            compiling = clock.batches[0] - statistics.median(own)
            saved = steady["test"] - steady[name]
            pays = f"pays from {compiling / saved:,.0f} images and views on" if saved > 0 else "never pays"
            print(f"    compiling takes {compiling:.1f} s and {pays}")
    _meet_the_peer(contest, repetitions)
    first = next(iter(contest.predictions.values()))
    for name, predictions in contest.predictions.items():
        same = sum(int((predictions[view] == first[view]).sum()) for view in VIEWS)
        print(f"  predictions of {name:14s} equal to test's: {same} of {len(contest.labels) * len(VIEWS)}")


def _product_rate() -> float:
    """FLOP/s of the best of many products of the shape of a ViT-B/32's widest layer and 32 images."""
    one, other = torch.randn(32 * 50, 768), torch.randn(768, 3072)
    seconds = take_turns({"product": partial(torch.mm, one, other)}, 30)["product"]
    return 2 * one.numel() * other.shape[1] / min(seconds)


def _meet_the_peer(contest: _Contest, repetitions: int) -> None:
    try:
        import clip_benchmark  # noqa: F401
    except ImportError:
        print("  clip-benchmark is not installed and left out")
        return

    def ours(*, compile: bool) -> float:
        return contest.seconds(contest.test(compile=compile, compare=False))

    contestants: dict[str, Callable[[], float]] = {
        "clip-benchmark": contest.peer,
        "test": partial(ours, compile=False),
        "test, compiled": partial(ours, compile=True),
    }
    seconds = collect(contestants, repetitions)
    for name in ("test", "test, compiled"):
        found = ratios(seconds["clip-benchmark"], seconds[name])
        print(f"  {name:14s} is faster than clip-benchmark by {spread(found)}, {repetitions} repetitions")


if __name__ == "__main__":
    main()
