"""What keeping freed memory is worth to an encoder's forward pass: `python -m benchmarks.allocation [--encoder RN50]`.

Batches of prepared float tensors go through `encode_image` with and without
`datamodules.allocation.keep_freed_memory`, in turns within one process; weights are random, page faults are those of
one batch. Stock is what glibc arrives at by itself: pieces above 32 MiB are mapped and given back one by one, and at
most 64 MiB are kept at the end of the heap.
"""

import argparse
import ctypes
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch

from bench.clip.encoders import load_encoder
from benchmarks.checkpoints import ARCHITECTURES, random_checkpoint
from benchmarks.timing import collect, machine, ratios, spread
from datamodules.allocation import keep_freed_memory

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # from glibc's malloc.h


@contextmanager
def stock_allocation() -> Iterator[None]:
    """Undo `keep_freed_memory` for a while; what is free goes back to the system first."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        yield
        return
    for parameter, value in ((_M_MMAP_MAX, 2**16), (_M_MMAP_THRESHOLD, 2**25), (_M_TRIM_THRESHOLD, 2**26)):
        if not library.mallopt(parameter, value):
            raise RuntimeError(f"mallopt refuses {parameter} = {value}")
    library.malloc_trim(0)
    try:
        yield
    finally:
        keep_freed_memory()


def main() -> None:
    """Print a table, one row per encoder and batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", action="append", help=f"repeatable; default {', '.join(ARCHITECTURES)}")
    parser.add_argument("--batch-size", type=int, action="append", help="repeatable; default 32 and 128")
    parser.add_argument("--repetitions", type=int, default=5)
    arguments = parser.parse_args()
    if not keep_freed_memory():
        parser.exit(1, "this C library has no such setting\n")
    print(f"{machine()}; {arguments.repetitions} repetitions")
    print("encoder    batch  stock, ms/image  kept, ms/image  ratio (min to max)   page faults, stock and kept")
    for name in arguments.encoder or ARCHITECTURES:
        for batch_size in arguments.batch_size or (32, 128):
            seconds, faults = compare(name, batch_size, arguments.repetitions)
            stock, kept = (1000 * statistics.median(seconds[name]) / batch_size for name in ("stock", "kept"))
            ratio = spread(ratios(seconds["stock"], seconds["kept"]))
            print(f"{name:10s} {batch_size:5d}  {stock:15.1f} {kept:15.1f} {ratio}", end="")
            print(f"  {faults['stock']:>12,} {faults['kept']:>12,}", flush=True)


def compare(name: str, batch_size: int, repetitions: int) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Seconds per batch by repetition, and page faults of the last one, of `stock` and `kept`."""
    with tempfile.TemporaryDirectory() as folder:
        encoder = load_encoder(name, str(random_checkpoint(name, Path(folder))))
    images = torch.randn(batch_size, 3, encoder.image_size, encoder.image_size)
    faults = {}

    def steady(contestant: str) -> float:
        """Seconds of the second of two passes in a row."""
        with torch.inference_mode():
            encoder.model.encode_image(images)  # type: ignore[operator]
            before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
            encoder.model.encode_image(images)  # type: ignore[operator]
            seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
        faults[contestant] = after.ru_minflt - before.ru_minflt
        return seconds

    stock = partial(stock_allocation()(steady), "stock")
    return collect({"stock": stock, "kept": partial(steady, "kept")}, repetitions), faults


if __name__ == "__main__":
    main()
