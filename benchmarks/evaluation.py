"""What `lightning test` costs beside the encoder's bare forward pass, and beside clip-benchmark.

    python -m benchmarks.evaluation IMAGES [--encoder ViT-B/32 --encoder RN50] [--images 128]

IMAGES is the folder that holds torchvision's `cifar-10-batches-py`; encoders have random weights, or those of
`--pretrained`. The contestants take turns; each number is seconds per image and view:

- bare: `encode_image` in a loop over prepared float tensors, of the same batches, in the memory layout that this
  project gives the encoder; `bare, as built`: in the one open_clip gives it;
- test: `Trainer.test` with this project's modules, loaders, metrics and result files, from the end of the first batch
  to the last (so that neither the start of the loaders nor compiling is in it), with and without compiling;
- clip-benchmark: its own classifier and loop over four loaders, one per view, whose images lie decoded and degraded in
  memory (`pip install clip-benchmark`; left out where it is not installed).
"""

import argparse
import io
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
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

from bench.encoders import Encoder, load_encoder
from bench.evaluation import ZeroShotEvaluation
from benchmarks.checkpoints import ARCHITECTURES, random_checkpoint
from benchmarks.timing import collect, machine, ratios, spread
from callbacks import ResultsWriter
from datamodules import CIFAR10
from datamodules.base import DegradedDataModule
from datamodules.processors import usable_cores

VIEWS = ("original", "jpeg-75", "jpeg-50", "jpeg-25")
_TEMPLATE = "This is an image of a {}."


class _Clock(Callback):
    """Notes the time at the end of every batch."""

    def __init__(self) -> None:
        self.start, self.ends = 0.0, list[float]()

    def on_test_start(self, *_: Any) -> None:
        self.start = time.perf_counter()

    def on_test_batch_end(self, *_: Any) -> None:
        self.ends.append(time.perf_counter())


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
        self.compile_seconds: list[float] = []
        encoder = load_encoder(name, pretrained)
        self.bare = encoder
        self.as_built = load_encoder(name, pretrained)
        self.as_built.model.to(memory_format=torch.contiguous_format)
        data = self._data()
        data.setup("test")
        self.class_names = data.class_names
        self.labels, self.views = _views(data)
        module = self._module(compile=False)
        self.prepared = {
            view: self._prepare(encoder, module, images[batch_size:]) for view, images in self.views.items()
        }

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

    def _prepare(self, encoder: Encoder, module: ZeroShotEvaluation, images: Tensor) -> list[Tensor]:
        from bench.preprocess import Preprocess

        preprocess = Preprocess(encoder.image_size, encoder.mean, encoder.std)
        return [preprocess(batch) for batch in images.split(self.batch_size)]

    def forward(self, encoder: Encoder) -> float:
        """Seconds per image and view of the bare loop."""
        start = time.perf_counter()
        with torch.inference_mode():
            for batches in self.prepared.values():
                for batch in batches:
                    encoder.model.encode_image(batch)  # type: ignore[operator]
        return (time.perf_counter() - start) / (self.images * len(VIEWS))

    def test(self, *, compile: bool) -> float:
        """Seconds per image and view of a run, without its first batch."""
        clock, module = _Clock(), self._module(compile=compile)
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
        if compile:
            each = (clock.ends[-1] - clock.ends[0]) / (len(clock.ends) - 1)
            self.compile_seconds.append(clock.ends[0] - clock.start - each)
        run = module.whole_run()
        assert run is not None
        outcomes = {view: rows.prediction for view, rows in run.outcomes.items()}
        self.predictions["compiled" if compile else "test"] = outcomes
        return (clock.ends[-1] - clock.ends[0]) / (self.images * len(VIEWS))

    def peer(self) -> float:
        """Seconds per image and view of clip-benchmark on the same images."""
        from clip_benchmark.metrics import zeroshot_classification as peer

        tqdm, peer.tqdm = peer.tqdm, iter
        encoder, transform = self.as_built, _transform(self.as_built)
        found = {}
        start = time.perf_counter()
        templates = [_TEMPLATE.replace("{}", "{c}")]
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


def _transform(encoder: Encoder) -> Any:
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
    parser.add_argument("--contestant", action="append", help="repeatable: only these, as the table names them")
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    encoders = arguments.encoder or list(ARCHITECTURES)
    print(f"{machine()}; {arguments.repetitions} repetitions of {arguments.images} images x {len(VIEWS)} views")
    with tempfile.TemporaryDirectory() as folder:
        given = arguments.pretrained or [str(random_checkpoint(encoder, Path(folder))) for encoder in encoders]
        for encoder, pretrained in zip(encoders, given, strict=True):
            contest = _Contest(encoder, pretrained, arguments.root, arguments.images, arguments.batch_size)
            compare(contest, arguments.repetitions, arguments.contestant)


def compare(contest: _Contest, repetitions: int, only: Sequence[str] | None = None) -> None:
    """Time one encoder and print the table."""
    contestants = {
        "bare": partial(contest.forward, contest.bare),
        "bare, as built": partial(contest.forward, contest.as_built),
        "test": partial(contest.test, compile=False),
        "test, compiled": partial(contest.test, compile=True),
    }
    try:
        import clip_benchmark  # noqa: F401
    except ImportError:
        print("clip-benchmark is not installed and left out")
    else:
        contestants["clip-benchmark"] = contest.peer
    contestants = {name: run for name, run in contestants.items() if only is None or name in only}
    contest.forward(contest.bare)
    seconds = collect(contestants, repetitions)
    print(f"\n{contest.name}: milliseconds per image and view, medians")
    for name, values in seconds.items():
        print(f"  {name:16s} {1000 * statistics.median(values):8.2f}")
    print("ratios, median (least to greatest)")
    own = [name for name in seconds if name.startswith("test")]
    for name in own:
        for reference in [one for one in seconds if one not in own]:
            print(f"  {name:14s} is faster than {reference:14s} by {spread(ratios(seconds[reference], seconds[name]))}")
    if len(own) > 1:
        compile_seconds = statistics.median(contest.compile_seconds)
        saved = statistics.median(seconds["test"]) - statistics.median(seconds["test, compiled"])
        pays = f"pays from {compile_seconds / saved:,.0f} images and views on" if saved > 0 else "never pays"
        print(f"  compiling takes {compile_seconds:.1f} s and {pays}")
    first = next(iter(contest.predictions.values()))
    for name, predictions in contest.predictions.items():
        same = sum(int((predictions[view] == first[view]).sum()) for view in VIEWS)
        print(f"  predictions of {name:14s} equal to the first's: {same} of {len(contest.labels) * len(VIEWS)}")


if __name__ == "__main__":
    main()
