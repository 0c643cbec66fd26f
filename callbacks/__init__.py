"""Lightning callbacks that turn a test run into files and TensorBoard pages."""

from callbacks.integrated_gradients import IntegratedGradients
from callbacks.results_writer import ResultsWriter
from callbacks.tensorboard_report import TensorBoardReport

__all__ = ["IntegratedGradients", "ResultsWriter", "TensorBoardReport"]
