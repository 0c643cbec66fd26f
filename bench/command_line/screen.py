"""What a run shows on its screen: no advertisements, plain lines where there is no terminal, the result last."""

import logging
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar

from bench.command_line.ending import one_line

_LOGGERS = ("", "lightning", "lightning.pytorch", "lightning.fabric")
_ADVERTISEMENT = re.compile(r"\bTip:|litlogger|litmodels|lightning\.ai")
_TENSOR_CORES = re.compile(r"You are using a CUDA device .* that has Tensor Cores")
_FASTER = "Multiplying in float32: --trainer.precision bf16-mixed can be faster on this GPU, and rounds more"
_NO_DEVICE = re.compile(r"(GPU|TPU|HPU|IPU) available: False")
_PROGRESS = re.compile(r"\w[\w ]*: [\d,]+ of [\d,]+ batches \(")
_SECONDS_BETWEEN = 10.0


@contextmanager
def plain_messages() -> Iterator[None]:
    """Messages of Lightning without advertisements, and warnings as one line without a source path.

    Where Lightning advises a call from Python, which whoever runs a command cannot make, an option is named.
    """

    def wanted(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if _ADVERTISEMENT.search(message) or _NO_DEVICE.match(message):
            return False
        record.msg, record.args = _FASTER if _TENSOR_CORES.match(message) else one_line(message), ()
        return True

    def formatted(message: Warning | str, *_: Any, **__: Any) -> str:
        return f"warning: {one_line(str(message))}\n"

    handlers = {handler for name in _LOGGERS for handler in logging.getLogger(name).handlers}
    before = warnings.formatwarning
    for handler in handlers:
        handler.addFilter(wanted)
    warnings.formatwarning = formatted
    try:
        yield
    finally:
        warnings.formatwarning = before
        for handler in handlers:
            handler.removeFilter(wanted)


def arrange_progress(trainer: Trainer) -> None:
    """Lines in place of Lightning's bar where there is no terminal; progress ends before results are printed."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # a connector sets it
    bars = [callback for callback in callbacks if isinstance(callback, ProgressBar)]
    others = [callback for callback in callbacks if callback not in bars]
    if bars and type(bars[0]).__module__.startswith("lightning.") and not sys.stderr.isatty():
        bars = [ProgressLines()]
    callbacks[:] = [*bars, *others]


def last_progress(lines: str) -> str | None:
    r"""The last line of `ProgressLines` in what a run has printed; None where there is none.

    >>> last_progress("Seed set to 0\ntesting: 3 of 8 batches (38%), about 0:00:50 left\nwarning: x\n")
    'testing: 3 of 8 batches (38%), about 0:00:50 left'
    """
    found = [line for line in lines.splitlines() if _PROGRESS.match(line)]
    return found[-1] if found else None


class ProgressLines(ProgressBar):
    """A line on the standard error stream every so many seconds.

    Args:
        seconds: Between two lines.
        clock: Seconds that go on.
    """

    def __init__(self, seconds: float = _SECONDS_BETWEEN, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.seconds, self._clock = seconds, clock
        self._shown = True
        self._begun = self._last = clock()
        self._what = ""

    def disable(self) -> None:
        self._shown = False

    def enable(self) -> None:
        self._shown = True

    def begin(self, what: str) -> None:
        """Start a counter of progress."""
        self._what, self._begun = what, self._clock()
        self._last = self._begun

    def count(self, done: int, total: float, values: str = "") -> None:
        """Show how far it is, if the last line is long enough ago.

        Args:
            done: So many by now, at least 1.
            total: Of so many batches; infinite where nobody knows.
            values: What the line ends in.
        """
        now = self._clock()
        if not self._shown or now - self._last < self.seconds:
            return
        self._last = now
        spent = now - self._begun
        line = f"{self._what}: {done:,}"
        if total != float("inf"):
            left = spent / done * (total - done)
            line += f" of {int(total):,} batches ({done / total:.0%}), about {timedelta(seconds=round(left))} left"
        sys.stderr.write(f"{one_line(line + values)}\n")
        sys.stderr.flush()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.begin("testing")

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.begin("predicting")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.begin("validating")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epochs = "" if trainer.max_epochs in (None, -1) else f" of {trainer.max_epochs}"
        self.begin(f"epoch {trainer.current_epoch + 1}{epochs}")

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        self.has_dataloader_changed(0)
        self.count(batch_idx + 1, self.total_test_batches_current_dataloader)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        self.has_dataloader_changed(0)
        self.count(batch_idx + 1, self.total_predict_batches_current_dataloader)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        self.has_dataloader_changed(0)
        self.count(batch_idx + 1, self.total_val_batches_current_dataloader)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        values = {name: value for name, value in self.get_metrics(trainer, pl_module).items() if name != "v_num"}
        shown = "".join(f", {name} {value:.4g}" for name, value in values.items() if isinstance(value, float | int))
        self.count(batch_idx + 1, self.total_train_batches, shown)
