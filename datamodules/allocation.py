"""Memory that a process keeps once it had it."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # from glibc's malloc.h


def keep_freed_memory() -> bool:
    """Have the C library reuse freed memory, however large the piece, in this process and those it forks.

    By default glibc maps each tensor above 32 MiB afresh and gives it back when it is freed, so that every activation
    of a larger batch is zeroed by the kernel page by page: a fifth of the time of ViT-B/32
    (`python -m benchmarks.allocation`). What a process holds stays at its peak until it ends.

    Returns:
        Whether the C library has such a setting: glibc does.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, another system
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))
