"""The layout of The Well (Ohana et al., 2024), version of its published specification.

    @n_trajectories  @n_spatial_dims  @grid_type
    dimensions/  @spatial_dims;  time (time), and one dataset per axis
    boundary_conditions/NAME  @bc_type  @associated_dims
    scalars/NAME
    t0_fields/NAME (sample, time, x[, y[, z]])              @sample_varying  @time_varying  @dim_varying
    t1_fields/NAME (..., component)    t2_fields/NAME (..., component[, component])

A field has the dims along which it varies alone, or one entry along an axis along which it does not.
"""

from __future__ import annotations

import h5py
import numpy as np

from hyco.errors import DataError
from hyco.storage.sources.contents import (
    COMPONENT,
    SAMPLE,
    SINGLE,
    TIME,
    Contents,
    Place,
    Variable,
    numbers_of,
    text,
)

ENDINGS = (".hdf5", ".h5")
NAMES: dict[str, str] = {}
FIELDS = {"t0_fields": (0,), "t1_fields": (1,), "t2_fields": (1, 2)}
"""How many dims of components the fields of each group can have."""


def places(file: h5py.File, axes: tuple[str, ...]) -> list[Place]:
    """The trajectories of a file, in order."""
    kind = text(file.attrs["grid_type"])
    if kind.lower() != "cartesian":
        raise DataError(f"expected a cartesian grid, found grid_type {kind!r}, which hyco does not have")
    rank = int(file.attrs["n_spatial_dims"])
    if rank != len(axes):
        raise DataError(
            f"expected {len(axes)} dimensions ({', '.join(axes)} in model.physical.domain), found "
            f"n_spatial_dims {rank}"
        )
    return [Place("", i) for i in range(int(file.attrs["n_trajectories"]))]


def contents(file: h5py.File, place: Place, axes: tuple[str, ...], cells: tuple[int, ...]) -> Contents:
    """What a file says of one of its trajectories."""
    dimensions = file["dimensions"]
    names = [text(name) for name in dimensions.attrs["spatial_dims"]]
    coordinates = {}
    for axis, name in zip(axes, names, strict=True):
        if _says(dimensions[name], "sample_varying") or _says(dimensions[name], "time_varying"):
            raise DataError(f"expected a grid that stays, but dimensions/{name} varies with sample or time")
        coordinates[axis] = np.asarray(dimensions[name], np.float64)
    time = dimensions["time"]
    own = _says(time, "sample_varying")
    times = np.asarray(time[place.sample] if own else time, np.float64)
    variables, strange = {}, {}
    for group in (name for name in FIELDS if name in file):
        for name, item in file[group].items():
            found = _variable(item, axes, FIELDS[group])
            if found is None:
                strange[name] = item.shape
            else:
                variables[f"{group}/{name}" if name in variables else name] = found
    periodic = _periodic(file, axes, names)
    return Contents(variables, strange, coordinates, times, periodic, _parameters(file), own)


def _says(item: h5py.HLObject, name: str, default: bool = False) -> bool:
    return bool(item.attrs.get(name, default))


def _variable(item: h5py.Dataset, axes: tuple[str, ...], components: tuple[int, ...]) -> Variable | None:
    """A field, its dims by what it says it varies along; None where its shape is another."""
    along = np.broadcast_to(item.attrs.get("dim_varying", True), (len(axes),))
    first = (SAMPLE,) * _says(item, "sample_varying", True) + (TIME,) * _says(item, "time_varying", True)
    kept = tuple(axis if varies else SINGLE for axis, varies in zip(axes, along, strict=True))
    # the reader of the authors wants one entry where nothing varies, their specification leaves the dim out
    for space in dict.fromkeys((kept, tuple(axis for axis in kept if axis != SINGLE))):
        dims = first + space
        further = item.ndim - len(dims)
        if further in components and all(
            n == 1 for dim, n in zip(dims, item.shape, strict=False) if dim == SINGLE
        ):
            return Variable(item.name, dims + (COMPONENT,) * further, item.shape)
    return None


def _periodic(file: h5py.File, axes: tuple[str, ...], names: list[str]) -> dict[str, bool]:
    """Whether each axis is periodic, as far as it is said."""
    found: dict[str, bool] = {}
    for item in file.get("boundary_conditions", {}).values():
        for name in map(text, np.atleast_1d(item.attrs.get("associated_dims", ()))):
            if name in names:
                axis = axes[names.index(name)]
                found[axis] = found.get(axis, True) and text(item.attrs["bc_type"]).lower() == "periodic"
    return found


def _parameters(file: h5py.File) -> dict[str, float]:
    return {n: v for n, v in numbers_of(file).items() if n not in ("n_trajectories", "n_spatial_dims")}
