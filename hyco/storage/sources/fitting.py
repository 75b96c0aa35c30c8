"""Whether what a file says of a trajectory is what a configuration describes; both values are named."""

from __future__ import annotations

from collections.abc import Sequence
from math import isclose

import numpy as np
from numpy.typing import NDArray

from hyco.errors import DataError
from hyco.problem.fields import FieldLayout
from hyco.problem.grid import Grid
from hyco.storage.sources.contents import TIME, Contents
from hyco.storage.sources.naming import Part

AGREE = 1e-4  # sizes and time steps that differ by less are the same: files hold them in single precision
UNIFORM = 1e-3  # steps between coordinates may differ by so much, beside the rounding of what they are of
SINGLE = float(np.finfo(np.float32).eps)


def check_contents(
    contents: Contents,
    parts: Sequence[Part],
    *,
    grid: Grid,
    layout: FieldLayout,
    dt: float,
    frames: int,
    strides: tuple[int, int],
    boundaries: bool,
) -> None:
    """Raises DataError when fields, frames, time step, grid or boundaries are others.

    `strides`: of time and space; `boundaries`: whether those are looked at.
    """
    time_stride, space_stride = strides
    available = _check_fields(contents, parts, layout)
    used = (available - 1) // time_stride + 1
    if used < frames:
        raise DataError(
            f"expected trajectories of at least {frames} frames (data.trajectory_length), found "
            f"{used}{_strided(available, time_stride)}. Write data.trajectory_length: {used}, or less."
        )
    if contents.times is not None:
        _check_times(np.atleast_1d(contents.times)[:available], available, dt, time_stride)
    _check_grid(contents, parts, grid, space_stride)
    if boundaries:
        _check_boundaries(contents, layout)


def _check_fields(contents: Contents, parts: Sequence[Part], layout: FieldLayout) -> int:
    """Dynamic components vary in time, static ones do not; how many frames there are."""
    counts = set()
    for component, part in zip(layout.components, parts, strict=True):
        static, name = component in layout.static, part.variable.dataset
        if part.variable.varies == static:
            kind, other = ("given", "dynamic") if static else ("dynamic", "static")
            does = "varies" if part.variable.varies else "does not vary"
            raise DataError(
                f"expected {component} to be {kind}, but {name} {does} in time. List it under "
                f"data.fields_scheme.{other}, where the equation allows that."
            )
        if not static:
            counts.add(part.variable.size(TIME) or 0)
    if len(counts) != 1:
        raise DataError(
            f"expected variables of the same number of frames, found {sorted(counts)}. Use others of them "
            "(data.source.fields)."
        )
    available = counts.pop()
    if available < 2:
        raise DataError(
            f"expected trajectories in time, but there is {available} frame: a steady problem, such as Darcy "
            "flow, has nothing that a model of time steps could learn. Use another dataset."
        )
    return available


def _check_times(times: NDArray[np.float64], available: int, dt: float, stride: int) -> None:
    if len(times) != available:
        raise DataError(
            f"expected times of {available} frames, found {len(times)}. The file contradicts itself; fetch "
            "it again."
        )
    found = _step(times, "times") * stride
    if not isclose(found, dt, rel_tol=AGREE):
        raise DataError(
            f"model.physical.dt is {dt:g}, but frames are {found:.6g} apart{_strided(available, stride)}. "
            f"Write model.physical.dt: {found:.6g}, or change data.source.time_stride."
        )


def _check_grid(contents: Contents, parts: Sequence[Part], grid: Grid, stride: int) -> None:
    for axis, cells, size in zip(grid.axes, grid.resolution, grid.size, strict=True):
        sizes = {part.variable.size(axis) for part in parts} - {None}
        values = contents.coordinates.get(axis)
        stored = cells * stride if values is None else len(np.atleast_1d(values))
        if sizes - {stored}:
            raise DataError(
                f"expected {stored} values along {axis}, found {sorted(n or 0 for n in sizes)}. Use other "
                "variables (data.source.fields), or correct model.physical.domain."
            )
        length = size if values is None else _step(values, f"coordinates {axis}") * stored
        key = f"model.physical.domain.{axis}"
        if stored % stride:
            raise DataError(
                f"data.source.space_stride is {stride}, which does not divide the {stored} cells along "
                f"{axis}. Use one that does."
            )
        if stored // stride != cells:
            raise DataError(
                f"{key}.resolution is {cells}, but there are {stored // stride} cells along {axis}"
                f"{_strided(stored, stride)}. Write {key}: {{size: {length:.6g}, resolution: "
                f"{stored // stride}}}, or change data.source.space_stride."
            )
        if not isclose(length, size, rel_tol=AGREE):
            raise DataError(
                f"{key}.size is {size:g}, but {stored} cells {length / stored:.6g} apart make {length:.6g}. "
                f"Write {key}: {{size: {length:.6g}, resolution: {cells}}}."
            )


def _check_boundaries(contents: Contents, layout: FieldLayout) -> None:
    for field in layout.fields:
        for axis, periodic in contents.periodic.items():
            if periodic != (field.boundary == "periodic"):
                found = "periodic" if periodic else "not periodic"
                raise DataError(
                    f"the boundary of {field.name} is {field.boundary}, but the axis {axis} is {found}. "
                    f"Correct model.physical.boundaries.{field.name}; it holds for all axes."
                )


def _step(values: NDArray[np.float64], what: str) -> float:
    """The distance of coordinates that are equally far apart."""
    if values.ndim != 1:
        raise DataError(f"expected {what} as one list of numbers, found the shape {values.shape}.")
    steps = np.diff(values)
    mean = float((values[-1] - values[0]) / max(1, len(values) - 1))
    allowed = UNIFORM * abs(mean) + 4 * SINGLE * float(np.max(np.abs(values), initial=0.0))
    if len(values) < 2 or not mean > 0.0 or not np.all(np.abs(steps - mean) <= allowed):
        some = f"{float(steps.min()):.6g} to {float(steps.max()):.6g}" if len(steps) else "none"
        raise DataError(
            f"expected {what} at equal, growing distances, found distances of {some}. hyco has uniform grids "
            "and time steps only."
        )
    return mean


def _strided(stored: int, stride: int) -> str:
    """What a file has, where not all of it is used."""
    return f" (1 of {stride} of the {stored} in the file)" if stride > 1 else ""
