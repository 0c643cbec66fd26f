"""Whatever computes on the model's device keeps to what a device without float64 has, such as Apple's MPS."""

import pytest
import torch

from tests.support.devices import DEVICE, DeviceError, no_float64_on_the_device


class TestTheModeCanFail:
    @pytest.mark.parametrize(
        ("compute", "says"),
        [
            (lambda x: x.double(), "_to_copy makes torch.float64"),
            (lambda x: x.to(torch.float64), "_to_copy makes torch.float64"),
            (lambda x: torch.zeros(2, dtype=torch.float64, device=x.device), "zeros makes torch.float64"),
            (lambda x: x.new_zeros(2, dtype=torch.float64), "new_zeros makes torch.float64"),
            (lambda x: torch.ones(2, dtype=torch.float64).to(x.device), "to makes torch.float64"),
            (lambda x: (x + 1)[:1].sum(dtype=torch.float64), "sum makes torch.float64"),
            (lambda x: x.numpy(), "numpy()"),
            (lambda x: x + torch.ones(2), "add has tensors of the device and of the host"),
            (lambda x: torch.linalg.eigh(torch.outer(x, x)), "_linalg_eigh is not implemented"),
            (lambda x: torch.unique(torch.outer(x, x), dim=0), "unique_dim is not implemented"),
        ],
    )
    def test_what_the_device_lacks_is_refused(self, compute, says):
        with no_float64_on_the_device(), pytest.raises(DeviceError) as error:
            compute(torch.ones(2).to(DEVICE))
        assert says in str(error.value)

    def test_weights_and_what_they_compute_lie_on_the_device(self):
        with no_float64_on_the_device():
            layer = torch.nn.Linear(2, 2).to(DEVICE)
            found = layer(torch.ones(1, 2, device=DEVICE))
            assert found.device == layer.weight.device == DEVICE
            with pytest.raises(DeviceError):
                found.double()
            found.sum().backward()
            with pytest.raises(DeviceError):
                layer.weight.grad.double()

    def test_the_host_has_float64_and_a_copy_on_the_host_is_the_hosts(self):
        with no_float64_on_the_device():
            there = torch.ones(2).to(DEVICE)
            for here in (there.cpu(), there.to("cpu")):
                assert here.device == torch.device("cpu")
                assert here.double().dtype == torch.float64
                assert here.numpy().tolist() == [1, 1]
            assert there.tolist() == [1, 1]
            assert there.sum().item() == 2
