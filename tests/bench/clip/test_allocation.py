import platform
import subprocess
import sys

import pytest

_FAULTS = """
import resource, torch
from bench.clip.allocation import keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        torch.ones(2**26, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
stock = faults()
assert keep_freed_memory()
faults()
print(stock, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_large_tensors_reuse_memory_that_was_freed() -> None:
    done = subprocess.run([sys.executable, "-c", _FAULTS], capture_output=True, text=True, check=True)
    stock, kept = map(int, done.stdout.split())
    assert 100 * kept < stock
