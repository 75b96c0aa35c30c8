"""What a file of a published dataset holds: variables, what their dims are, coordinates, facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from hyco.errors import DataError

SAMPLE, TIME, COMPONENT, SINGLE = "sample", "time", "component", "single"


class Place(NamedTuple):
    """Where one trajectory is in a file: below which group, and at which entry of the dim `sample`."""

    group: str
    sample: int


@dataclass(frozen=True)
class Variable:
    """One quantity in a file.

    Args:
        dataset: its path in the file.
        dims: what each of its dims is, in stored order: `sample`, `time`, an axis, `component`, or `single`,
            which stands for an axis along which it does not vary.
        shape: their sizes.
    """

    dataset: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]

    @property
    def components(self) -> tuple[int, ...]:
        """How many components it has: () for a scalar, (2,) for a vector, (2, 2) for a tensor."""
        return tuple(n for d, n in zip(self.dims, self.shape, strict=True) if d == COMPONENT)

    @property
    def varies(self) -> bool:
        """Whether it varies in time."""
        return TIME in self.dims

    def size(self, dim: str) -> int | None:
        """The size of a dim; None where it does not vary along it."""
        return self.shape[self.dims.index(dim)] if dim in self.dims else None

    def read(self, file: h5py.File, index: int, frames: slice, axes: tuple[str, ...]) -> NDArray[Any]:
        """Some frames of one trajectory, (*components, time, *space), all but these left on the disk.

        A dim along which the variable does not vary has the size 1.
        """
        chosen = {SAMPLE: index, TIME: frames, SINGLE: 0}
        if file[self.dataset].dtype.kind not in "fiub":
            raise DataError(f"expected real numbers in {self.dataset}, found {file[self.dataset].dtype}")
        values = file[self.dataset][tuple(chosen.get(dim, slice(None)) for dim in self.dims)]
        rest = [dim for dim in self.dims if dim not in (SAMPLE, SINGLE)]
        places = [i for i, dim in enumerate(rest) if dim == COMPONENT]
        places += [rest.index(dim) for dim in (TIME, *axes) if dim in rest]
        ordered = np.transpose(values, places)
        first = len(self.components)
        missing = [first + i for i, dim in enumerate((TIME, *axes)) if dim not in rest]
        return np.expand_dims(ordered, tuple(missing))


@dataclass(frozen=True)
class Contents:
    """What is said of a trajectory without its values.

    Args:
        variables: by name.
        strange: shapes of datasets that are no variable on a grid of this rank, by name.
        coordinates: by axis, (cells,); an axis whose coordinates are not recorded is left out.
        times: (frames,), or one more; None where they are not recorded.
        periodic: by axis; an axis of which nothing is said is left out.
        parameters: numbers that are said of it, for the reader of the log.
        own_times: whether every trajectory of the file has times of its own.
    """

    variables: Mapping[str, Variable]
    strange: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    coordinates: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    times: NDArray[np.float64] | None = None
    periodic: Mapping[str, bool] = field(default_factory=dict)
    parameters: Mapping[str, float] = field(default_factory=dict)
    own_times: bool = False


def text(value: Any) -> str:
    """The text of an attribute."""
    return value.decode() if isinstance(value, bytes) else str(value)


def numbers_of(item: h5py.HLObject) -> dict[str, float]:
    """The attributes that are one number each."""
    return {
        name: float(value)
        for name, value in item.attrs.items()
        if np.ndim(value) == 0 and np.asarray(value).dtype.kind in "fiu"
    }
