"""Fits on devices that have no float64."""

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from bench.finetuning import Augment, Consistency, LinearCorrection, Sum
from bench.finetuning.linear import moments, near_identity
from callbacks import ExponentialAverage
from tests.support.fits import few


class OnHost(torch.Tensor):
    """What has been copied from the device to the host, and what is made of it."""


class DeviceWithoutFloat64(TorchFunctionMode):
    """Takes the CPU for such a device, of which only `Tensor.cpu` gives something to the host."""

    def __init__(self):
        self.copied = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func is torch.Tensor.cpu:
            self.copied += 1
            return result.as_subclass(OnHost)
        flat = [item for argument in args for item in (argument if isinstance(argument, list | tuple) else [argument])]
        given = [item for item in flat if isinstance(item, torch.Tensor)]
        device_only = given and not any(isinstance(leaf, OnHost) or leaf.dtype == torch.float64 for leaf in given)
        for leaf in tree_leaves(result):
            if device_only and isinstance(leaf, torch.Tensor) and leaf.dtype == torch.float64:
                raise TypeError(f"{func} makes float64 on the device")
        return result


def test_the_stand_in_for_such_a_device_notices_float64():
    with DeviceWithoutFloat64(), pytest.raises(TypeError, match="makes float64 on the device"):
        torch.ones(2).double()
    with DeviceWithoutFloat64():
        assert torch.ones(2).cpu().double().sum() == 2


@pytest.mark.parametrize("method", ["gradient", "linear"])
def test_no_fit_needs_float64_on_the_device(tuning, clip, fit, method):
    objective = Sum([Augment(), Consistency()], [1.0, 1.0])
    module = LinearCorrection(**clip["resnet"]) if method == "linear" else tuning(objective=objective)
    callbacks = [] if method == "linear" else [ExponentialAverage(0.5)]
    with DeviceWithoutFloat64() as device:
        trainer = fit(module, few(), max_epochs=1, callbacks=callbacks)
    assert not any(tensor.dtype == torch.float64 for tensor in (*module.parameters(), *module.buffers()))
    assert "val/precision/jpeg-25" in trainer.callback_metrics
    assert device.copied


def test_the_linear_correction_is_the_solution_of_all_sums_in_float64(clip, fit):
    """As if every pair had been embedded at once, in double precision from there on."""
    module, source = LinearCorrection(**clip["vit"], ridge=1e-3, keep=0.5), few(limit=13)
    fit(module, source, max_epochs=1)
    with torch.no_grad():
        batches = list(source.train_dataloader())
        target, degraded = (
            torch.cat([module.embed(module.original, batch.views[view]) for batch in batches])
            for view in ("original", "random")
        )
        sums = moments(degraded, target)
        sums.add(moments(target, target, weight=0.5))
        matrix, _ = near_identity(sums, 1e-3, offset=False)
        expected = module.original.proj.double() @ matrix.T
    assert len(target) == 10
    torch.testing.assert_close(module.tower.proj.detach().double(), expected, rtol=1e-6, atol=1e-6)
