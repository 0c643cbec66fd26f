"""Weights in torch's own formats: a zip archive, TorchScript's among them, or pickles one behind the other.

Nothing here hands a file to torch: its loaders call what a file names, and TorchScript's runs the program in it.
"""

import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pickle import UnpicklingError
from typing import Any, BinaryIO, Protocol

import torch
from torch import Tensor

from bench.clip.pickles import MOST_BYTES, Instance, Storage, StoredTensor, elements, read_pickle

_ZIP_START = b"PK\x03\x04"

_DTYPES = {
    "FloatStorage": torch.float32, "HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64, "LongStorage": torch.int64, "IntStorage": torch.int32, "ShortStorage": torch.int16,
    "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip
_ITEM_SIZES = {
    **{name: dtype.itemsize for name, dtype in _DTYPES.items()},
    **{"ComplexFloatStorage": 8, "ComplexDoubleStorage": 16, "QInt8Storage": 1, "QUInt8Storage": 1, "QInt32Storage": 4},
    "UntypedStorage": 1,
}
_DTYPES_BY_NAME = {str(dtype).removeprefix("torch."): dtype for dtype in _DTYPES.values()}
_MOST_DIRECTORY = 2**24  # bytes of a zip's table of contents, some 100 per tensor
_MOST_CODE = 2**24  # bytes, uncompressed
_MOST_MODULES = 100_000
_DEEPEST_MODULE = 100
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of torch's format before 1.6
_CLASS = re.compile(r"^class (\w+)\(Module\):\n  __parameters__ = \[(.*)\]\n  __buffers__ = \[(.*)\]", re.MULTILINE)


class Numbers(Protocol):
    """Where the numbers of tensors lie."""

    def read(self, key: str) -> bytearray:
        """All bytes of a storage; raises UnpicklingError."""


@dataclass(frozen=True)
class Contents:
    """What a file of weights holds, before any tensor is made.

    Attributes:
        entries: What was saved, with `StoredTensor` for tensors.
        code: TorchScript's program, as text that is never run; empty where there is none.
        numbers: Where its storages are, as long as the file is open.
    """

    entries: Any
    code: str
    numbers: Numbers


class Tensors:
    """Makes tensors of stored ones; those that share a storage share memory."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        self._read: dict[str, bytearray] = {}

    def make(self, stored: StoredTensor) -> Tensor:
        """The tensor, as a view of its storage.

        Raises:
            UnpicklingError: It is none that holds weights, or what it says of itself is wrong.
        """
        storage, size, stride = stored.storage, stored.size, stored.stride
        dtype = None
        if storage is not None:
            untyped = storage.kind == "UntypedStorage"
            known = _DTYPES_BY_NAME.get(stored.kind or "") if untyped else _DTYPES.get(storage.kind)
            dtype = known if untyped or stored.kind is None else None
        if storage is None or dtype is None:
            raise UnpicklingError(f"is of the kind {stored.kind or (storage and storage.kind)}")
        raw = self._bytes(storage, 1 if storage.kind == "UntypedStorage" else dtype.itemsize)
        count, held = elements(size), len(raw) // dtype.itemsize
        elements(stride)
        if count == 0:
            return torch.empty(size, dtype=dtype)
        last = elements((stored.offset,)) + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if last >= held or count > held:
            raise UnpicklingError(f"reaches beyond its {held} numbers")
        flat: Tensor = torch.frombuffer(raw, dtype=dtype, count=held)
        return flat.as_strided(size, stride, stored.offset)

    def _bytes(self, storage: Storage, item: int) -> bytearray:
        if storage.key not in self._read:
            self._read[storage.key] = self._numbers.read(storage.key)
        raw = self._read[storage.key]
        if len(raw) != storage.count * item:
            raise UnpicklingError(f"announces {storage.count * item} bytes, of which there are {len(raw)}")
        return raw


class _Archive:
    """A zip archive that is no larger inside than outside."""

    def __init__(self, file: BinaryIO) -> None:
        length = _check_directory(file)
        self._zip = zipfile.ZipFile(file)
        self._entries = {entry.filename: entry for entry in self._zip.infolist()}
        roots = [name.removesuffix("data.pkl") for name in self._entries if re.fullmatch(r"[^/]*/data\.pkl", name)]
        if len(roots) != 1 or len(self._entries) != len(self._zip.infolist()):
            raise UnpicklingError("it is no archive of weights")
        if sum(entry.compress_size for entry in self._entries.values()) > length:  # one part under many names
            raise UnpicklingError("its parts are larger than the whole")
        (self.root,) = roots
        for entry in self._entries.values():
            packed = entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size
            if packed and not entry.filename.startswith(f"{self.root}code/"):
                raise UnpicklingError(f"its {entry.filename.removeprefix(self.root)} is compressed")

    def member(self, name: str, most: int | None = None) -> bytearray:
        entry = self._entries.get(self.root + name)
        if entry is None:
            raise UnpicklingError(f"it lacks {name}")
        if most is not None and entry.file_size > most:
            raise UnpicklingError(f"its {name} is too long")
        content = bytearray()
        with self._zip.open(entry) as source:
            while part := source.read(2**24):
                content += part
        if len(content) != entry.file_size:
            raise UnpicklingError(f"its {name} is cut short")
        return content

    def read(self, key: str) -> bytearray:
        return self.member(f"data/{key}")

    def has(self, name: str) -> bool:
        return self.root + name in self._entries

    def modules(self) -> dict[str, str]:
        """The sources of TorchScript's program by their dotted names; they may be compressed, by a little."""
        found, left = {}, _MOST_CODE
        for name, entry in self._entries.items():
            if name.startswith(f"{self.root}code/") and name.endswith(".py"):
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise UnpicklingError("its program is compressed in a way that torch does not write")
                with self._zip.open(entry) as source:
                    text = source.read(left + 1)
                left -= len(text)
                if left < 0:
                    raise UnpicklingError("its program is too long")
                dotted = name.removeprefix(f"{self.root}code/").removesuffix(".py").replace("/", ".")
                found[dotted] = text.decode(errors="replace")
        return found


def _check_directory(file: BinaryIO) -> int:
    """The file's length, once its table of contents is known to be small: `zipfile` reads all of it at once."""
    length = file.seek(0, 2)
    start = max(0, length - 2**16 - 22 - 20 - 56)
    file.seek(start)
    tail = file.read()
    place = tail.rfind(b"PK\x05\x06")
    sizes = [int.from_bytes(tail[place + 12 : place + 16], "little")] if place >= 0 else []
    if (large := tail.rfind(b"PK\x06\x06")) >= 0:
        sizes = [int.from_bytes(tail[large + 40 : large + 48], "little")]
    if not sizes or max(sizes) > min(_MOST_DIRECTORY, length):
        raise UnpicklingError("it is no archive of weights")
    file.seek(0)
    return length


def read_contents(file: BinaryIO) -> Contents:
    """Contents of a file in one of torch's formats, for a TorchScript archive the state dict of its module.

    Raises:
        UnpicklingError: It is none, holds more than weights, or is damaged; anything else that `zipfile` raises, too.
    """
    zipped = file.read(len(_ZIP_START)) == _ZIP_START
    file.seek(0)
    return _read_archive(file) if zipped else _read_pickles(file)


def _read_archive(file: BinaryIO) -> Contents:
    archive = _Archive(file)
    if archive.has("byteorder") and archive.member("byteorder", 16).decode(errors="replace") != sys.byteorder:
        raise UnpicklingError("it was written on a machine with another order of bytes")
    modules = archive.modules()
    scripted = bool(modules) or archive.has("constants.pkl")
    entries = read_pickle(BytesIO(archive.member("data.pkl", MOST_BYTES)), strange=scripted)
    if not scripted:
        return Contents(entries, "", archive)
    return Contents(dict(_state(entries, modules)), "\n".join(modules.values()), archive)


def _state(module: Any, sources: Mapping[str, str]) -> Iterator[tuple[str, StoredTensor]]:
    """Parameters and buffers of TorchScript's module by their names, as its `state_dict` would have them."""
    registered: dict[str, set[str]] = {}
    for dotted, text in sources.items():
        for name, *lists in _CLASS.findall(text):
            registered[f"{dotted}.{name}"] = set(re.findall(r'"([^"]+)"', " ".join(lists)))
    waiting, count = [("", module, 0)], 0
    while waiting:
        prefix, holder, depth = waiting.pop()
        count += 1
        if not isinstance(holder, Instance) or not isinstance(holder.state, dict):
            raise UnpicklingError(
                f"a module keeps its weights in a program of its own: {prefix or 'the outermost one'}"
            )
        if count > _MOST_MODULES or depth > _DEEPEST_MODULE:
            raise UnpicklingError("its modules are nested without end")
        own = registered.get(str(holder.name))
        for name, value in holder.state.items():
            if isinstance(value, Instance) and value.name.module.startswith("__torch__"):
                waiting.append((f"{prefix}{name}.", value, depth + 1))
            elif isinstance(value, StoredTensor) and (own is None or name in own):
                yield f"{prefix}{name}", value


def _read_pickles(file: BinaryIO) -> Contents:
    """Contents of a file in torch's format before 1.6: five pickles, then the numbers."""
    stream = BytesIO(file.read(MOST_BYTES))
    if read_pickle(stream) != _MAGIC or read_pickle(stream) != _PROTOCOL:
        raise UnpicklingError("it is no file of torch's")
    system = read_pickle(stream)
    if not isinstance(system, dict) or system.get("little_endian") is not (sys.byteorder == "little"):
        raise UnpicklingError("it was written on a machine with another order of bytes")
    storages: dict[str, Storage] = {}
    entries, keys = read_pickle(stream, storages=storages), read_pickle(stream)
    return Contents(entries, "", _Trailing(file, stream.tell(), keys, storages))


class _Trailing:
    """Storages one behind the other, each after the number of its elements in 8 bytes."""

    def __init__(self, file: BinaryIO, start: int, keys: Any, storages: Mapping[str, Storage]) -> None:
        self._file = file
        self._places: dict[str, tuple[int, int]] = {}
        length = file.seek(0, 2)
        for key in keys if isinstance(keys, list) else [None]:
            if not isinstance(key, str) or key not in storages or key in self._places:
                raise UnpicklingError("its list of storages is wrong")
            item = _ITEM_SIZES.get(storages[key].kind)
            if item is None:
                raise UnpicklingError("its list of storages is wrong")
            file.seek(start)
            size = int.from_bytes(file.read(8), "little") * item
            self._places[key] = start + 8, size
            start += 8 + size
            if start > length:
                raise UnpicklingError("it is cut short")

    def read(self, key: str) -> bytearray:
        if key not in self._places:
            raise UnpicklingError(f"its storage {key!r} is missing")
        start, size = self._places[key]
        self._file.seek(start)
        return bytearray(self._file.read(size))
