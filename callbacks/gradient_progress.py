"""How far Integrated Gradients have come, in gradients: images are done in bursts, since many are in flight at once."""

from math import inf

from lightning.pytorch import Trainer
from tqdm import tqdm

from bench.command_line.screen import ProgressLines


class GradientProgress:
    """Lines where the run's progress is lines, else a bar; silent where the run is, and but for the first process.

    How many gradients it takes is known at the end only, since rules may decide image by image.

    Args:
        trainer: Its progress bar says which.
        images: How many there are to do.
    """

    def __init__(self, trainer: Trainer, images: int) -> None:
        told, what = trainer.progress_bar_callback, "Integrated Gradients"
        quiet = not trainer.is_global_zero or told is None
        self._lines = told if isinstance(told, ProgressLines) else None
        if self._lines is not None:
            self._lines.begin(what)
        self._bar = tqdm(desc=what, unit=" gradients", disable=quiet or self._lines is not None)
        self._images, self._done, self.gradients = images, 0, 0
        self._bar.set_postfix_str(self._of())

    def add_gradients(self, count: int) -> None:
        """Show that a batch is through."""
        self.gradients += count
        self._bar.update(count)
        if self._lines is not None:
            self._lines.count(self.gradients, inf, f" gradients, {self._of()}")

    def add_image(self) -> None:
        """Show that an image is done."""
        self._done += 1
        self._bar.set_postfix_str(self._of())

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()

    def _of(self) -> str:
        return f"{self._done:,} of {self._images:,} images"
