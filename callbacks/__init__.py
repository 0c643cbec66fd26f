"""Lightning callbacks that turn a test run into files and TensorBoard pages."""

from callbacks.finetuning_writer import FineTuningWriter
from callbacks.integrated_gradients import IntegratedGradients
from callbacks.results_writer import ResultsWriter
from callbacks.tensorboard_report import TensorBoardReport
from callbacks.weight_average import ExponentialAverage

__all__ = ["ExponentialAverage", "FineTuningWriter", "IntegratedGradients", "ResultsWriter", "TensorBoardReport"]
