"""Data that a fit takes a second for, and callbacks that watch or end it."""

from lightning.pytorch import Callback

from datamodules import Synthetic
from datamodules.training import TrainingViews


def few(**options):
    """Two batches of two images to fit on, one held out."""
    views = TrainingViews({"jpeg-{}": [10, 90]})
    settings = {"degradations": ["original", "jpeg-25"], "training_views": views, "limit": 5, "validation_every": 5}
    return Synthetic(**{**settings, "batch_size": 2, "num_workers": 0, **options})


class Stop(Callback):
    """Ends a run as a kill would, after an epoch's checkpoint is written."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == self.epoch:
            raise KeyboardInterrupt


class Losses(Callback):
    """Collects the loss of every step."""

    def __init__(self):
        self.values = []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.values.append(float(outputs["loss"]))
