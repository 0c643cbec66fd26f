"""The text classifier of a run: made once, on its device, with progress where it takes longer than a few seconds."""

import time
from collections.abc import Sequence
from math import inf

from lightning.pytorch import Trainer
from torch import Tensor
from tqdm import tqdm

from bench.clip.encoders import Encoder
from bench.clip.kept_classifiers import kept_text_classifier
from bench.clip.text_classifier import check_prompts
from bench.command_line.screen import ProgressLines
from bench.runs.gathering import from_first

_DELAY = 3.0  # seconds


def classifier_of_the_run(
    trainer: Trainer, encoder: Encoder, class_names: Sequence[str], templates: Sequence[str]
) -> Tensor:
    """The text classifier, float32 [C, D] in host memory: made on the run's device by the first process, for all.

    The encoder's model lies on the run's device afterwards.

    Raises:
        UserError: The prompts are unusable.
    """
    check_prompts(class_names, templates)  # every process on its own, rather than wait for one that gave up
    encoder.model.to(trainer.strategy.root_device)
    progress = PromptProgress(trainer)
    text: Tensor = from_first(lambda: kept_text_classifier(encoder, class_names, templates, progress).cpu())
    return text


class PromptProgress:
    """Lines where the run's progress is lines, else a bar; silent where the run is, and but for the first process.

    Args:
        trainer: Its progress bar says which.
    """

    def __init__(self, trainer: Trainer) -> None:
        told, what = trainer.progress_bar_callback, "Text classifier"
        self._lines = told if isinstance(told, ProgressLines) else None
        if self._lines is not None:
            self._lines.begin(what)
        quiet = not trainer.is_global_zero or told is None or self._lines is not None
        self._bar = tqdm(desc=what, unit=" prompts", delay=_DELAY, leave=False, disable=quiet)
        self._begun = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Show that so many prompts are done."""
        self._bar.total = total
        self._bar.update(done - self._bar.n)
        if done == 0 and time.monotonic() - self._begun > _DELAY:
            self._bar.refresh()  # which an update by nothing does not
        if self._lines is not None:
            self._lines.count(done, inf, f" of {total:,} prompts")
        if done == total:
            self._bar.close()
