"""Test runs on a device in several precisions, and how long its loops take; what `benchmarks.gpu` is made of."""

import io
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from PIL import Image
from torch import Tensor

from bench.clip.float32 import convolve_as_products
from bench.evaluation import ZeroShotEvaluation
from datamodules.base import DegradedDataModule
from datamodules.sources import ArraySource, Source

VIEWS = ("original", "jpeg-75", "jpeg-50", "jpeg-25")
MODES: dict[str, tuple[Literal["32-true", "bf16-mixed"], str]] = {
    "fp32": ("32-true", "highest"),
    "TF32": ("32-true", "high"),
    "bf16": ("bf16-mixed", "highest"),
}
CLASSES = ("class 0", "class 1")


class Plan(NamedTuple):
    """What is measured with.

    Attributes:
        images: Per run.
        batch_size: Images per batch.
        size: Width and height of the photographs in pixels.
        device: Where.
        second: That a loop is repeated for.
        end: When nothing more is begun, in seconds of the monotonic clock.
    """

    images: int
    batch_size: int
    size: tuple[int, int]
    device: torch.device
    second: float
    end: float

    def per_call(self, function: Callable[[], object]) -> float:
        """Seconds of one call, when it is called again and again."""
        function()
        _wait()
        start, calls = time.perf_counter(), 0
        while calls < 2 or time.perf_counter() - start < self.second:
            function()
            calls += 1
            if calls % 4 == 0:
                _wait()
        _wait()
        return (time.perf_counter() - start) / calls

    def time_left(self, what: str) -> bool:
        """Whether there is; says what is left out."""
        left = time.monotonic() < self.end
        if not left:
            print(f"no time left: {what} left out", flush=True)
        return left


class Thumbnails(DegradedDataModule):
    """Photographs of 32 x 32 pixels in memory."""

    splits = ("test",)

    def __init__(self, pictures: Sequence[Image.Image], images: int, **options: Any) -> None:
        super().__init__(**options)
        distinct = np.stack([np.asarray(picture.resize((32, 32))) for picture in pictures])
        self.images = distinct[np.arange(images) % len(distinct)]

    def source(self, split: str) -> Source:
        return ArraySource(self.images, [number % 2 for number in range(len(self.images))], CLASSES)


class _Clock(Callback):
    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_test_start(self, *_: Any) -> None:
        self.ends.append(time.perf_counter())

    def on_test_batch_end(self, *_: Any) -> None:
        _wait()
        self.ends.append(time.perf_counter())


class Ran(NamedTuple):
    """A test run: seconds of the first batch, seconds per view of the others, predictions [V x N]."""

    first: float
    per_view: float
    predictions: Tensor


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@contextmanager
def mode(name: str) -> Iterator[Literal["32-true", "bf16-mixed"]]:
    """Multiply in a precision; gives what Lightning is to be told."""
    precision, matmul = MODES[name]
    before, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision(matmul)
    convolve_as_products()
    try:
        yield precision
    finally:
        torch.set_float32_matmul_precision(before)
        torch.backends.cudnn.allow_tf32 = convolutions


def tested(encoder: str, pretrained: str, data: DegradedDataModule, name: str, plan: Plan, *, compile: bool) -> Ran:
    """`Trainer.test` of all images."""
    clock = _Clock()
    with mode(name) as precision, tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = ZeroShotEvaluation(encoder, pretrained, fidelity=False, compile=compile)
        trainer = Trainer(
            accelerator=plan.device.type,
            devices=1,
            precision=precision,
            callbacks=[clock],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
        )
        with redirect_stdout(io.StringIO()):
            trainer.test(module, datamodule=data, verbose=False)
    run = module.whole_run()
    assert run is not None
    start, first, *_, last = clock.ends
    views = (plan.images - plan.batch_size) * len(VIEWS)
    return Ran(first - start, (last - first) / views, torch.cat([run.outcomes[view].prediction for view in VIEWS]))
