"""Front ends that restore pixels before a frozen encoder sees them: a learnt one, and a classical one."""

from typing import TYPE_CHECKING

from datamodules.lazy import lazily

if TYPE_CHECKING:
    from bench.restoration.objectives import PixelError
    from bench.restoration.tuning import RestorationTuning

__all__ = ["PixelError", "RestorationTuning"]

# tests apply restorations, and fits are measured as tests are: imported at once, these would import each other
__getattr__ = lazily(
    __name__, {"PixelError": "bench.restoration.objectives", "RestorationTuning": "bench.restoration.tuning"}
)
