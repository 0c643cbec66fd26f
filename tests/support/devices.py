"""A device played on the processor: what Apple's MPS refuses, float64 above all, is refused; it divides as CUDA does.

`torch.device("cpu", 0)` stands for the device and `torch.device("cpu")` for the host. Whatever is moved or made there,
and whatever is computed from that, lies on the device until it is moved back. `bench` and Lightning need not know.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

DEVICE = torch.device("cpu", 0)

_WIDE = (torch.float64, torch.complex128)

# UNIMPLEMENTED_XFAILLIST of torch/testing/_internal/common_mps.py (pytorch/pytorch, 001576a), as far as whole operators
# are meant, by their names in aten; `unique_dim` from the coverage issue pytorch/pytorch#141287 and its predecessor.
_MISSING = {
    "logspace", "linalg_eig", "_linalg_eigvals", "linalg_eigvals", "put", "put_", "frexp", "geqrf", "heaviside", "lcm",
    "_linalg_eigh", "linalg_ldl_factor_ex", "linalg_ldl_solve", "linalg_lstsq", "linalg_matrix_exp", "mode",
    "fractional_max_pool2d", "fractional_max_pool3d", "_adaptive_avg_pool3d", "adaptive_max_pool3d", "_ctc_loss",
    "multi_margin_loss", "_pdist_forward", "rrelu_with_noise", "ormqr", "unique_dim",
}  # fmt: skip
# Operators that take tensors of both sides: moves, and indices, which are moved along.
_MIXING = {"copy_", "_to_copy", "index", "index_put_", "index_put", "_index_put_impl_", "_unsafe_index"}
_FACTORIES = {
    *("tensor", "as_tensor", "zeros", "ones", "full", "empty", "arange", "linspace", "eye", "rand", "randn", "randint"),
    *("randperm", "hann_window", "zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like"),
    *("new_tensor", "new_zeros", "new_ones", "new_full", "new_empty", "scalar_tensor", "empty_strided"),
}  # fmt: skip

# What lies there, for the whole process, since caches outlive a mode. A weak reference keeps the address of a freed
# storage from being given to another.
_ON_DEVICE: dict[int, StorageWeakRef] = {}


class DeviceError(RuntimeError):
    """What the device refuses."""


class _Device(TorchDispatchMode):
    """Follows every operator: where its tensors lie, and whether the device has them."""

    def holds(self, tensor: Tensor) -> bool:
        return tensor.untyped_storage()._cdata in _ON_DEVICE

    def take(self, tensor: Tensor, operator: str) -> None:
        if tensor.dtype in _WIDE:
            raise DeviceError(f"{operator} makes {tensor.dtype} of shape {tuple(tensor.shape)} on the device")
        storage = tensor.untyped_storage()
        _ON_DEVICE.setdefault(storage._cdata, StorageWeakRef(storage))

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        options = options or {}
        name = function.overloadpacket.__name__
        tensors = [leaf for leaf in tree_flatten((arguments, options))[0] if isinstance(leaf, Tensor)]
        inside = [self.holds(tensor) for tensor in tensors]
        if any(inside) and name not in _MIXING:
            if not all(here or tensor.ndim == 0 for here, tensor in zip(inside, tensors, strict=True)):
                raise DeviceError(f"{name} has tensors of the device and of the host")
            if name in _MISSING:
                raise DeviceError(f"{name} is not implemented on the device")
        if name in ("div", "div_") and function._overloadname in ("Tensor", "out") and self.holds(arguments[0]):
            function, arguments = self._divided(function, *arguments)
        result = function(*arguments, **options)
        device = options.get("device")
        on_device = any(inside) if device is None else device == DEVICE
        if name == "copy_":
            on_device = inside[0]
        if on_device:
            for leaf in tree_flatten(result)[0]:
                if isinstance(leaf, Tensor):
                    self.take(leaf, name)
        return result

    def _divided(self, function, dividend, divisor):
        """By a number CUDA does not divide: it multiplies by the reciprocal (pytorch, BinaryDivTrueKernel.cu)."""
        if isinstance(divisor, Tensor) and self.holds(divisor):
            return function, (dividend, divisor)
        multiply = getattr(torch.ops.aten, function.overloadpacket.__name__.replace("div", "mul"))
        reciprocal = 1 / torch.as_tensor(divisor, dtype=dividend.dtype)
        return getattr(multiply, function._overloadname), (dividend, reciprocal)


class _Moves(TorchFunctionMode):
    """Moves between host and device, which are none to torch where both are the processor."""

    def __init__(self, device: _Device) -> None:
        super().__init__()
        self.device = device

    def __torch_function__(self, function, types, arguments=(), options=None):
        options = options or {}
        first = arguments[0] if arguments else None
        inside = isinstance(first, Tensor) and self.device.holds(first)
        if getattr(function, "__name__", "") in _FACTORIES and self._is_there(options.get("device"), inside):
            made = function(*arguments, **options)  # whose operators do not see the number of the device
            self.device.take(made, function.__name__)
            return made
        if not isinstance(first, Tensor):
            return function(*arguments, **options)
        if function == Tensor.device.__get__:
            return DEVICE if inside else torch.device("cpu")
        if function in (Tensor.numpy, Tensor.__array__) and inside:
            raise DeviceError("numpy() of a tensor of the device: move it to the host first")
        if function in (Tensor.cpu, Tensor.to):
            return self._move(function, first, inside, arguments, options)
        return function(*arguments, **options)

    def _is_there(self, device, inside):
        return inside if device is None else torch.device(device) == DEVICE

    def _wanted(self, arguments, options):
        """The device that `Tensor.to` is asked for, if any."""
        for value in (*arguments, *options.values()):
            if isinstance(value, Tensor):
                return DEVICE if self.device.holds(value) else torch.device("cpu")
            if isinstance(value, torch.device | str):
                return torch.device(value)
        return None

    def _move(self, function, tensor, inside, arguments, options):
        wanted = torch.device("cpu") if function is Tensor.cpu else self._wanted(arguments[1:], options)
        if wanted is None or (wanted == DEVICE) == inside:
            return function(*arguments, **options)
        if wanted == DEVICE:
            moved = function(*arguments, **options)
            moved = moved.clone() if moved.untyped_storage()._cdata == tensor.untyped_storage()._cdata else moved
            self.device.take(moved, "to")
            return moved
        host = torch.empty_like(tensor, device="cpu").copy_(tensor)
        return host if function is Tensor.cpu else function(host, *arguments[1:], **options)


@contextmanager
def no_float64_on_the_device() -> Iterator[None]:
    """Trainers of one process use the device that this module plays; what it lacks raises `DeviceError`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SingleDeviceStrategy, "root_device", property(lambda self: DEVICE), raising=True)
        with _Device() as device, _Moves(device):
            yield
