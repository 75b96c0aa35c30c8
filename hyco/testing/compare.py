"""Compares two results: what they are first, then their values, and names the place that differs most.

Results are snapshots (arrays with named dims), plain arrays and numbers, or mappings of those from names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyco.errors import did_you_mean
from hyco.interfaces import Arrays
from hyco.testing.tolerances import Tolerance, tolerance

Names = Mapping[str, Sequence[str]]


class Mismatch(AssertionError):
    """Two results that are not the same; the message says what differs, where, and by how much."""


@dataclass(frozen=True)
class Snapshot:
    """Values whose dims have names; `names` gives the item names along a dim, such as those of fields."""

    values: NDArray[Any]
    dims: tuple[str, ...]
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.values.ndim != len(self.dims) or len(set(self.dims)) != len(self.dims):
            raise ValueError(
                f"expected one name per dim, got {self.dims} for an array of {self.values.shape}"
            )
        for dim, items in self.names.items():
            if dim not in self.dims:
                raise ValueError(
                    f"names along {dim!r}, but the dims are {self.dims}. {did_you_mean(dim, self.dims)}"
                )
            if len(items) != self.values.shape[self.dims.index(dim)]:
                raise ValueError(
                    f"{len(items)} names along {dim!r} for an array of shape {self.values.shape}"
                )

    def place(self, index: Sequence[int]) -> str:
        """An index in words: `batch=0, field=velocity_x, x=3`."""
        named = [
            (d, self.names[d][i] if d in self.names else i) for d, i in zip(self.dims, index, strict=True)
        ]
        return ", ".join(f"{dim}={item}" for dim, item in named) or "the only value"


Comparable = Snapshot | NDArray[Any] | float | Sequence[float]


def snapshot(
    tensor: Any, dims: Sequence[str] = (), *, arrays: Arrays | None = None, names: Names | None = None
) -> Snapshot:
    """A copy of a tensor's values, with the names of its dims in numpy order.

    Args:
        tensor: native to the mode of `arrays`; without it, anything that numpy takes.
        dims: of a state `("batch", "field", "x", "y")`, of a trajectory with `time` after `field`.
        names: item names along dims: `{"field": layout.components}`.

    Raises ValueError when dims or names do not fit the values.
    """
    values = np.asarray(tensor) if arrays is None else arrays.numpy(tensor)
    items = {dim: tuple(given) for dim, given in (names or {}).items()}
    return Snapshot(np.array(values), tuple(dims), items)


@dataclass(frozen=True)
class Difference:
    """How far apart two results are where they differ most, and how far they may be.

    Args:
        label: the quantity, and the entry of it that differs most.
        error, place: max |candidate - reference| of that entry, and where it is.
        scale: max |reference| of that entry.
        allowed: what the table allows there.
    """

    label: str
    error: float
    place: str
    scale: float
    allowed: float

    @property
    def relative(self) -> float:
        """The error as a share of the largest value of the reference."""
        return self.error / self.scale if self.scale else self.error

    @property
    def passed(self) -> bool:
        """Whether the error is allowed."""
        return self.error <= self.allowed


def measure(
    reference: Comparable | Mapping[str, Comparable],
    candidate: Comparable | Mapping[str, Comparable],
    quantity: str,
    *,
    precision: str | None = None,
    tolerated: Tolerance | None = None,
    informative: bool = True,
) -> Difference:
    """The largest difference of two results, as a share of what is allowed.

    Args:
        reference, candidate, quantity, precision: as of `assert_equivalent`.
        tolerated: instead of the row of the table.
        informative: False takes a reference that is constant or not finite too; values that are not finite
            must then be the same.

    Raises Mismatch when the results are not of a kind.
    """
    pairs = _pairs(reference, candidate, quantity, informative=informative)
    found = [
        _difference(
            _label(quantity, name), a, b, tolerated or tolerance(quantity, precision or _precision(a))
        )
        for name, (a, b) in pairs.items()
    ]
    return max(found, key=lambda d: (not d.passed, d.error / d.allowed if d.allowed else d.error))


def assert_equivalent(
    reference: Comparable | Mapping[str, Comparable],
    candidate: Comparable | Mapping[str, Comparable],
    quantity: str,
    *,
    precision: str | None = None,
) -> None:
    """Raise Mismatch unless both results have the same dims, names, shapes and dtypes, and the same values.

        max |candidate - reference| <= atol + rtol max |reference|        for every entry of a mapping

    The reference must be finite and not constant (one number: not 0), or the comparison would show
    nothing; of a mapping, this is asked of all entries together.  Integers and booleans must be equal.

    Args:
        quantity: a row of `hyco.testing.TOLERANCES`.
        precision: the column; by default the dtype of the reference.
    """
    for name, (expected, found) in _pairs(reference, candidate, quantity).items():
        tolerated = tolerance(quantity, precision or _precision(expected))
        difference = _difference(_label(quantity, name), expected, found, tolerated)
        if not difference.passed:
            raise Mismatch(_complaint(difference, expected, found, tolerated))


def _pairs(
    reference: Comparable | Mapping[str, Comparable],
    candidate: Comparable | Mapping[str, Comparable],
    quantity: str,
    *,
    informative: bool = True,
) -> dict[str, tuple[Snapshot, Snapshot]]:
    """The entries of both results, which are of a kind; the reference says something, if it must."""
    expected, found = _entries(reference), _entries(candidate)
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    if missing or unexpected:
        raise Mismatch(f"{quantity}: missing entries {missing}, unexpected ones {unexpected}")
    for name, entry in expected.items():
        _check_kind(_label(quantity, name), entry, found[name])
    if informative:
        _check_informative(quantity, list(expected.values()))
    return {name: (entry, found[name]) for name, entry in expected.items()}


def _entries(result: Comparable | Mapping[str, Comparable]) -> dict[str, Snapshot]:
    if isinstance(result, Mapping):
        return {name: _entry(value) for name, value in result.items()}
    return {"": _entry(result)}


def _entry(value: Comparable) -> Snapshot:
    if isinstance(value, Snapshot):
        return value
    array = np.asarray(value)
    return Snapshot(array, tuple(f"dim {i}" for i in range(array.ndim)))


def _label(quantity: str, name: str) -> str:
    return f"{quantity} of {name}" if name else quantity


def _precision(entry: Snapshot) -> str:
    return entry.values.dtype.name if entry.values.dtype.kind == "f" else "float64"


def _check_kind(label: str, a: Snapshot, b: Snapshot) -> None:
    """Dims, names, shape and dtype, before any number."""
    pairs = (
        ("dims", a.dims, b.dims),
        ("names", dict(a.names), dict(b.names)),
        ("shape", a.values.shape, b.values.shape),
        ("dtype", a.values.dtype.name, b.values.dtype.name),
    )
    for what, expected, found in pairs:
        if expected != found:
            raise Mismatch(f"{label}: expected {what} {expected}, found {found}")


def _check_informative(quantity: str, references: Sequence[Snapshot]) -> None:
    """Refuse a reference with which any comparison would pass, or fail, for nothing."""
    values = np.concatenate([r.values.ravel().astype(np.float64) for r in references])
    if not values.size:
        raise Mismatch(f"{quantity}: the reference is empty")
    if not np.all(np.isfinite(values)):
        raise Mismatch(f"{quantity}: the reference is not finite in {np.sum(~np.isfinite(values))} places")
    if np.all(values == (values[0] if values.size > 1 else 0.0)):
        raise Mismatch(f"{quantity}: the reference is {values[0]:g} everywhere, so nothing would be compared")


def _difference(label: str, a: Snapshot, b: Snapshot, tolerated: Tolerance) -> Difference:
    if not a.values.size:
        return Difference(label, 0.0, "nowhere", 0.0, 0.0)
    reference, error = np.abs(np.asarray(a.values, dtype=np.float64)), _errors(a, b)
    scale = float(np.max(reference, where=np.isfinite(reference), initial=0.0))
    allowed = tolerated.atol + tolerated.rtol * scale if a.values.dtype.kind == "f" else 0.0
    index = np.unravel_index(int(np.argmax(error)), error.shape)
    return Difference(label, float(error[index]), a.place([int(i) for i in index]), scale, allowed)


def _errors(a: Snapshot, b: Snapshot) -> NDArray[np.float64]:
    """Absolute differences; what is not finite differs by infinity from all but its like."""
    reference, candidate = (np.asarray(s.values, dtype=np.float64) for s in (a, b))
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        error = np.abs(candidate - reference)
    alike = (candidate == reference) | (np.isnan(candidate) & np.isnan(reference))
    return np.where(alike, 0.0, np.where(np.isfinite(error), error, np.inf))


def _complaint(difference: Difference, a: Snapshot, b: Snapshot, tolerated: Tolerance) -> str:
    error = _errors(a, b)
    index = np.unravel_index(int(np.argmax(error)), error.shape)
    exact = a.values.dtype.kind != "f"
    rule = "" if exact else f" ({tolerated})"
    return (
        f"{difference.label}: max |a - b| = {difference.error:.3e} at {difference.place}, where the "
        f"reference is {a.values[index]:.9g} and the candidate {b.values[index]:.9g}; allowed "
        f"{difference.allowed:.3e}{rule}; {np.sum(error > difference.allowed)} of {error.size} values are off"
    )
