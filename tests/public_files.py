"""Small files in the layouts of published datasets, written from their descriptions; no real one is needed.

PDEBench: Takamoto et al. (2022) and the scripts that make its files.  The Well: Ohana et al. (2024), the
specification of its data format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
AXES = ("x", "y", "z")


def cells(size: float, count: int, first: float = 0.0) -> Array:
    """Centres of cells, in single precision as the files have them."""
    return (first + (np.arange(count) + 0.5) * size / count).astype(np.float32)


def pdebench_tensor(
    path: Path, tensor: Array, size: float, dt: float, *, dtype: str = "f8", spare: int = 1, **attributes: Any
) -> None:
    """One file of a scalar in one dimension: tensor (sample, time, x); one time more than frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["tensor"] = tensor.astype(dtype)
        file["x-coordinate"] = cells(size, tensor.shape[2])
        file["t-coordinate"] = (dt * np.arange(tensor.shape[1] + spare)).astype(np.float32)
        file.attrs.update(attributes)


def pdebench_variables(
    path: Path, variables: Mapping[str, Array], size: Sequence[float], dt: float, *, dtype: str = "f8"
) -> None:
    """One file of compressible flow: a dataset (sample, time, x[, y]) for every variable."""
    with h5py.File(path, "w") as file:
        for name, values in variables.items():
            file[name] = values.astype(dtype)
        _, frames, *resolution = next(iter(variables.values())).shape
        for axis, length, count in zip(AXES, size, resolution, strict=False):
            file[f"{axis}-coordinate"] = cells(length, count)
        file["t-coordinate"] = (dt * np.arange(frames + 1)).astype(np.float32)
        file.attrs.update(eta=0.01, zeta=0.01, M=0.1)


def pdebench_incompressible(path: Path, velocity: Array, particles: Array, force: Array, dt: float) -> None:
    """One file of incompressible flow in a plane, (sample, time, x, y, component), without coordinates."""
    with h5py.File(path, "w") as file:
        file["velocity"], file["particles"], file["force"] = velocity, particles, force
        file["t"] = np.tile(dt * np.arange(velocity.shape[1]), (len(velocity), 1)).astype(np.float32)
        file.attrs["latestIndex"] = velocity.shape[1] - 1


def pdebench_seeds(path: Path, data: Array, size: Sequence[float], dt: float, first: float = 0.0) -> None:
    """One group per seed: 0000/data (time, x[, y], component) and 0000/grid."""
    with h5py.File(path, "w") as file:
        for seed, sample in enumerate(data):
            group = file.create_group(f"{seed:04d}")
            group.create_dataset("data", data=sample, compression="lzf")
            for axis, length, count in zip(AXES, size, sample.shape[1:-1], strict=False):
                group[f"grid/{axis}"] = cells(length, count, first)
            group["grid/t"] = (dt * np.arange(len(sample))).astype(np.float32)
            group.attrs["config"] = f"sim: {{seed: {seed}}}"


def pdebench_darcy(path: Path, count: int = 2, resolution: int = 8) -> None:
    """Darcy flow, a steady problem: tensor (sample, 1, x, y) and nu (sample, x, y)."""
    with h5py.File(path, "w") as file:
        file["tensor"] = np.ones((count, 1, resolution, resolution), np.float32)
        file["nu"] = np.ones((count, resolution, resolution), np.float32)
        for axis in "xy":
            file[f"{axis}-coordinate"] = cells(1.0, resolution)
        file.attrs["beta"] = 1.0


def well(
    path: Path,
    fields: Mapping[str, Mapping[str, Array]],
    size: Sequence[float],
    dt: float,
    *,
    boundary: Mapping[str, str] | None = None,
    varying: Mapping[str, Mapping[str, Any]] | None = None,
    grid_type: str = "cartesian",
    parameters: Mapping[str, float] | None = None,
) -> None:
    """One file of The Well: `fields` by group (t0_fields, t1_fields, t2_fields) and name.

    `varying`: by name of a field, the attributes (dim_varying, sample_varying, time_varying) that are not
    all true; then its array has not all dims.  `boundary`: by axis, periodic where nothing is said.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    rank = len(size)
    full = next(a for g in fields.values() for n, a in g.items() if n not in (varying or {}))
    with h5py.File(path, "w") as file:
        given = dict(parameters or {})
        file.attrs.update(dataset_name="written for a test", grid_type=grid_type, n_spatial_dims=rank)
        file.attrs["n_trajectories"] = full.shape[0]
        file.attrs["simulation_parameters"] = list(given)
        file.attrs.update(given)
        _dimensions(file, size, full.shape[1 : 2 + rank], dt)
        _boundaries(file, full.shape[2 : 2 + rank], dict(boundary or {}))
        scalars = file.create_group("scalars")
        scalars.attrs["field_names"] = list(given)
        for name, value in given.items():
            scalars[name] = np.float32(value)
            scalars[name].attrs.update(sample_varying=False, time_varying=False)
        for group in ("t0_fields", "t1_fields", "t2_fields"):
            made = file.create_group(group)
            made.attrs["field_names"] = list(fields.get(group, {}))
            for name, values in fields.get(group, {}).items():
                made[name] = values
                said = {"dim_varying": [True] * rank, "sample_varying": True, "time_varying": True}
                made[name].attrs.update({**said, **(varying or {}).get(name, {})})


def _dimensions(file: h5py.File, size: Sequence[float], shape: Sequence[int], dt: float) -> None:
    dimensions = file.create_group("dimensions")
    names = AXES[: len(size)]
    dimensions.attrs["spatial_dims"] = list(names)
    dimensions["time"] = (dt * np.arange(shape[0])).astype(np.float32)
    dimensions["time"].attrs["sample_varying"] = False
    for name, length, count in zip(names, size, shape[1:], strict=True):
        dimensions[name] = cells(length, count)
        dimensions[name].attrs.update(sample_varying=False, time_varying=False)


def _boundaries(file: h5py.File, shape: Sequence[int], kinds: Mapping[str, str]) -> None:
    group = file.create_group("boundary_conditions")
    for axis, count in zip(AXES, shape, strict=False):
        kind = kinds.get(axis, "PERIODIC")
        made = group.create_group(f"{axis}_{kind.lower()}")
        made.attrs.update(associated_dims=[axis], associated_fields=[], bc_type=kind)
        made.attrs.update(sample_varying=False, time_varying=False)
        mask = np.zeros(count, bool)
        mask[[0, -1]] = True
        made["mask"] = mask
