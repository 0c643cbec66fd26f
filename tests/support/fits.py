"""Data that a fit takes a second for."""

from datamodules import Synthetic
from datamodules.training import TrainingViews


def few(**options):
    """Two batches of two images to fit on, one held out."""
    views = TrainingViews({"jpeg-{}": [10, 90]})
    settings = {"degradations": ["original", "jpeg-25"], "training_views": views, "limit": 5, "validation_every": 5}
    return Synthetic(**{**settings, "batch_size": 2, "num_workers": 0, **options})
