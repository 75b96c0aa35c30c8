"""Trajectories on disk: HDF5 with named dimensions, one dataset per field.

    /time (time)  /x (x) ...  /vector (vector)      coordinates, attached as dimension scales
    /velocity (time, x, y, vector)  ...             fields, with their boundary and units
    /parameters/diffusion_coeff (x, y)  ...         parameters that vary in space; scalars are attributes

`xarray.open_dataset(path, engine="h5netcdf")` shows them with their names.  Values carry a Fletcher-32
checksum and the file's own structure one of HDF5's, so that a flipped byte is found.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hyco import __version__
from hyco.errors import DataError
from hyco.problem.fields import FieldLayout, FieldSpec
from hyco.problem.grid import Grid
from hyco.storage.atomic import write_bytes
from hyco.storage.trajectory_facts import TrajectoryFacts, check_facts, check_finite

__all__ = [
    "TrajectoryFacts",
    "read_facts",
    "read_fingerprint",
    "read_trajectory",
    "simulation_path",
    "write_trajectory",
]

FORMAT = "hyco trajectory"
FORMAT_VERSION = 1
CHUNK_BYTES = 1 << 19
REGENERATE = "Delete it and run `hyco generate`"


def simulation_path(directory: str | Path, simulation: int) -> Path:
    """Where a simulation is stored: `sim_000000.h5` and so on."""
    return Path(directory) / f"sim_{simulation:06d}.h5"


def write_trajectory(
    path: str | Path,
    array: NDArray[Any],
    *,
    grid: Grid,
    layout: FieldLayout,
    dt: float,
    equation: str,
    parameters: Mapping[str, NDArray[Any] | float],
    fingerprint: str,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write a trajectory of dims (field, time, *space), components in the order of the layout.

    Raises ValueError for an array that is not such a trajectory, and StorageError when the file cannot
    be written; what stood there before then stays.
    """
    expected = (len(layout.components), *array.shape[1:2], *grid.resolution)
    if array.shape != expected or array.dtype.kind != "f" or not array.shape[1]:
        raise ValueError(
            f"a trajectory of {layout.components} on {grid.resolution} cells is a real array of "
            f"{len(expected)} dims (field, time, {', '.join(grid.axes)}); got {array.dtype} {array.shape}"
        )
    facts = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "hyco_version": __version__,
        "equation": equation,
        "dt": float(dt),
        "fingerprint": fingerprint,
        "parameters": _json({n: _described(n, v) for n, v in parameters.items()}),
        "extra": _json(dict(extra or {})),
    }
    # HDF5 crashes the process when the disk is full, so it writes to memory and Python to the disk.
    image = BytesIO()
    with h5py.File(image, "w", libver="v110", track_order=True) as file:
        _note(file, facts)
        _write_scales(file, grid, layout, dt, array.shape[1])
        for field in layout.fields:
            _write_field(file, field, array[layout.slice_of(field.name)], grid.axes)
        _write_parameters(file, parameters, grid.axes)
    write_bytes(path, image.getbuffer())


def read_facts(path: str | Path) -> TrajectoryFacts:
    """What a trajectory file says about itself; raises DataError when it is missing or damaged."""
    with _opened(Path(path)) as file:
        return _facts(file, Path(path))


def read_fingerprint(path: str | Path) -> str:
    """Of the settings that generated a trajectory, without reading anything else."""
    with _opened(Path(path)) as file:
        return _text(file.attrs["fingerprint"])


def read_trajectory(
    path: str | Path, *, grid: Grid, layout: FieldLayout, dt: float, facts: TrajectoryFacts | None = None
) -> NDArray[Any]:
    """Read a trajectory as (field, time, *space), components in the order of the layout.

    `facts`: what `read_facts` says of the file, where that is known already.  Raises DataError when the file
    is missing, damaged, of another grid, boundary, time step or set of fields, or when a value is not finite.
    """
    with _opened(Path(path)) as file:
        facts = facts or _facts(file, Path(path))
        check_facts(Path(path), facts, grid=grid, layout=layout, dt=dt)
        array = np.empty((len(layout.components), facts.frames, *grid.resolution), facts.dtype)
        for field in layout.fields:
            values = file[field.name][...]
            array[layout.slice_of(field.name)] = np.moveaxis(values, -1, 0) if field.vector else values
    check_finite(Path(path), array, layout)
    return array


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """The open file; whatever HDF5 finds wrong with it becomes a DataError that says what to do."""
    if not path.is_file():
        raise DataError(
            f"{path}: expected a trajectory, but there is no such file. "
            "Run `hyco generate`, or correct data.data_dir."
        )
    try:
        # Files are replaced, never changed, and some network file systems cannot lock.
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except PermissionError as error:
        raise DataError(
            f"{path}: expected a readable trajectory: {error}. Correct its permissions."
        ) from error
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        kind = "is damaged or cut short" if h5py.is_hdf5(path) else "is not an HDF5 file, or is cut short"
        why = " ".join(str(error).split())
        raise DataError(f"{path}: expected a trajectory, but it {kind} ({why}). {REGENERATE}.") from error


def _facts(file: h5py.File, path: Path) -> TrajectoryFacts:
    """The facts of an open file; raises DataError when it was not written by this version's format."""
    if _text(file.attrs.get("format", "")) != FORMAT:
        raise DataError(f"{path}: expected a {FORMAT}, but it holds something else. {REGENERATE}.")
    version = int(file.attrs["format_version"])
    if version != FORMAT_VERSION:
        raise DataError(
            f"{path}: expected format version {FORMAT_VERSION}, got {version}, written by hyco "
            f"{_text(file.attrs['hyco_version'])}. {REGENERATE}, or use that version of hyco."
        )
    fields = {name: item for name, item in file.items() if "boundary" in item.attrs}
    axes = tuple(name for name in file if "size" in file[name].attrs)
    return TrajectoryFacts(
        frames=len(file["time"]),
        dt=float(file.attrs["dt"]),
        equation=_text(file.attrs["equation"]),
        grid=Grid(axes, tuple(float(file[a].attrs["size"]) for a in axes), tuple(len(file[a]) for a in axes)),
        shapes={name: item.shape for name, item in fields.items()},
        boundaries={name: _text(item.attrs["boundary"]) for name, item in fields.items()},
        parameters=json.loads(_text(file.attrs["parameters"])),
        dtype=np.result_type(*(item.dtype for item in fields.values())),
        fingerprint=_text(file.attrs["fingerprint"]),
        hyco_version=_text(file.attrs["hyco_version"]),
        extra=json.loads(_text(file.attrs["extra"])),
    )


def _write_scales(file: h5py.File, grid: Grid, layout: FieldLayout, dt: float, frames: int) -> None:
    """Times k dt, cell centres and, when there are vectors, the names of their components."""
    _write_scale(file, "time", np.arange(frames) * float(dt), {"units": "time"})
    for axis, size in zip(grid.axes, grid.size, strict=True):
        _write_scale(file, axis, grid.centres(axis), {"units": "length", "size": float(size)})
    if any(field.vector for field in layout.fields):
        _write_scale(file, "vector", np.array(grid.axes, dtype=h5py.string_dtype()), {})


def _write_scale(file: h5py.File, name: str, values: NDArray[Any], facts: Mapping[str, Any]) -> None:
    """One coordinate."""
    file.create_dataset(name, data=values).make_scale(name)
    _note(file[name], facts)


def _write_field(file: h5py.File, field: FieldSpec, values: NDArray[Any], axes: tuple[str, ...]) -> None:
    """One field, from (component, time, *space) to (time, *space[, vector])."""
    values = np.moveaxis(values, 0, -1) if field.vector else values[0]
    dims = ("time", *axes, *(("vector",) if field.vector else ()))
    frames = min(len(values), max(1, CHUNK_BYTES // values[0].nbytes))
    dataset = file.create_dataset(
        field.name, data=values, chunks=(frames, *values.shape[1:]), fletcher32=True, track_order=True
    )
    _name_dims(file, dataset, dims)
    _note(dataset, {"boundary": field.boundary, "units": field.unit})


def _write_parameters(
    file: h5py.File, parameters: Mapping[str, NDArray[Any] | float], axes: tuple[str, ...]
) -> None:
    """The parameters that vary in space, one dataset each."""
    for name, value in parameters.items():
        if np.ndim(value):
            values = np.asarray(value)
            dataset = file.create_dataset(
                f"parameters/{name}", data=values, chunks=values.shape, fletcher32=True
            )
            _name_dims(file, dataset, axes)


def _described(name: str, value: NDArray[Any] | float) -> float | str:
    """What the attribute says of a parameter: its value, or the dataset that holds it."""
    return f"parameters/{name}" if np.ndim(value) else float(value)


def _name_dims(file: h5py.File, dataset: h5py.Dataset, dims: tuple[str, ...]) -> None:
    """Attach the coordinates of these names to the dims of a dataset, in order."""
    for dim, name in zip(dataset.dims, dims, strict=True):
        dim.attach_scale(file[name])


def _note(item: h5py.HLObject, facts: Mapping[str, Any]) -> None:
    """Attributes; text of a fixed length, since HDF5 guards that with a checksum and other text not."""
    for name, value in facts.items():
        if isinstance(value, str):
            data = value.encode()
            item.attrs.create(name, data, dtype=h5py.string_dtype("utf-8", max(1, len(data))))
        else:
            item.attrs[name] = value


def _text(value: Any) -> str:
    """The text of an attribute."""
    return value.decode() if isinstance(value, bytes) else str(value)


def _json(facts: Mapping[str, Any]) -> str:
    """Plain facts as JSON."""
    return json.dumps(facts, allow_nan=False)
