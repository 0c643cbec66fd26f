"""Zero-shot evaluation of CLIP encoders under image compression."""

from bench.evaluation import ZeroShotEvaluation
from bench.pretraining import ClipPretraining

__all__ = ["ClipPretraining", "ZeroShotEvaluation"]
