"""Zero-shot evaluation of CLIP encoders under image compression.

Nothing heavy is imported before it is used: torch and Lightning come with the first class that is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.evaluation import ZeroShotEvaluation
    from bench.finetuning.linear import LinearCorrection
    from bench.finetuning.robust import RobustFineTuning

_HOMES = {
    "LinearCorrection": "bench.finetuning.linear",
    "RobustFineTuning": "bench.finetuning.robust",
    "ZeroShotEvaluation": "bench.evaluation",
}

__all__ = ["LinearCorrection", "RobustFineTuning", "ZeroShotEvaluation"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
