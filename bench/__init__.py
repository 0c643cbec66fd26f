"""Zero-shot evaluation of CLIP encoders under image compression."""

from bench.evaluation import ZeroShotEvaluation
from bench.finetuning.linear import LinearCorrection
from bench.finetuning.robust import RobustFineTuning
from bench.pretraining import ClipPretraining

__all__ = ["ClipPretraining", "LinearCorrection", "RobustFineTuning", "ZeroShotEvaluation"]
