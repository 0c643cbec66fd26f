"""Fine-tuning for robustness: objectives, what is trainable, and the Lightning modules that bring them together."""

from bench.finetuning.linear import LinearCorrection
from bench.finetuning.objectives import (
    Augment,
    Consistency,
    FrequencyConsistency,
    LogitDistillation,
    Sum,
    TokenConsistency,
)
from bench.finetuning.robust import RobustFineTuning
from bench.finetuning.trainable import LastBlocks, LoRA, Norms, WholeTower

__all__ = [
    "Augment",
    "Consistency",
    "FrequencyConsistency",
    "LastBlocks",
    "LinearCorrection",
    "LoRA",
    "LogitDistillation",
    "Norms",
    "RobustFineTuning",
    "Sum",
    "TokenConsistency",
    "WholeTower",
]
