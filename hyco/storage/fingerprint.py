"""A short name for a set of facts, so that a file can say what it was made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from hashlib import sha256
from numbers import Integral, Real
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIGITS = 16


def fingerprint(facts: Mapping[str, Any]) -> str:
    """The first 16 hex digits of the SHA-256 of nested facts.

    Facts are mappings with text keys, sequences, dataclasses, text, paths, enums, numbers, booleans,
    None, and real arrays.  The order of a mapping does not count, nor the type of a number (1, 1.0 and
    np.float32(1) are the same fact) or of an array; every value, shape and nesting does.

    Raises TypeError for a fact of another type, naming where it stands.
    """
    digest = sha256()
    for part in _parts(facts, "facts"):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()[:DIGITS]


def _parts(fact: Any, where: str) -> Iterator[bytes]:
    """The canonical pieces of one fact; each container is opened by its kind and its length."""
    if isinstance(fact, Enum):
        yield from _parts(fact.value, where)
    elif fact is None or isinstance(fact, bool | np.bool_):
        yield f"constant {None if fact is None else bool(fact)}".encode()
    elif isinstance(fact, str | PurePath):
        yield f"text {fact}".encode()
    elif isinstance(fact, Real):
        yield _number(fact)
    elif isinstance(fact, np.ndarray):
        yield from _array(fact, where)
    elif isinstance(fact, Mapping):
        yield from _mapping(fact, where)
    elif is_dataclass(fact) and not isinstance(fact, type):
        yield from _mapping({f.name: getattr(fact, f.name) for f in fields(fact)}, where)
    elif isinstance(fact, list | tuple):
        yield f"sequence {len(fact)}".encode()
        for i, item in enumerate(fact):
            yield from _parts(item, f"{where}[{i}]")
    else:
        raise TypeError(f"{where}: a fingerprint takes plain facts, not {type(fact).__name__}: {fact!r}")


def _mapping(facts: Mapping[str, Any], where: str) -> Iterator[bytes]:
    """Keys in alphabetical order, each before its value."""
    for key in facts:
        if not isinstance(key, str):
            raise TypeError(f"{where}: a fingerprint takes text keys, not {key!r}")
    yield f"mapping {len(facts)}".encode()
    for key in sorted(facts):
        yield key.encode()
        yield from _parts(facts[key], f"{where}.{key}")


def _number(value: Any) -> bytes:
    """A number by its value: exact as an integer where it is one, else as the bits of its double."""
    if isinstance(value, Integral) or float(value).is_integer():
        return f"number {int(value)}".encode()
    return f"number {float(value).hex()}".encode()


def _array(array: NDArray[Any], where: str) -> Iterator[bytes]:
    """Shape and values of an array; one without dimensions is a number."""
    if array.ndim == 0:
        yield from _parts(array.item(), where)
        return
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{where}: a fingerprint takes real arrays, not {array.dtype}")
    kind = "mask" if array.dtype.kind == "b" else "array"
    yield f"{kind} {array.shape}".encode()
    if array.dtype.kind in "iu" and np.abs(array, dtype=object).max(initial=0) > 2**53:
        yield repr(array.tolist()).encode()
    else:
        yield (np.asarray(array, dtype="<f8", order="C") + 0.0).tobytes()
