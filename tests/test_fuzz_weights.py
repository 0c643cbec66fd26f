"""Malformed and malicious weights files: each gives tensors or one line; nothing runs, hangs or grows."""

import io
import json
import os
import pickle
import pickletools
import random
import sys
import time
import warnings
import zipfile
from collections import Counter

import pytest
import torch
from safetensors.torch import save as safetensors
from torch import nn

from bench.clip.weights import read_weights
from datamodules.errors import UserError
from tests.support.hostile import Around, Endless, Overwrite, parts, save_scripted, saved

LIMIT = 20  # seconds for one file, on a busy machine
JUNK = [
    None, True, -1, 0, 1, 2**31, 2**62, 2**70, -0.5, 1e308, "", "F32", "F8_E4M3", "x" * 3000, [], [[]], {}, [0, 1e9],
]  # fmt: skip
CODES = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]
DANGEROUS = {
    *("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect", "ctypes.dlopen"),
    *("os.mkdir", "os.remove", "os.rename", "os.chmod", "shutil.rmtree", "pickle.find_class"),
}


class _Watch:
    """Counts events that no reading of weights may cause."""

    def __init__(self):
        self.on, self.seen = False, []
        sys.addaudithook(self)

    def __call__(self, event, arguments):
        if not self.on:
            return
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in DANGEROUS or writes:
            self.seen.append((event, str(arguments)[:200]))


class Payload:
    def __reduce__(self):
        return os.system, ("touch was_here",)


@pytest.fixture(scope="module")
def watch():
    return _Watch()


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """Sound and malicious files by kind."""
    folder = tmp_path_factory.mktemp("seeds")
    victim = folder / "victim"
    victim.write_bytes(b"innocent")
    state = {"a.weight": torch.rand(4, 3), "a.bias": torch.rand(4).half(), "count": torch.tensor(3)}
    lightning = {"state_dict": state, "epoch": 3, "loops": {"n": [1, (2, None)]}}
    sources = {
        "safetensors": [safetensors(state), safetensors(state, {"activation": "gelu"})],
        "zip": [saved(state), saved(lightning), saved({**state, "x": Payload()}), saved(state, pickle_protocol=5)],
        "legacy": [
            saved(content, _use_new_zipfile_serialization=False) for content in (state, lightning, {"x": Payload()})
        ],
        "pickle": [
            pickle.dumps(content, protocol=protocol) for content in (Payload(), {"a": 1}) for protocol in (0, 2, 5)
        ],
    }
    modules = [Overwrite(victim), Around(Overwrite(victim)), Around(Endless()), Around(nn.Linear(2, 2))]
    scripted = [save_scripted(module, folder / f"{number}.pt").read_bytes() for number, module in enumerate(modules)]
    return {**sources, "torchscript": scripted}, victim


def scrambled(data, chance):
    """Bytes changed, cut out, doubled or put in."""
    data = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place, length = chance.randrange(len(data) + 1), chance.randint(1, 40)
        kind = chance.randrange(5)
        if kind == 0:
            data[place : place + length] = chance.randbytes(length)
        elif kind == 1:
            del data[place : place + length]
        elif kind == 2:
            data[place:place] = data[place : place + length]
        elif kind == 3:
            data[place:place] = chance.choice([b"\xff" * 8, b"\x00" * 8, b"PK\x05\x06", b"PK\x01\x02", b"\x7f" * 4])
        else:
            del data[max(place, 1) :]
    return bytes(data)


def bad_pickle(data, chance):
    """Operations changed, put in, or names replaced by those of functions that do harm."""
    call = b"cposix\nsystem\nX\x0e\x00\x00\x00touch was_here\x85R"
    for _ in range(chance.randint(1, 3)):
        place, kind = chance.randrange(len(data) + 1), chance.randrange(5)
        if kind == 0:
            data = data[:place] + chance.choice(CODES) + data[place + chance.randrange(2) :]
        elif kind == 1:
            data = data.replace(b"torch._utils\n_rebuild_tensor_v2", b"posix\nsystem", chance.randint(1, 3))
        elif kind == 2:
            data = data[:2] + call + chance.choice([b"", b"0", b"b"]) + data[2:]
        elif kind == 3:
            data = data.replace(
                chance.choice([b"K", b"M", b"J"]), chance.choice([b"J\xff\xff\xff\x7f", b"\x8a\x08"]), 1
            )
        else:
            data = data[:-1] + call + b"b."
    return data


def bad_header(data, chance):
    """A header of safetensors with something replaced."""
    length = int.from_bytes(data[:8], "little")
    header, rest = json.loads(data[8 : 8 + length]), data[8 + length :]
    for _ in range(chance.randint(1, 3)):
        name = chance.choice(list(header))
        if isinstance(header[name], dict) and chance.random() < 0.8:
            key = chance.choice([*header[name], "bogus"])
            header[name][key] = chance.choice([*JUNK, [0, 4], [4, 2], ["F16"], "BF16", "C64", "I8", "F4"])
        else:
            header[chance.choice([name, "", "__metadata__", "\x1b[31m"])] = chance.choice(JUNK)
    text = json.dumps(header).encode()
    size = len(text) if chance.random() < 0.8 else chance.choice([0, 1, 2**63, 2**31, len(text) + 5])
    return size.to_bytes(8, "little") + text + rest


def bad_archive(data, chance, folder):
    """An archive with parts renamed, missing, doubled, compressed, swapped, or with a changed pickle."""
    path = folder / "seed.zip"
    path.write_bytes(data)
    content = list(parts(path).items())
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(content))
        name, inner = content[place]
        kind = chance.randrange(7)
        if kind == 0 and len(content) > 1:
            del content[place]
        elif kind == 1:
            content.append(
                (chance.choice([name, name + "x", "../" + name, "data.pkl", "a/data.pkl", "/" + name]), inner)
            )
        elif kind == 2:
            content[place] = (name, scrambled(inner, chance) if inner else b"x")
        elif kind == 3:
            content[place] = (name, content[chance.randrange(len(content))][1])
        else:
            content = [(n, bad_pickle(i, chance) if n.endswith("/data.pkl") else i) for n, i in content]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", chance.choice([0, 0, 0, 8])) as archive:
        for name, inner in content:
            archive.writestr(name, inner)
    return buffer.getvalue()


def mutated(seeds, chance, folder):
    """A kind and the bytes of a file of it that is malformed, malicious, or now and then sound."""
    kind = chance.choice(list(seeds))
    data = chance.choice(seeds[kind])
    if chance.random() < 0.3:
        return kind, scrambled(data, chance)
    if kind == "safetensors":
        return kind, bad_header(data, chance)
    if kind in ("zip", "torchscript"):
        return kind, bad_archive(data, chance, folder)
    return kind, bad_pickle(data, chance)


def outcome(path):
    """How reading a file ends: "tensors", "line", or what went wrong."""
    try:
        tensors = read_weights(path).tensors
    except UserError as error:
        text = str(error)
        return "line" if text.isprintable() and len(text) < 700 else f"not one printable line: {text!r}"
    except BaseException as error:
        return f"traceback {type(error).__name__}: {error}"
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors.values()}
    if sum(storages.values()) > path.stat().st_size or any(
        tensor.layout != torch.strided for tensor in tensors.values()
    ):
        return "tensors that are larger than their file, or odd"
    return "tensors"


def fuzz(count, seeds, watch, folder, monkeypatch):
    """Read `count` files and print how they ended."""
    sources, victim = seeds
    monkeypatch.chdir(folder)
    chance, ends, bad, slowest = random.Random(1), Counter(), [], 0.0
    for data in (content for kind in sources.values() for content in kind):  # imports happen at first use
        (folder / "w.pt").write_bytes(data)
        outcome(folder / "w.pt")

    for number in range(count):
        kind, data = mutated(sources, chance, folder)
        suffix = ".safetensors" if (kind == "safetensors") != (chance.random() < 0.05) else ".pt"
        path = folder / f"w{suffix}"
        path.write_bytes(data)
        start, watch.on = time.perf_counter(), True
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            end = outcome(path)
        watch.on = False
        slowest = max(slowest, time.perf_counter() - start)
        ends[f"{kind}: {end}" if end in ("tensors", "line") else "bad"] += 1
        if end not in ("tensors", "line"):
            bad.append(f"{number} {kind}: {end}")
    print(
        f"\n{count} weights files, slowest {slowest:.2f} s, executions {len(watch.seen)}: {dict(sorted(ends.items()))}"
    )
    assert slowest < LIMIT, "it all but hangs"
    assert watch.seen == []
    assert victim.read_bytes() == b"innocent"
    assert not (folder / "was_here").exists()
    assert not bad, "\n".join(bad)


@pytest.mark.filterwarnings("ignore:.*torch.jit", "ignore:Duplicate name")
def test_malformed_weights_end_in_tensors_or_one_line(seeds, watch, tmp_path, monkeypatch):
    fuzz(150, seeds, watch, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore:.*torch.jit", "ignore:Duplicate name")
def test_thousands_of_malformed_weights_end_in_tensors_or_one_line(seeds, watch, tmp_path, monkeypatch):
    fuzz(5000, seeds, watch, tmp_path, monkeypatch)


def test_the_watch_sees_what_it_watches_for(watch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    watch.on = True
    pickle.loads(pickle.dumps(Payload()))
    watch.on = False
    seen, watch.seen = {event for event, _ in watch.seen}, []
    assert {"pickle.find_class", "os.system"} <= seen
    assert (tmp_path / "was_here").exists()
