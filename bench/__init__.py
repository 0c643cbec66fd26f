"""Zero-shot evaluation of CLIP encoders under image compression."""

from bench.evaluation import ZeroShotEvaluation
from bench.finetuning.linear import LinearCorrection
from bench.finetuning.robust import RobustFineTuning

__all__ = ["LinearCorrection", "RobustFineTuning", "ZeroShotEvaluation"]
