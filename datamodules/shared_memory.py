"""The memory that loader processes hand batches over in, of which containers have little."""

import os

_SHARED_MEMORY = "/dev/shm"
_KEPT_FREE = 0.1  # share of it


def room() -> float:
    """Bytes of shared memory that may be taken."""
    try:
        state = os.statvfs(_SHARED_MEMORY)
    except (AttributeError, OSError):  # elsewhere than on Linux tensors are not passed through it
        return float("inf")
    return (1 - _KEPT_FREE) * state.f_bavail * state.f_frsize


def too_little() -> str:
    """A line for users whose batches find no room in it."""
    return (
        f"{_SHARED_MEMORY} has {room() / 2**20:.0f} MB, too little for batches of this size: they pass through pipes, "
        "which is slower. Give it more (docker run --shm-size=8g), or choose a smaller batch_size or fewer num_workers"
    )
