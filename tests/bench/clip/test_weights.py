import os
import pickle
from pathlib import Path

import pytest
import torch

from bench.clip.weights import Declaration, load_weights, read_weights
from datamodules.errors import UserError
from tests.support.checkpoints import RESNET, VIT, build, save_safetensors, save_torchscript


class _Malicious:
    def __reduce__(self):
        return os.mkdir, (str(_Malicious.target),)


def test_digest_is_the_sha256_of_the_file(tmp_path):
    path = tmp_path / "w.pt"
    torch.save({"a": torch.arange(3.0)}, path)
    import hashlib

    assert read_weights(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("wrap", [lambda d: d, lambda d: {"state_dict": d, "epoch": 3}])
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
def test_state_dict_is_found_in_its_usual_wrappings(tmp_path, wrap, prefix, suffix):
    path = tmp_path / f"w{suffix}"
    torch.save(wrap({f"{prefix}a": torch.arange(3.0), f"{prefix}b.c": torch.ones(1)}), path)
    weights = read_weights(path)
    assert list(weights.tensors) == ["a", "b.c"]
    assert weights.declarations == ()


def test_legacy_pickle_without_zip_is_read(tmp_path):
    path = tmp_path / "w.pt"
    torch.save({"a": torch.arange(3.0)}, path, _use_new_zipfile_serialization=False)
    assert torch.equal(read_weights(path).tensors["a"], torch.arange(3.0))


@pytest.mark.parametrize("activation", ["quickgelu", "gelu"])
def test_safetensors_metadata_declares_the_activation(tmp_path, activation):
    path = tmp_path / "w.safetensors"
    save_safetensors(build(VIT), path, activation=activation)
    assert read_weights(path).declarations == (Declaration(activation, "the metadata of w.safetensors"),)


def test_safetensors_metadata_with_an_unknown_activation_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    save_safetensors(build(VIT), path, activation="relu")
    with pytest.raises(UserError, match="'relu'"):
        read_weights(path)


@pytest.mark.parametrize("config", [VIT, RESNET], ids=["vit", "resnet"])
@pytest.mark.parametrize("quick", [True, False])
def test_program_of_a_torchscript_archive_declares_the_activation(tmp_path, config, quick):
    path = tmp_path / "w.pt"
    config = {**config, "quick_gelu": quick}
    save_torchscript(build(config), config, path)
    weights = read_weights(path)
    assert weights.tensors["visual.conv1.weight"].dtype == torch.float16
    said = {d.source: d.activation for d in weights.declarations}
    assert said == {
        "the program in w.pt": "quickgelu" if quick else "gelu",
        "w.pt is in OpenAI's format": "quickgelu",
    }


def test_openai_entries_in_a_state_dict_declare_quickgelu(tmp_path):
    path = tmp_path / "w.pt"
    torch.save({"a": torch.ones(1), "input_resolution": 224, "context_length": torch.tensor(77)}, path)
    weights = read_weights(path)
    assert list(weights.tensors) == ["a"]
    assert [d.activation for d in weights.declarations] == ["quickgelu"]


@pytest.mark.parametrize("save", [torch.save, lambda o, p: p.write_bytes(pickle.dumps(o))], ids=["torch", "pickle"])
def test_pickled_code_is_never_run(tmp_path, save):
    _Malicious.target = tmp_path / "was_here"
    path = tmp_path / "w.pt"
    save({"a": _Malicious()}, path)
    with pytest.raises(UserError, match=r"nothing in it was run.*safetensors") as error:
        read_weights(path)
    assert "\n" not in str(error.value)
    assert not _Malicious.target.exists()
    pickle.loads(pickle.dumps({"a": _Malicious()}))
    assert _Malicious.target.exists(), "the test's own payload does nothing"


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors", "w.bin"])
@pytest.mark.parametrize("content", [b"", b"hello world", b"PK\x03\x04 cut short"])
def test_damaged_file_is_one_line(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=name) as error:
        read_weights(path)
    assert "\n" not in str(error.value)


def test_truncated_archive_is_one_line(tmp_path):
    path = tmp_path / "w.pt"
    save_torchscript(build(VIT), VIT, path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UserError, match=r"w\.pt"):
        read_weights(path)


@pytest.mark.parametrize("content", [[1, 2], {"a": 3}, {}, torch.ones(2)], ids=["list", "number", "empty", "tensor"])
def test_file_that_is_no_state_dict_is_refused(tmp_path, content):
    path = tmp_path / "w.pt"
    torch.save(content, path)
    with pytest.raises(UserError, match="save the state dict"):
        read_weights(path)


def test_missing_file_is_named():
    with pytest.raises(UserError, match=r"nowhere\.pt does not exist"):
        read_weights(Path("nowhere.pt"))


def _read_changed(tmp_path, change):
    state = build(VIT).state_dict()
    change(state)
    path = tmp_path / "w.pt"
    torch.save(state, path)
    return read_weights(path)


def test_first_tensor_of_another_shape_is_named_with_both_shapes(tmp_path):
    def change(state):
        state["visual.conv1.weight"] = torch.zeros(64, 3, 16, 16)
        state["ln_final.bias"] = torch.zeros(7)

    with pytest.raises(UserError, match=r"visual\.conv1\.weight is \[64, 3, 16, 16\] in the file and \[64, 3, 8, 8\]"):
        load_weights(build(VIT), _read_changed(tmp_path, change))


def test_missing_and_left_over_tensors_are_named(tmp_path):
    with pytest.raises(UserError, match=r"lacks ln_final\.bias \[64\]"):
        load_weights(build(VIT), _read_changed(tmp_path, lambda s: s.pop("ln_final.bias")))
    with pytest.raises(UserError, match=r"it has extra \[2\], which the encoder lacks"):
        load_weights(build(VIT), _read_changed(tmp_path, lambda s: s.update(extra=torch.ones(2))))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(tmp_path, value):
    def change(state):
        state["ln_final.bias"][3] = value

    with pytest.raises(UserError, match=r"not finite, first in ln_final\.bias"):
        load_weights(build(VIT), _read_changed(tmp_path, change))


def test_logit_scale_may_be_stored_as_a_vector(tmp_path):
    model = build(VIT, seed=1)
    load_weights(model, _read_changed(tmp_path, lambda s: s.update(logit_scale=torch.tensor([3.5]))))
    assert model.logit_scale.item() == 3.5


def test_counters_of_batch_norm_may_be_absent(tmp_path):
    state = build(RESNET).state_dict()
    torch.save({k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}, tmp_path / "w.pt")
    model = build(RESNET, seed=1)
    load_weights(model, read_weights(tmp_path / "w.pt"))
    assert torch.equal(model.visual.bn1.weight, state["visual.bn1.weight"])
