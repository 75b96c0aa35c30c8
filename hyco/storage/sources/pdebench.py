"""The layouts of PDEBench (Takamoto et al., 2022): one file of all samples, or one group per seed.

    tensor (sample, time, x[, y[, z]])          x-coordinate (x), ..., t-coordinate (time, or one more)
    Vx, Vy, density, pressure                   (sample, time, x[, y[, z]]) each, coordinates as above
    velocity, particles (sample, time, x, y, component)    force (sample, x, y, component)    t (sample, time)
    0000/data (time, x[, y], component)         0000/grid/x, y, t; a group for every sample

The axes are taken to be stored in the order x, y, z.  What a boundary is like stands in the name of a file
alone, and is not checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hyco.errors import DataError
from hyco.storage.sources.contents import COMPONENT, SAMPLE, TIME, Contents, Place, Variable, numbers_of

ENDINGS = (".hdf5", ".h5")
NAMES: Mapping[str, str] = {"velocity": "V{axis}"}
"""What the components of a vector are called, where it is not one dataset."""


def places(file: h5py.File, axes: tuple[str, ...]) -> list[Place]:
    """The trajectories of a file: its groups in alphabetical order, or its samples."""
    groups = sorted(name for name in file if f"{name}/data" in file)
    if groups:
        return [Place(name, 0) for name in groups]
    counts = {len(item) for name, item in _variables(file).items() if item.ndim > len(axes)}
    if len(counts) != 1:
        found = ", ".join(f"{name} {item.shape}" for name, item in _datasets(file).items())
        raise DataError(
            f"expected datasets (sample, time, {', '.join(axes)}) with the same number of samples, or groups "
            f"0000, 0001, ... with a dataset `data`, found {found or 'nothing'}"
        )
    return [Place("", i) for i in range(counts.pop())]


def contents(file: h5py.File, place: Place, axes: tuple[str, ...], cells: tuple[int, ...]) -> Contents:
    """What a file says of one of its trajectories; `cells`: of the grid where no coordinates are recorded."""
    group = file[place.group] if place.group else file
    coordinates = {axis: values for axis in axes if (values := _coordinate(group, axis)) is not None}
    sizes = tuple(len(coordinates[a]) if a in coordinates else n for a, n in zip(axes, cells, strict=True))
    variables, strange = {}, {}
    for name, item in _variables(group).items():
        first = () if place.group else (SAMPLE,)
        dims = _dims(item.shape[len(first) :], axes, sizes)
        if dims is None:
            strange[name] = item.shape
        else:
            variables[name] = Variable(f"{place.group}/{name}", (*first, *dims), item.shape)
    times, own = _times(group, place)
    return Contents(variables, strange, coordinates, times, {}, numbers_of(file), own)


def _datasets(group: h5py.Group) -> dict[str, h5py.Dataset]:
    return {name: item for name, item in group.items() if isinstance(item, h5py.Dataset)}


def _variables(group: h5py.Group) -> dict[str, h5py.Dataset]:
    """All datasets that are not coordinates."""
    return {
        name: item
        for name, item in _datasets(group).items()
        if name != "t" and not name.endswith("-coordinate") and item.ndim
    }


def _dims(shape: tuple[int, ...], axes: tuple[str, ...], cells: tuple[int, ...]) -> tuple[str, ...] | None:
    """What the dims of a variable are, the sample's left out: time first, components last."""
    for first in ((TIME,), ()):
        for last in ((), (COMPONENT,)):
            dims = (*first, *axes, *last)
            if len(dims) == len(shape) and shape[len(first) : len(first) + len(axes)] == cells:
                return dims
    return None


def _coordinate(group: h5py.Group, axis: str) -> NDArray[np.float64] | None:
    found = next((group[n] for n in (f"{axis}-coordinate", f"grid/{axis}") if n in group), None)
    return None if found is None else np.asarray(found, np.float64)


def _times(group: h5py.Group, place: Place) -> tuple[NDArray[np.float64] | None, bool]:
    """The times of a trajectory, and whether they are its own; one after the last frame is left out later."""
    found = next((group[n] for n in ("t-coordinate", "grid/t", "t") if n in group), None)
    if found is None:
        return None, False
    own = found.ndim == 2
    values: Any = found[place.sample] if own else found[...]
    return np.asarray(values, np.float64), own
