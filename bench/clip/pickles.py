"""Take a pickle apart without executing it: what would be a class or a function stays a name.

`pickletools` names the operations; the few that containers and tensors are made of are carried out here on plain
values. Nothing that a file names is ever imported, looked up or called, so no file can run anything.
"""

import math
import pickletools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pickle import UnpicklingError
from typing import Any

MOST_BYTES = 2**24
"""Of one pickle. State dicts describe each tensor in some 250 bytes and keep its numbers elsewhere."""

_MOST_OPERATIONS = 500_000
_SCALARS = (str, int, float, bytes, type(None))  # hashing a nested tuple could exhaust the C stack


@dataclass(frozen=True)
class Name:
    """A class or function that a pickle names."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass
class Instance:
    """What a class or function that is not known here would have made: nothing but a holder of what was handed to it.

    Attributes:
        name: The class or function.
        arguments: Of the call that was not made.
        state: What its attributes would have been set to, None where nothing was.
    """

    name: Name
    arguments: tuple[Any, ...]
    state: Any = None


@dataclass(frozen=True)
class Storage:
    """Numbers that lie outside the pickle.

    Attributes:
        kind: The name of torch's class, such as FloatStorage.
        key: By which the file knows it.
        count: Of its elements, bytes for an UntypedStorage.
    """

    kind: str
    key: str
    count: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor whose numbers were not read yet; nothing about it was checked.

    Attributes:
        storage: Where its numbers are.
        kind: The name of its dtype where the storage does not tell it, or of what makes the tensor unusable.
        offset: Of its first element in its storage, in elements.
        size: Its shape.
        stride: By dimension, in elements.
    """

    storage: Storage | None
    kind: str | None = None
    offset: Any = 0
    size: Any = ()
    stride: Any = ()


_INERT = frozenset(
    {
        *("_codecs.encode", "argparse.Namespace", "builtins.bytearray", "builtins.set", "collections.Counter"),
        *("collections.defaultdict", "pathlib.PosixPath", "pathlib.WindowsPath", "torch.Size", "torch.device"),
        *("numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "__builtin__.set"),
    }
)
"""What checkpoints may have beside their weights; it is not made either."""


def make(function: Name, arguments: tuple[Any, ...], *, strange: bool) -> Any:
    """The value of a call, without making it.

    Args:
        function: What the pickle calls.
        arguments: What it hands over.
        strange: Whether classes and functions that are not known here become instances.

    Raises:
        UnpicklingError: They do not, and this is one.
    """
    called = str(function)
    if called == "collections.OrderedDict":
        return dict(_pairs(arguments[0])) if arguments else {}
    if function.module in ("torch._utils", "torch._tensor"):
        match function.name, arguments:
            case "_rebuild_tensor" | "_rebuild_tensor_v2", (Storage() as storage, offset, size, stride, *rest):
                return StoredTensor(storage, "conjugate" if any(rest[2:]) else None, offset, size, stride)
            case "_rebuild_tensor_v3", (Storage() as storage, offset, size, stride, _, _, Name() as dtype, *_):
                return StoredTensor(storage, dtype.name, offset, size, stride)
            case "_rebuild_parameter" | "_rebuild_parameter_with_state", (tensor, *_):
                return tensor
            case "_rebuild_from_type_v2", (Name() as inner, _, tuple() as own, *_):
                return make(inner, own, strange=strange)
        if function.name.startswith("_rebuild_"):
            return StoredTensor(None, function.name.removeprefix("_rebuild_").replace("_", " "))
    if strange or called in _INERT:
        return Instance(function, arguments)
    raise UnpicklingError(f"it calls {called}")


def _pairs(items: Any) -> Iterator[tuple[Any, Any]]:
    for key, value in items:
        yield _key(key), value


def _key(key: Any) -> Any:
    if isinstance(key, _SCALARS) or (isinstance(key, tuple) and all(isinstance(part, _SCALARS) for part in key)):
        return key
    raise UnpicklingError(f"a key is a {type(key).__name__}")


def _storage(identity: Any) -> Storage:
    match identity:
        case ("storage", Name(module="torch" | "torch.storage") as kind, str() as key, _, int() as count, *views):
            if not any(views) and count >= 0:
                return Storage(kind.name, key, count)
    raise UnpicklingError("it refers to something that is no storage")


@dataclass
class _Machine:
    """The stack that pickles are written for."""

    strange: bool
    storages: dict[str, Storage]
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def since_mark(self) -> list[Any]:
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def pop(self, count: int) -> tuple[Any, ...]:
        if len(self.stack) < count:
            raise UnpicklingError("its stack is empty")
        values = tuple(self.stack[-count:])
        del self.stack[-count:]
        return values

    def call(self, function: Any, arguments: Any) -> None:
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise UnpicklingError("it calls what is no function")
        self.push(make(function, arguments, strange=self.strange))

    def put(self, values: list[Any]) -> None:
        """Pairs into a mapping; what is only a holder has none."""
        if isinstance(target := self.stack[-1], dict):
            target.update(_pairs(zip(values[::2], values[1::2], strict=True)))

    def append(self, values: list[Any]) -> None:
        if isinstance(target := self.stack[-1], list):
            target.extend(values)

    def refer(self, identity: Any) -> None:
        storage = _storage(identity)
        self.storages[storage.key] = storage
        self.push(storage)

    def build(self, _: Any) -> None:
        (state,) = self.pop(1)
        if isinstance(target := self.stack[-1], Instance):
            target.state = state


_Operation = Callable[[_Machine, Any], None]
_PUSHED: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_TUPLE": tuple, "EMPTY_LIST": list,
    "EMPTY_DICT": dict, "EMPTY_SET": list,
}  # fmt: skip
_LITERALS = (
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BINSTRING", "SHORT_BINSTRING"),
)
_OPERATIONS: dict[str, _Operation] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "POP": lambda machine, _: _ignore(machine.pop(1)),
    "POP_MARK": lambda machine, _: _ignore(machine.since_mark()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.push(machine.pop(1)),
    "TUPLE2": lambda machine, _: machine.push(machine.pop(2)),
    "TUPLE3": lambda machine, _: machine.push(machine.pop(3)),
    "BINPUT": lambda machine, place: machine.memo.update({place: machine.stack[-1]}),
    "LONG_BINPUT": lambda machine, place: machine.memo.update({place: machine.stack[-1]}),
    "MEMOIZE": lambda machine, _: machine.memo.update({len(machine.memo): machine.stack[-1]}),
    "BINGET": lambda machine, place: machine.push(machine.memo[place]),
    "LONG_BINGET": lambda machine, place: machine.push(machine.memo[place]),
    "SETITEM": lambda machine, _: machine.put(list(machine.pop(2))),
    "SETITEMS": lambda machine, _: machine.put(machine.since_mark()),
    "APPEND": lambda machine, _: machine.append(list(machine.pop(1))),
    "APPENDS": lambda machine, _: machine.append(machine.since_mark()),
    "ADDITEMS": lambda machine, _: machine.append(machine.since_mark()),
    "FROZENSET": lambda machine, _: machine.push(machine.since_mark()),
    "GLOBAL": lambda machine, text: machine.push(Name(*text.split(" ", 1))),
    "STACK_GLOBAL": lambda machine, _: machine.push(Name(*(str(part) for part in machine.pop(2)))),
    "BINPERSID": lambda machine, _: machine.refer(*machine.pop(1)),
    "REDUCE": lambda machine, _: machine.call(*machine.pop(2)),
    "NEWOBJ": lambda machine, _: machine.call(*machine.pop(2)),
    "BUILD": _Machine.build,
}


def _ignore(_: Any) -> None:
    pass


def read_pickle(stream: BytesIO, *, strange: bool = False, storages: dict[str, Storage] | None = None) -> Any:
    """The value of one pickle, made of dicts, lists, tuples, scalars and the classes of this module.

    Args:
        stream: Left behind the pickle's end.
        strange: As for `make`.
        storages: Filled with what the pickle refers to, by key.

    Returns:
        Sets come as lists, an OrderedDict as a dict.

    Raises:
        UnpicklingError: The pickle would call something that is not known, is damaged, or is too long.
    """
    machine = _Machine(strange, {} if storages is None else storages)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            name = opcode.name
            if count > _MOST_OPERATIONS:
                raise UnpicklingError("it is too long for a description of weights")
            if name == "STOP":
                (value,) = machine.pop(1)
                return value
            if name in _PUSHED:
                machine.push(_PUSHED[name]())
            elif name in _LITERALS:
                machine.push(argument)
            elif name in _OPERATIONS:
                _OPERATIONS[name](machine, argument)
            else:
                raise UnpicklingError(f"its operation {name} belongs to no description of weights")
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise UnpicklingError(f"it is damaged: {error}") from None
    raise UnpicklingError("it is cut short")


def elements(size: Any) -> int:
    """How many elements a shape has.

    Raises:
        UnpicklingError: It is no shape.
    """
    if not isinstance(size, tuple) or len(size) > 16 or not all(type(n) is int and 0 <= n < 2**48 for n in size):
        raise UnpicklingError("a shape or stride is none")
    return math.prod(size)
