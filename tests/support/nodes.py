"""Another node of a run, played in one process."""

from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.strategies import SingleDeviceStrategy


class OtherDisk(SingleDeviceStrategy):
    """A process of several, as the first one hears of another whose output folder is on a disk of its own."""

    def __init__(self) -> None:
        super().__init__("cpu", accelerator=CPUAccelerator())

    def reduce_boolean_decision(self, decision: bool, all: bool = True) -> bool:
        assert decision
        return False
