"""Weights files need not be trusted: each either gives its tensors or one line, and none runs anything."""

import io
import os
import pickle
import tracemalloc
import zipfile
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.clip.weights import load_weights, read_weights
from datamodules.errors import UserError
from tests.support.checkpoints import VIT, build, save_torchscript
from tests.support.hostile import Around, Endless, Overwrite, parts, save_scripted, saved, write_parts

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit")  # deprecated; files that were made with it are not


def refused(path, match):
    with pytest.raises(UserError, match=match) as error:
        read_weights(path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500 + len(str(path))


@pytest.fixture
def victim(tmp_path):
    path = tmp_path / "victim"
    path.write_bytes(b"innocent")
    return path


@pytest.mark.parametrize("wrap", [lambda module: module, Around], ids=["outermost", "inner"])
def test_a_program_in_a_torchscript_archive_is_never_run(tmp_path, victim, wrap):
    archive = save_scripted(wrap(Overwrite(victim)), tmp_path / "w.pt")
    refused(archive, r"nothing in it was run.*a program of its own")
    assert victim.read_bytes() == b"innocent"
    torch.jit.load(archive)
    assert victim.read_bytes() == b"B" * 8, "the test's own payload does nothing"


@pytest.mark.timeout(30)
def test_a_program_that_never_ends_is_never_begun(tmp_path):
    refused(save_scripted(Around(Endless()), tmp_path / "w.pt"), "nothing in it was run")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ".safetensors", ""])
def test_no_suffix_brings_an_archive_to_torch(tmp_path, victim, suffix, monkeypatch):
    for loader in ("torch.load", "torch.jit.load"):
        monkeypatch.setattr(loader, lambda *_, **__: pytest.fail("torch was asked"))
    refused(save_scripted(Overwrite(victim), tmp_path / f"w{suffix}"), "w")
    path = tmp_path / f"plain{suffix}"
    for options in ({}, {"_use_new_zipfile_serialization": False}):
        path.write_bytes(saved({"a": torch.arange(3.0)}, **options))
        if suffix != ".safetensors":
            assert read_weights(path).tensors["a"].tolist() == [0, 1, 2]


def test_an_archive_gives_the_state_dict_that_torch_would(tmp_path):
    path = tmp_path / "w.pt"
    save_torchscript(build(VIT), VIT, path)
    expected = torch.jit.load(path).state_dict()
    found = read_weights(path).tensors
    integers = {"input_resolution", "context_length", "vocab_size"}
    assert set(found) == set(expected) - integers
    for name, tensor in found.items():
        assert tensor.dtype == expected[name].dtype
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}, {"pickle_protocol": 5}])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64])
def test_views_parameters_and_shared_storages_are_what_was_saved(tmp_path, options, dtype):
    whole = torch.arange(24).reshape(4, 6).to(dtype)
    state = {
        "whole": whole, "transposed": whole.T, "part": whole[1:3, 2:5], "scalar": whole[1, 1], "empty": whole[:0],
        "parameter": torch.nn.Parameter(whole * 2, requires_grad=False), "flipped": whole.reshape(-1)[3:7],
    }  # fmt: skip
    path = tmp_path / "w.pt"
    path.write_bytes(saved(state, **options))
    found = read_weights(path).tensors
    assert list(found) == list(state)
    for name, tensor in state.items():
        assert found[name].dtype == dtype
        assert torch.equal(found[name], tensor.data), name
    assert found["part"].untyped_storage().data_ptr() == found["whole"].untyped_storage().data_ptr()


def test_a_whole_checkpoint_gives_its_state_dict(tmp_path):
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([weight])
    weight.grad = torch.ones(3)
    optimizer.step()
    path = tmp_path / "w.ckpt"
    state = {
        "state_dict": {"w": weight}, "optimizer_states": [optimizer.state_dict()], "loops": {"n": {1: None}},
        "arguments": Namespace(lr=0.1), "best": np.float64(0.5), "seen": {1, 2}, "where": Path("a"),
    }  # fmt: skip
    path.write_bytes(saved(state))
    assert torch.equal(read_weights(path).tensors["w"], weight.data)


def _sparse():
    return torch.eye(2).to_sparse()


def _nested():
    return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])


def _quantised():
    return torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)


ODD = {
    "fp8": lambda: torch.ones(2).to(torch.float8_e4m3fn),
    "fp8 with other bits": lambda: torch.ones(2).to(torch.float8_e5m2),
    "complex": lambda: torch.ones(2, dtype=torch.complex64),
    "conjugate": lambda: torch.ones(2, dtype=torch.complex64).conj(),
    "uint16": lambda: torch.ones(2, dtype=torch.uint16),
    "meta": lambda: torch.ones(2, device="meta"),
    "sparse": _sparse,
    "csr": lambda: torch.eye(2).to_sparse_csr(),
    "nested": _nested,
    "quantised": _quantised,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("odd", ODD)
def test_a_tensor_of_an_odd_kind_is_one_line_that_names_it(tmp_path, odd):
    path = tmp_path / "w.pt"
    for options in ({}, {"_use_new_zipfile_serialization": False}):
        try:
            path.write_bytes(saved({"fine": torch.ones(1), "odd.one": ODD[odd]()}, **options))
        except (AttributeError, RuntimeError, KeyError):  # torch cannot save it in its old format
            assert options
            continue
        refused(path, r"w\.pt.*(odd\.one|nothing in it was run).*save")


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.complex64, torch.int8, torch.uint8, torch.bool])
def test_numbers_of_another_kind_are_not_taken_for_floats(tmp_path, dtype):
    from safetensors.torch import save_file

    state = {name: tensor.contiguous() for name, tensor in build(VIT).state_dict().items()}
    state["ln_final.bias"] = state["ln_final.bias"].to(dtype)
    save_file(state, tmp_path / "w.safetensors")
    name = str(dtype).removeprefix("torch.")
    with pytest.raises(UserError, match=rf"ln_final\.bias holds {name}; save it as float32"):
        load_weights(build(VIT), read_weights(tmp_path / "w.safetensors"))


def _with_pickle(path, entries):
    """An archive with one storage of four float32 and this pickle, in which `Stored` stands for a tensor."""
    content = parts_of_a_state_dict(path)
    return write_parts(path, {**content, "w/data.pkl": entries})


def parts_of_a_state_dict(path):
    path.write_bytes(saved({"a": torch.arange(4.0)}))
    return {f"w/{name.split('/', 1)[1]}": data for name, data in parts(path).items()}


class StorageNamed:
    def __init__(self, numel, kind=torch.FloatStorage, key="0"):
        self.identity = ("storage", kind, key, "cpu", numel)


class _Pickler(pickle.Pickler):
    def persistent_id(self, value):
        return value.identity if isinstance(value, StorageNamed) else None


class _Rebuilt:
    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, (*self.arguments, False, {})


def pickled(value):
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=2).dump(value)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("storage", "offset", "size", "stride"),
    [
        (StorageNamed(4), 0, (4,), (2,)),
        (StorageNamed(4), 1, (4,), (1,)),
        (StorageNamed(4), -1, (2,), (1,)),
        (StorageNamed(4), 0, (2, 2), (-1, 1)),
        (StorageNamed(4), 0, (5,), (1,)),
        (StorageNamed(4), 0, (2**40,), (0,)),
        (StorageNamed(4), 0, (2**20, 2**20), (0, 0)),
        (StorageNamed(4), 2**63, (1,), (1,)),
        (StorageNamed(4), 0, (2**63,), (1,)),
        (StorageNamed(4), 0, (0, 2**62), (1, 1)),
        (StorageNamed(4), 0, (2, 2), (1,)),
        (StorageNamed(4), 0, (2.0,), (1,)),
        (StorageNamed(4), 0, [2], [1]),
        (StorageNamed(4), "0", (2,), (1,)),
        (StorageNamed(4), 0, (1,) * 100, (1,) * 100),
        (StorageNamed(5), 0, (4,), (1,)),
        (StorageNamed(2**60), 0, (4,), (1,)),
        (StorageNamed(-4), 0, (4,), (1,)),
        (StorageNamed(4, torch.DoubleStorage), 0, (4,), (1,)),
        (StorageNamed(4, key="../../w/data/0"), 0, (4,), (1,)),
        (StorageNamed(4, key="1"), 0, (4,), (1,)),
        (StorageNamed(4, os.system), 0, (4,), (1,)),
    ],
)
def test_a_tensor_that_lies_about_itself_is_one_line(tmp_path, storage, offset, size, stride):
    path = _with_pickle(tmp_path / "w.pt", pickled({"a": _Rebuilt(storage, offset, size, stride)}))
    refused(path, r"w\.pt")


def test_the_lies_above_are_told_by_an_archive_that_would_be_read(tmp_path):
    path = _with_pickle(tmp_path / "w.pt", pickled({"a": _Rebuilt(StorageNamed(4), 1, (3,), (1,))}))
    assert read_weights(path).tensors["a"].tolist() == [1, 2, 3]


def nested_tuple(depth):
    return b"\x80\x02}" + b")" + b"\x85" * depth + b"K\x01s."


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (nested_tuple(30_000), "a key is a tuple"),
        (b"\x80\x02Nr\xff\xff\xff\x7f.", "no state dict"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", "damaged"),
        (b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R.", "calls posix.system"),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.", "calls posix.system"),
        (b"\x80\x02(cposix\nsystem\nX\x04\x00\x00\x00trueo.", "operation OBJ"),
        (b"\x80\x02(X\x04\x00\x00\x00trueiposix\nsystem\n.", "operation INST"),
        (b"\x80\x02\x82\x01.", "operation EXT1"),
        (b"\x80\x02}X\x01\x00\x00\x00a)R.", "calls what is no function"),
        (b"\x80\x02R.", "its stack is empty"),
        (b"\x80\x02h\x07.", "damaged"),
        (b"\x80\x02t.", "damaged"),
        (b"", "cut short|damaged"),
    ],
)
def test_a_pickle_that_calls_lies_or_nests_is_one_line(tmp_path, content, match):
    refused(_with_pickle(tmp_path / "w.pt", content), match)
    (tmp_path / "bare.pt").write_bytes(content)
    refused(tmp_path / "bare.pt", r"bare\.pt")


def test_modules_that_contain_themselves_or_each_other_a_thousand_times_are_one_line(tmp_path):
    def module(*members):
        own = b"".join(b"X\x01\x00\x00\x00" + bytes([97 + i]) + inner for i, inner in enumerate(members))
        return b"c__torch__\nM\n)\x81}(" + own + b"ub"

    itself = b"c__torch__\nM\n)\x81q\x00}(X\x01\x00\x00\x00ah\x00ub"
    doubling = b"c__torch__\nM\n)\x81}b"
    for level in range(60):
        name = bytes([level])
        doubling = doubling + b"q" + name + b"0" + module(b"h" + name, b"h" + name)
    for program in (itself, doubling):
        content = {**parts_of_a_state_dict(tmp_path / "w.pt"), "w/constants.pkl": b"\x80\x02)."}
        write_parts(tmp_path / "w.pt", {**content, "w/data.pkl": b"\x80\x02" + program + b"."})
        refused(tmp_path / "w.pt", "nested without end")


def test_a_zip_bomb_is_not_inflated(tmp_path):
    path = tmp_path / "w.pt"
    content = parts_of_a_state_dict(path)
    write_parts(path, {**content, "w/data/0": bytes(2**26)}, zipfile.ZIP_DEFLATED)
    refused(path, "is compressed")
    archive = save_scripted(Around(torch.nn.Identity()), tmp_path / "w.pt")
    program = {"w/code/__torch__/bomb.py": bytes(2**25)}
    content = parts(archive)
    with zipfile.ZipFile(archive, "w") as written:
        for name, data in {**content, **program}.items():
            kind = zipfile.ZIP_DEFLATED if "/code/" in name else zipfile.ZIP_STORED
            written.writestr(name, data, kind)
    assert archive.stat().st_size < 2**20
    refused(archive, "its program is too long")


def test_one_part_under_many_names_is_refused(tmp_path):
    path = tmp_path / "w.pt"
    content = parts_of_a_state_dict(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {**content, "w/data/1": bytes(2**16)}.items():
            archive.writestr(name, data)
        large = archive.getinfo("w/data/1")
        for number in range(2, 50):
            copy = zipfile.ZipInfo(f"w/data/{number}")
            for field in ("header_offset", "file_size", "compress_size", "CRC"):
                setattr(copy, field, getattr(large, field))
            archive.filelist.append(copy)
            archive.NameToInfo[copy.filename] = copy
    refused(path, "larger than the whole")


@pytest.mark.parametrize("operation", [b"]", b"}", b")", b"N", b"\x88", b"K\x00", b"\x8f"])
def test_memory_is_bounded_by_the_number_of_operations(tmp_path, operation, monkeypatch):
    monkeypatch.setattr("bench.clip.pickles._MOST_OPERATIONS", 20_000)
    _with_pickle(tmp_path / "w.pt", b"\x80\x04" + operation * 10**6 + b".")
    tracemalloc.start()
    refused(tmp_path / "w.pt", "too long")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * (tmp_path / "w.pt").stat().st_size + 300 * 20_000


def test_pipes_devices_folders_and_links_to_nothing_are_not_opened(tmp_path):
    pipe, folder, link, dangling = (tmp_path / name for name in ("pipe.pt", "folder.pt", "link.pt", "dangling.pt"))
    os.mkfifo(pipe)
    folder.mkdir()
    link.symlink_to("/dev/zero")
    dangling.symlink_to("nowhere")
    for path in (pipe, folder, link, Path("/dev/zero")):
        refused(path, "is a folder, pipe or device: name a file")
    refused(dangling, "does not exist")
    refused(Path("a\x00b"), "cannot be opened")
