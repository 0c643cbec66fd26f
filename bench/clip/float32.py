"""TF32, which Ampere and later GPUs have in place of float32: where it is let in, and where not."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_float32() -> Iterator[None]:
    """Keep TF32 out: torch allows it in convolutions by default, users in matrix products."""
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions


def convolve_as_products() -> None:
    """Let TF32 into convolutions where `torch.set_float32_matmul_precision` lets it into matrix products, nowhere else.

    For this process from now on.
    """
    torch.backends.cudnn.allow_tf32 = torch.get_float32_matmul_precision() != "highest"
