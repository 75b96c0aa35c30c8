"""Reads pickles as data: plain values, numpy arrays and torch tensors are built, nothing is ever called.

Python's own unpickler imports and calls what a file names.  Here the file's instructions are decoded by
`pickletools`, and a small machine carries out those that build data.  A global name in a file is a mark, not
an object: `hyco.compat.pickled_data` knows the few that stand for data, and any other is refused by its name,
before anything behind it is even imported.

Shapes of PhiML, which its `math.save` pickles beside the numbers, become inert `Record`s of what they hold.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyco.compat.pickled_data import (
    ADMITTED,
    MOVED,
    RECORDS,
    STORAGES,
    Global,
    PendingArray,
    PendingType,
    Record,
    Refused,
    finish_array,
    finish_type,
    finished,
    ordered,
    shown,
)

__all__ = ["Record", "Refused", "read_pickle"]

Storages = Callable[[str, np.dtype[Any], int], NDArray[Any]]


def read_pickle(data: bytes, storages: Storages | None = None) -> Any:
    """The value that a pickle describes; `storages` brings the numbers of torch tensors, which lie beside it.

    Torch tensors come as numpy arrays.  Raises Refused, naming it, for whatever is no plain data, and
    ValueError for a pickle that is damaged.
    """
    try:
        return finished(_Machine(storages).run(data), {})
    except Refused:
        raise
    except MemoryError as error:
        raise ValueError("it describes more data than the memory holds") from error
    except Exception as error:  # a damaged pickle can put any value in any place
        raise ValueError(f"its pickle is damaged ({type(error).__name__}: {error})") from error


class _Machine:
    """Carries out the instructions of one pickle; a stack of values, marks on it, and a memo."""

    def __init__(self, storages: Storages | None) -> None:
        self.storages = storages
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        """The value on the stack at the end."""
        for instruction, argument, _ in pickletools.genops(data):
            name = instruction.name
            if name == "STOP":
                (value,) = self.stack
                return value
            if name in _LITERALS:
                self.stack.append(argument)
            elif name in _MAKERS:
                self.stack.append(_MAKERS[name](self))
            elif name in _DOERS:
                _DOERS[name](self, argument)
            elif name == "INST":
                raise Refused(f"it asks for {shown('.'.join(str(argument).split()))}")
            elif name not in ("PROTO", "FRAME"):
                raise Refused(f"it uses the pickle instruction {name}, which plain data does not need")
        raise ValueError("no end")

    def marked(self) -> list[Any]:
        """Take everything above the last mark."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def pop(self) -> Any:
        """Take the topmost value, which lies above the last mark."""
        if self.marks and self.marks[-1] == len(self.stack):
            raise ValueError("a value is missing")
        return self.stack.pop()

    def tuple(self, size: int) -> Any:
        """Take so many values."""
        return tuple(reversed([self.pop() for _ in range(size)]))

    def look_up(self, module: Any, name: Any) -> None:
        """Put the mark of an admitted global name."""
        found = Global(MOVED.get(module, module), name)
        if found not in ADMITTED and found not in RECORDS:
            raise Refused(f"it asks for {found}")
        self.stack.append(found)

    def call(self) -> None:
        """What a global makes of arguments, by this file's own function for it."""
        arguments, made = self.pop(), self.pop()
        if not isinstance(made, Global) or made not in ADMITTED:
            raise Refused(f"it calls {_named(made)}")
        if type(arguments) is not tuple:
            raise ValueError("arguments that are no tuple")
        self.stack.append(ADMITTED[made](*arguments))

    def record(self) -> None:
        """A new record, or an ordered dict."""
        arguments, made = self.pop(), self.pop()
        if made == Global("collections", "OrderedDict"):
            self.stack.append(ordered(*arguments))
        elif isinstance(made, Global) and made in RECORDS:
            self.stack.append(Record(made.name, arguments or None))
        else:
            raise Refused(f"it makes a new {_named(made)}")

    def build(self) -> None:
        """Fill in the content of what lies below it."""
        state, made = self.pop(), self.stack[-1]
        if isinstance(made, PendingType):
            finish_type(made, *state)
        elif isinstance(made, PendingArray):
            finish_array(made, *state)
        elif isinstance(made, Record):
            made.content = state
        elif (
            type(made) is not dict
        ):  # attributes of an ordered dict, such as a state_dict's versions, are left
            raise Refused(f"it sets attributes of {_named(made)}")

    def storage(self) -> None:
        """The numbers of a torch tensor: ("storage", its type, key, device, length)."""
        identity = self.pop()
        if self.storages is None or type(identity) is not tuple or identity[0] != "storage":
            raise Refused(f"it refers to {shown(identity)} outside of itself")
        _, kind, key, _, length = identity
        if not isinstance(kind, Global) or kind not in STORAGES:
            raise Refused(f"it asks for a storage of {_named(kind)}")
        self.stack.append(self.storages(str(key), np.dtype(STORAGES[kind]), int(length)))


def _named(made: Any) -> str:
    return str(made) if isinstance(made, Global) else f"a {type(made).__name__}"


_LITERALS = frozenset({
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
})  # fmt: skip
_MAKERS: Mapping[str, Callable[[_Machine], Any]] = {
    "NONE": lambda m: None,
    "NEWTRUE": lambda m: True,
    "NEWFALSE": lambda m: False,
    "EMPTY_LIST": lambda m: [],
    "EMPTY_TUPLE": lambda m: (),
    "EMPTY_DICT": lambda m: {},
    "EMPTY_SET": lambda m: set(),
    "LIST": lambda m: m.marked(),
    "TUPLE": lambda m: tuple(m.marked()),
    "DICT": lambda m: _pairs({}, m.marked()),
    "FROZENSET": lambda m: frozenset(m.marked()),
    "TUPLE1": lambda m: m.tuple(1),
    "TUPLE2": lambda m: m.tuple(2),
    "TUPLE3": lambda m: m.tuple(3),
    "DUP": lambda m: m.stack[-1],
}
_DOERS: Mapping[str, Callable[[_Machine, Any], Any]] = {
    "MARK": lambda m, _: m.marks.append(len(m.stack)),
    "POP": lambda m, _: m.pop(),
    "POP_MARK": lambda m, _: m.marked(),
    "APPEND": lambda m, _: _extend(m.stack, [m.pop()]),
    "APPENDS": lambda m, _: _extend(m.stack, m.marked()),
    "ADDITEMS": lambda m, _: _add(m.stack, m.marked()),
    "SETITEM": lambda m, _: _set(m.stack, list(m.tuple(2))),
    "SETITEMS": lambda m, _: _set(m.stack, m.marked()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), lambda m, at: m.memo.update({int(at): m.stack[-1]})),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda m, at: m.stack.append(m.memo[int(at)])),
    "MEMOIZE": lambda m, _: m.memo.update({len(m.memo): m.stack[-1]}),
    "GLOBAL": lambda m, text: m.look_up(*text.split(" ", 1)),
    "STACK_GLOBAL": lambda m, _: m.look_up(*m.tuple(2)),
    "REDUCE": lambda m, _: m.call(),
    "NEWOBJ": lambda m, _: m.record(),
    "BUILD": lambda m, _: m.build(),
    "BINPERSID": lambda m, _: m.storage(),
}


def _extend(stack: list[Any], items: list[Any]) -> None:
    if type(stack[-1]) is not list:
        raise ValueError(f"items for a {type(stack[-1]).__name__}")
    stack[-1].extend(items)


def _add(stack: list[Any], items: list[Any]) -> None:
    if type(stack[-1]) is not set:
        raise ValueError(f"members for a {type(stack[-1]).__name__}")
    stack[-1].update(items)


def _set(stack: list[Any], flat: list[Any]) -> None:
    if type(stack[-1]) is not dict:
        raise ValueError(f"keys for a {type(stack[-1]).__name__}")
    _pairs(stack[-1], flat)


def _pairs(target: dict[Any, Any], flat: list[Any]) -> dict[Any, Any]:
    target.update(zip(flat[::2], flat[1::2], strict=True))
    return target
