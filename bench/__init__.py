"""What image compression costs a frozen CLIP at zero-shot classification, why, and what repairs it.

>>> import bench
>>> encoder = bench.load_encoder("configs/models/demo-rn.json", "configs/models/demo-rn.safetensors")
>>> encoder.image_size
64
"""

from typing import TYPE_CHECKING

from datamodules.lazy import lazily

if TYPE_CHECKING:
    from bench.adaptation.testing import TestTimeAdaptation
    from bench.adapters.tuning import ConditionedTuning
    from bench.attribution.one_image import explain
    from bench.clip.encoders import load_encoder
    from bench.clip.zero_shot import ZeroShotClassifier
    from bench.evaluation import ZeroShotEvaluation
    from bench.finetuning.average import WeightAverage
    from bench.finetuning.linear import LinearCorrection
    from bench.finetuning.robust import RobustFineTuning
    from bench.restoration.tuning import RestorationTuning
    from bench.runs.folder import load_run
    from datamodules.degradations import degrade

_HOMES = {
    "ConditionedTuning": "bench.adapters.tuning",
    "LinearCorrection": "bench.finetuning.linear",
    "RestorationTuning": "bench.restoration.tuning",
    "RobustFineTuning": "bench.finetuning.robust",
    "TestTimeAdaptation": "bench.adaptation.testing",
    "WeightAverage": "bench.finetuning.average",
    "ZeroShotClassifier": "bench.clip.zero_shot",
    "ZeroShotEvaluation": "bench.evaluation",
    "degrade": "datamodules.degradations",
    "explain": "bench.attribution.one_image",
    "load_encoder": "bench.clip.encoders",
    "load_run": "bench.runs.folder",
}

__all__ = [
    "ConditionedTuning",
    "LinearCorrection",
    "RestorationTuning",
    "RobustFineTuning",
    "TestTimeAdaptation",
    "WeightAverage",
    "ZeroShotClassifier",
    "ZeroShotEvaluation",
    "degrade",
    "explain",
    "load_encoder",
    "load_run",
]

__getattr__ = lazily(__name__, _HOMES)
