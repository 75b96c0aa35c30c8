"""The data that pickles may describe: containers, numbers, text, numpy arrays, torch tensors, records.

`ADMITTED` maps the few global names that stand for data to functions of this file.  What is still incomplete
while a pickle is read, because its content comes later, becomes its last form in `finished`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Refused(ValueError):
    """A pickle that asks for more than data; the message says for what."""


class Global(NamedTuple):
    """The mark that stands for a global name."""

    module: str
    name: str

    def __str__(self) -> str:
        return shown(f"{self.module}.{self.name}")


def shown(text: Any) -> str:
    """What a file says, short and harmless to print."""
    plain = str(text) if isinstance(text, str) and text.isprintable() else ascii(text)
    return plain if len(plain) <= 100 else f"{plain[:96]} ..."


@dataclass(eq=False)
class Record:
    """What a pickle says of an object of a class that is known to be a mere record: its name and content."""

    name: str
    content: Any = None


@dataclass(eq=False)
class PendingType:
    """A numpy dtype; its byte order comes after it."""

    dtype: np.dtype[Any]


@dataclass(eq=False)
class PendingArray:
    """A numpy array, whose content comes after it: values, or the items of an array of objects."""

    values: NDArray[Any] | None = None
    items: list[Any] = field(default_factory=list)


def ordered(items: Any = ()) -> dict[Any, Any]:
    """An ordered dict, as every dict is one."""
    return dict(items)


def _encoded(text: str, encoding: str = "latin1") -> bytes:
    """Bytes, as protocol 2 spells them."""
    if encoding not in ("latin1", "latin-1"):
        raise Refused(f"it encodes text as {shown(encoding)}")
    return text.encode("latin1")


def _dtype(kind: str, *_: Any) -> PendingType:
    """Numbers, truth values, text of fixed length, or references to objects: no structures, no times."""
    if not isinstance(kind, str) or not re.fullmatch(r"[<>|=]?([biufc]\d{1,2}|[SU]\d{1,6}|O8?)", kind):
        raise Refused(f"it asks for a numpy array of {shown(kind)}")
    return PendingType(np.dtype(kind))


def finish_type(made: PendingType, version: int, order: Literal["<", ">", "|", "="], *rest: Any) -> None:
    """Put the byte order into a type; refuses one with parts."""
    subtype, names, fields = rest[:3]
    if subtype is not None or names is not None or fields is not None or order not in ("<", ">", "|", "="):
        raise Refused("it asks for a structured numpy array")
    if made.dtype.kind != "O" and order in ("<", ">"):
        made.dtype = made.dtype.newbyteorder(order)


def _values(raw: Any, kind: Any, shape: Any, order: Literal["C", "F"]) -> NDArray[Any]:
    """The array of raw bytes."""
    data = raw.encode("latin1") if isinstance(raw, str) else raw
    plain = isinstance(kind, PendingType) and kind.dtype.kind != "O"
    if not plain or not isinstance(data, (bytes, bytearray)):
        raise ValueError("an array without raw values or type")
    return np.frombuffer(data, kind.dtype).reshape(shape, order=order).copy()


def finish_array(made: PendingArray, version: int, shape: Any, kind: Any, fortran: bool, raw: Any) -> None:
    """Put the content into an array."""
    if not isinstance(kind, PendingType) or kind.dtype.kind != "O":
        made.values = _values(raw, kind, shape, "F" if fortran else "C")
    elif type(raw) is not list or len(raw) != prod(shape):
        raise ValueError("an array of another number of items")
    else:
        made.values, made.items = np.empty(shape, object), raw


def _scalar(kind: Any, raw: Any) -> Any:
    return _values(raw, kind, (1,), "C")[0]


def _from_buffer(raw: Any, kind: Any, shape: Any, order: str) -> PendingArray:
    return PendingArray(_values(raw, kind, shape, "F" if order == "F" else "C"))


def _refused(mark: Global) -> Callable[..., Any]:
    def refuse(*_: Any) -> Any:
        raise Refused(f"it calls {mark}")

    return refuse


def _tensor(storage: Any, offset: int, shape: Any, strides: Any, *_: Any) -> NDArray[Any]:
    """The part of a storage that a torch tensor shows, copied."""
    sizes, steps = [int(n) for n in shape], [int(s) for s in strides]
    if not isinstance(storage, np.ndarray) or storage.ndim != 1 or len(sizes) != len(steps):
        raise ValueError("a tensor without a storage")
    last = offset + sum((n - 1) * s for n, s in zip(sizes, steps, strict=True))
    empty = 0 in sizes
    if min([offset, *sizes, *steps]) < 0 or not (empty or last < storage.size):
        raise ValueError("a tensor beyond its storage")
    if prod(sizes) > storage.size:
        raise Refused("it describes a tensor that repeats its storage")
    if empty:
        return np.empty(sizes, storage.dtype)
    width = storage.itemsize
    return np.lib.stride_tricks.as_strided(storage[offset:], sizes, [s * width for s in steps]).copy()


MOVED = {
    "__builtin__": "builtins",
    "numpy.core.multiarray": "numpy._core.multiarray",
    "numpy.core.numeric": "numpy._core.numeric",
}
STORAGES = {
    Global("torch", f"{name}Storage"): kind
    for name, kind in (
        *(("Float", "f4"), ("Double", "f8"), ("Half", "f2"), ("Long", "i8"), ("Int", "i4"), ("Short", "i2")),
        *(("Char", "i1"), ("Byte", "u1"), ("Bool", "?"), ("ComplexFloat", "c8"), ("ComplexDouble", "c16")),
    )
}
RECORDS = frozenset(
    Global("phiml.math._shape", n) for n in ("Dim", "PureShape", "MixedShape", "EmptyShape", "Shape")
)
ADMITTED: Mapping[Global, Callable[..., Any]] = {
    Global("collections", "OrderedDict"): ordered,
    Global("builtins", "set"): lambda items=(): set(items),
    Global("builtins", "frozenset"): lambda items=(): frozenset(items),
    Global("builtins", "bytes"): lambda: b"",  # as protocols below 3 spell it
    Global("builtins", "bytearray"): lambda raw=b"", *encoding: bytearray(
        _encoded(raw, *encoding) if isinstance(raw, str) else memoryview(raw)
    ),
    Global("builtins", "complex"): lambda real, imaginary=0.0: complex(float(real), float(imaginary)),
    Global("_codecs", "encode"): _encoded,
    Global("numpy", "dtype"): _dtype,
    Global("numpy", "ndarray"): _refused(Global("numpy", "ndarray")),
    Global("numpy._core.multiarray", "_reconstruct"): lambda *_: PendingArray(),
    Global("numpy._core.multiarray", "scalar"): _scalar,
    Global("numpy._core.numeric", "_frombuffer"): _from_buffer,
    Global("torch._utils", "_rebuild_tensor_v2"): _tensor,
    Global("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
    **{mark: _refused(mark) for mark in STORAGES},
}


def finished(value: Any, known: dict[int, Any]) -> Any:
    """The value with arrays, types and records in their last form; refuses whatever is no data.

    `known`: what is finished already, by identity; None while it is being finished.
    """
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, bytearray, np.generic)):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind != "O":
        return value
    if isinstance(value, PendingType):
        return value.dtype
    if isinstance(value, Global):
        raise Refused(f"it holds {value} as a value")
    if id(value) in known:
        if known[id(value)] is None:
            raise Refused("it holds a value that contains itself")
        return known[id(value)]
    known[id(value)] = None
    known[id(value)] = _FINISH[type(value)](value, lambda part: finished(part, known))
    return known[id(value)]


def _finished_array(made: PendingArray, finish: Callable[[Any], Any]) -> NDArray[Any]:
    if made.values is None:
        raise ValueError("an array without values")
    if made.values.dtype.kind != "O":
        return made.values
    flat = np.empty(len(made.items), object)
    for i, item in enumerate(made.items):
        flat[i] = finish(item)
    return flat.reshape(made.values.shape)  # numpy lists objects row by row, whatever the order in memory


_FINISH: Mapping[type, Callable[[Any, Callable[[Any], Any]], Any]] = {
    list: lambda v, finish: [finish(part) for part in v],
    tuple: lambda v, finish: tuple(finish(part) for part in v),
    set: lambda v, finish: {finish(part) for part in v},
    frozenset: lambda v, finish: frozenset(finish(part) for part in v),
    dict: lambda v, finish: {finish(k): finish(part) for k, part in v.items()},
    Record: lambda v, finish: Record(v.name, finish(v.content)),
    PendingArray: _finished_array,
}
