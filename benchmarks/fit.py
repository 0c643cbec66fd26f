"""What a fit costs beside its gradients: images per second of `lightning fit` against bare training steps.

    python -m benchmarks.fit [IMAGES] [--encoder E.json --pretrained E.safetensors] [--images 1024] [--repetitions 3]

IMAGES is the folder that holds torchvision's `cifar-10-batches-py`; without it the demo's textures are fitted on, and
without an encoder the demo's. A fit by consistency, the whole tower learning, has two epochs: in the first the frozen
encoder is asked for each image, in the second it is known what it said. A bare step is forward, backward, clipping and
AdamW on a batch that is ready, of the same sizes, in the same memory; so the ratio is what loading, degrading (in
loader processes), Lightning and its callbacks leave. Above it, seconds count everything that shares the processors;
processor time is that of this process and its loaders.

The last row is why loader processes outlive an epoch: a process that has just been forked shares the memory of its
parent, whose next step copies every page that it writes.
"""

import argparse
import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer, seed_everything

from bench.finetuning import Consistency, RobustFineTuning, WholeTower
from bench.finetuning.optimisation import adamw
from benchmarks.timing import collect, machine, make_every_classifier, ratios, spread
from callbacks import ExponentialAverage
from datamodules import CIFAR10, Synthetic
from datamodules.allocation import keep_freed_memory
from datamodules.base import DegradedDataModule
from datamodules.training import TrainingViews
from datamodules.views import Batch

_DEMO = ("configs/models/demo-rn.json", "configs/models/demo-rn.safetensors")
_CLIPPED = 1.0
_TURNS = 6
_EPOCHS = {"first epoch": True, "later epoch": False}  # and whether the frozen encoder is asked


class _Epochs(Callback):
    """Seconds and processor seconds of each epoch, from before its first batch is waited for to its end."""

    def __init__(self) -> None:
        self.spent: list[tuple[float, float]] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        self.start = _clocks()

    def on_train_epoch_end(self, *_: Any) -> None:
        self.spent.append(_since(self.start))


class Contest:
    """A fit and bare steps of it.

    Args:
        encoder: Name or model configuration, and its weights.
        root: Of CIFAR-10, or None.
        images: Number to fit on.
        batch_size: Of both.
        workers: Loader processes of the fit; None is as many as a fit has that is told nothing.
    """

    def __init__(
        self, encoder: tuple[str, str | None], root: Path | None, images: int, batch_size: int, workers: int | None
    ) -> None:
        self.encoder, self.root, self.images, self.batch_size, self.workers = encoder, root, images, batch_size, workers
        self.spent: dict[tuple[str, str], list[tuple[float, float]]] = {
            (who, epoch): [] for who in ("fit", "bare") for epoch in _EPOCHS
        }

    def data(self) -> DegradedDataModule:
        options: dict[str, Any] = {
            "limit": self.images + 2,
            "validation_every": self.images,
            "batch_size": self.batch_size,
            "training_views": TrainingViews({"jpeg-{}": [20, 95]}),
            "degradations": ["original"],
            "num_workers": self.workers,
        }
        return Synthetic(**options) if self.root is None else CIFAR10(self.root, verify_checksums=False, **options)

    def module(self) -> RobustFineTuning:
        seed_everything(0, verbose=False)
        return RobustFineTuning(Consistency(), WholeTower(), *self.encoder, learning_rate=1e-6)

    def fit(self) -> float:
        """Fit for two epochs; the seconds of both."""
        epochs = _Epochs()
        trainer = Trainer(
            max_epochs=2,
            logger=False,
            callbacks=[epochs, ExponentialAverage()],  # which every configuration has that tunes by steps
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            limit_val_batches=0,
            gradient_clip_val=_CLIPPED,
        )
        trainer.fit(self.module(), datamodule=self.data())
        for epoch, spent in zip(_EPOCHS, epochs.spent, strict=True):
            self.spent["fit", epoch].append(spent)
        return sum(seconds for seconds, _ in epochs.spent)

    def ready(self) -> tuple[RobustFineTuning, DegradedDataModule]:
        """What a fit has when it begins."""
        module, data = self.module(), self.data()
        data.geometry = module.encoder.geometry
        data.setup("fit")
        return module, data

    def bare(self) -> float:
        """Take the steps of one epoch with and one without the frozen encoder; the seconds of both."""
        module, data = self.ready()
        batches = list(data.train_dataloader())
        for epoch, asking in _EPOCHS.items():
            self.spent["bare", epoch].append(_steps(module, batches, asking))
        return sum(self.spent["bare", epoch][-1][0] for epoch in _EPOCHS)

    def after_a_fork(self) -> tuple[float, float]:
        """Median seconds of the frozen encoder and a step, and of those that follow a fork, taken in turns."""
        module, data = self.ready()
        batch = [next(iter(data.train_dataloader()))]
        seconds: dict[bool, list[float]] = {False: [], True: []}
        for turn in range(2 * _TURNS):
            with _forked() if (fork := bool(turn % 2)) else nullcontext():
                start = time.perf_counter()
                _steps(module, batch, asking=False)
                seconds[fork].append(time.perf_counter() - start)
        return median(seconds[False][1:]), median(seconds[True])


@contextmanager
def _forked() -> Iterator[None]:
    """A process forked from this one that does nothing."""
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(3600,), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _steps(module: RobustFineTuning, batches: list[Batch], asking: bool) -> tuple[float, float]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module.to(device)
    module.original.to(device)
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = adamw(learning, 1e-6, 0.01)

    @torch.no_grad()
    def target(batch: Batch) -> torch.Tensor:
        return module.embed(module.original, batch.views["original"])

    known = [target(batch.to(device)) for batch in batches]
    start = _clocks()
    for said, batch in zip(known, (batch.to(device) for batch in batches), strict=True):
        optimizer.zero_grad()
        embed = partial(target, batch) if asking else partial(torch.Tensor.detach, said)
        loss = module.objective.loss(replace(module.pairs(batch), embed_target=embed))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(learning, _CLIPPED)
        optimizer.step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return _since(start)


def _clocks() -> tuple[float, float]:
    """Seconds, and processor seconds of this process and of those of its children that have ended."""
    times = os.times()
    return time.perf_counter(), times.user + times.system + times.children_user + times.children_system


def _since(start: tuple[float, float]) -> tuple[float, float]:
    seconds, processor = _clocks()
    return seconds - start[0], processor - start[1]


def main() -> None:
    """Print a row per kind of epoch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, nargs="?", metavar="IMAGES")
    parser.add_argument("--encoder", default=_DEMO[0])
    parser.add_argument("--pretrained")
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--workers", type=int, help="loader processes; 0 loads in the fit's own")
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    make_every_classifier()
    keep_freed_memory()
    pretrained = options.pretrained or (_DEMO[1] if options.encoder == _DEMO[0] else None)
    contest = Contest((options.encoder, pretrained), options.root, options.images, options.batch_size, options.workers)
    print(f"{machine()}; {options.images} images, batches of {options.batch_size}, {os.cpu_count()} cores")
    collect({"fit": contest.fit, "bare": contest.bare}, options.repetitions)
    print(f"{'':12s} {'fit, images/s':>14s} {'bare':>8s}   times as fast          in processor time")
    for epoch in _EPOCHS:
        fit, bare = ([*zip(*contest.spent[who, epoch], strict=True)] for who in ("fit", "bare"))
        speeds = [options.images / median(seconds) for seconds, _ in (fit, bare)]
        compared = "  ".join(spread(ratios(other, own)) for own, other in zip(fit, bare, strict=True))
        print(f"{epoch:12s} {speeds[0]:14.1f} {speeds[1]:8.1f}  {compared}")
    print("the frozen encoder and a step take {:.2f} s, after a fork {:.2f}".format(*contest.after_a_fork()))


if __name__ == "__main__":
    main()
