"""What torch.save writes of plain values and tensors, read back step by step: nothing can be called from it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

# A training of 10,000 epochs has two million; what asks for more is made to fill the memory.
MOST_STEPS = 4_000_000
MOST_DEPTH = 40
LONGEST_TEXT = 1_000_000

# What a file may name. Neither is looked up or called: they only say what the values that follow are.
_TENSOR, _DICT = object(), object()
_STORAGES = {
    f"{name}Storage": dtype
    for name, dtype in {
        **{"Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16},
        **{"Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8},
        **{"Byte": torch.uint8, "Bool": torch.bool},
    }.items()
}
_NAMES = {
    ("torch._utils", "_rebuild_tensor_v2"): _TENSOR,
    ("collections", "OrderedDict"): _DICT,
    **{("torch", name): dtype for name, dtype in _STORAGES.items()},
}


class ForeignError(ValueError):
    """The file names something that is neither a plain value nor a tensor: code, or another program's object."""


class Storage(NamedTuple):
    """Numbers that lie in a member of their own: its name, their kind and how many they are."""

    key: str
    dtype: torch.dtype
    numbers: int


class StoredTensor(NamedTuple):
    """A tensor whose numbers lie in a storage; `offset` and `stride` count numbers, not bytes."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def read_pickle(data: bytes) -> object:
    """Give what the pickle describes, with a `StoredTensor` for each tensor; what is wrong raises ValueError."""
    reader = _Reader(data)
    try:
        for _ in range(MOST_STEPS):
            code = data[reader.at]
            reader.at += 1
            if code == 0x2E:  # its end
                return reader.stack.pop()
            _STEPS[code](reader)
    except ForeignError:
        raise
    except (IndexError, KeyError, TypeError, AttributeError, ValueError, struct.error) as error:
        raise ValueError("it breaks off, or is no description of plain values") from error
    raise ValueError(f"it describes more than {MOST_STEPS:,} values")


class _Reader:
    """A stack of values, the marks on it and the memo: all that a pickle needs."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def number(self, form: str) -> Any:
        (value,) = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return value

    def bytes(self, count: int) -> bytes:
        piece = self.data[self.at : self.at + count]
        self.at += count
        return piece

    def push(self, value: object) -> None:
        self.stack.append(value)

    def since_mark(self) -> list[Any]:
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def last(self, count: int) -> tuple[Any, ...]:
        values = tuple(self.stack[-count:])
        del self.stack[-count:]
        return values

    def line(self) -> str:
        end = self.data.index(b"\n", self.at)
        return self.bytes(end + 1 - self.at)[:-1].decode("ascii")

    def name(self) -> None:
        named = self.line(), self.line()
        if named not in _NAMES:
            raise ForeignError
        self.push(_NAMES[named])

    def storage(self) -> None:
        kind, dtype, key, _place, count = self.stack.pop()
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise ForeignError
        self.push(Storage(key, dtype, count))

    def reduce(self) -> None:
        what, values = self.last(2)
        if what is _TENSOR:
            self.push(StoredTensor(*values[:4]))
        elif what is _DICT and values == ():
            self.push({})
        else:
            raise ForeignError

    def text(self) -> None:
        # Lone halves of characters are let through here, and told when the values are looked at.
        self.push(self.bytes(self.number("<I")).decode("utf-8", "surrogatepass"))

    def set_items(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict:
            raise ForeignError
        target.update(zip(values[::2], values[1::2], strict=True))

    def append(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise ForeignError
        target.extend(values)


_STEPS: dict[int, Callable[[_Reader], object]] = {
    code[0]: step
    for code, step in {
        b"\x80": lambda r: r.number("<B"),  # the protocol
        b"c": _Reader.name,
        b"Q": _Reader.storage,
        b"R": _Reader.reduce,
        b"b": lambda r: r.stack.pop(),  # what else an OrderedDict carries, which is not needed
        b"q": lambda r: r.memo.__setitem__(r.number("<B"), r.stack[-1]),
        b"r": lambda r: r.memo.__setitem__(r.number("<I"), r.stack[-1]),
        b"h": lambda r: r.push(r.memo[r.number("<B")]),
        b"j": lambda r: r.push(r.memo[r.number("<I")]),
        b"N": lambda r: r.push(None),
        b"\x88": lambda r: r.push(True),
        b"\x89": lambda r: r.push(False),
        b"K": lambda r: r.push(r.number("<B")),
        b"M": lambda r: r.push(r.number("<H")),
        b"J": lambda r: r.push(r.number("<i")),
        b"\x8a": lambda r: r.push(int.from_bytes(r.bytes(r.number("<B")), "little", signed=True)),
        b"G": lambda r: r.push(r.number(">d")),
        b"X": _Reader.text,
        b"(": lambda r: r.marks.append(len(r.stack)),
        b")": lambda r: r.push(()),
        b"t": lambda r: r.push(tuple(r.since_mark())),
        b"\x85": lambda r: r.push(r.last(1)),
        b"\x86": lambda r: r.push(r.last(2)),
        b"\x87": lambda r: r.push(r.last(3)),
        b"]": lambda r: r.push([]),
        b"a": lambda r: r.append(r.last(1)),
        b"e": lambda r: r.append(r.since_mark()),
        b"}": lambda r: r.push({}),
        b"s": lambda r: r.set_items(r.last(2)),
        b"u": lambda r: r.set_items(r.since_mark()),
    }.items()
}


def plain_values(value: object, tensor: Callable[[StoredTensor], Any], *, header_bytes: int) -> Any:
    """Copy nested dictionaries, lists, tuples and single values, each tensor as `tensor` gives it.

    Anything else raises ValueError with the reason in words, as do texts, numbers and nesting that no training has,
    and lists that hold each other so often that they are far more than the `header_bytes` that describe them.
    """
    left = min(MOST_STEPS, 50_000 + 20 * header_bytes)

    def copied(value: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if depth > MOST_DEPTH or left < 0:
            raise ValueError("its values lie within each other without an end")
        kind = type(value)
        if kind is StoredTensor:
            return tensor(value)
        if kind is dict:
            return {_single(key): copied(one, depth + 1) for key, one in value.items()}
        if kind in (list, tuple):
            return kind([copied(one, depth + 1) for one in value])
        return _single(value)

    return copied(value, 0)


def _single(value: Any) -> Any:
    """Give a single value if it is of a kind that is stored and can be shown."""
    if isinstance(value, str):
        if len(value) > LONGEST_TEXT:
            raise ValueError(f"it holds a text of {len(value):,} characters")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"it holds {value[:40]!a}, which is no text that can be shown") from None
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise ValueError(f"it holds a whole number of {value.bit_length()} bits")
    elif value is not None and type(value) is not float:
        raise ValueError("it holds something that is neither a number nor a text")
    return value
