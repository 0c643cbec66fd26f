"""What must hold of the weights that a fit leaves: frozen ones have their bits, learnt ones are numbers."""

import hashlib
from collections.abc import Collection, Iterable, Mapping

import torch
from torch import Tensor

from datamodules.errors import UserError


def require_finite(learnt: Iterable[Tensor]) -> None:
    """Refuse weights of a fit that diverged.

    Raises:
        UserError: A number is not finite.
    """
    if not all(tensor.isfinite().all() for tensor in learnt):
        raise UserError("training diverged: choose a lower `learning_rate`", option="model.learning_rate")


def fingerprint(state: Mapping[str, Tensor], without: Collection[str] = ()) -> str:
    """SHA-256 of the names, shapes, types and bits of tensors, as a hex digest, whatever their order and device.

    >>> fingerprint({"a": torch.zeros(1)}) == fingerprint({"b": torch.ones(1), "a": torch.zeros(1)}, without=["b"])
    True
    >>> fingerprint({"a": torch.zeros(1)}) == fingerprint({"a": -torch.zeros(1)})
    False
    """
    found = hashlib.sha256()
    for name in sorted(set(state).difference(without)):
        tensor = state[name].detach().cpu().contiguous()
        found.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        found.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
