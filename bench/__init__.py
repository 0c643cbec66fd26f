"""Zero-shot evaluation of CLIP encoders under image compression."""

from bench.evaluation import ZeroShotEvaluation

__all__ = ["ZeroShotEvaluation"]
