"""PhiFlow's Scene folders <-> trajectories.

    sim_000000/description.json              facts
    sim_000000/velocity_000000.npz ...       one field of one frame per file, with its box and boundary

They are read without unpickling anything but data, and written by PhiFlow's own writer, so that
`phi.field.Scene` reads them.  Format: https://tum-pbs.github.io/PhiFlow/Scene_Format_Specification.html
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from numpy.typing import NDArray

from hyco.compat.archives import read_npz
from hyco.compat.recorded import Recorded, renamed, split_vector
from hyco.errors import DataError, StorageError
from hyco.problem.fields import FieldLayout, FieldSpec
from hyco.problem.grid import AXES, Boundary, Grid

_FRAME = re.compile(r"(.+)_(\d{6})\.npz")
BOUNDARY_NAMES: Mapping[str, Boundary] = {
    "periodic": "periodic",
    "zero-gradient": "zero-gradient",
    "boundary": "zero-gradient",  # as PhiFlow spelt it before 2.5
    "zero": "zero",
    "0": "zero",
}


@dataclass(frozen=True)
class _Frame:
    """One field at one time: values (*space) or (vector, *space), axes in the order x, y, z."""

    values: NDArray[Any]
    vector: bool
    grid: Grid
    boundary: Boundary


def read_scene(folder: str | Path) -> Recorded:
    """The trajectory in a Scene folder, its frames in order.

    Raises DataError for a folder without frames, with a gap between them, or with fields that are not
    cell-centred on one grid in one dimension order; and for files as `read_npz` does.
    """
    folder = Path(folder)
    frames = _frames(folder)
    components: dict[str, NDArray[Any]] = {}
    boundaries: dict[str, str] = {}
    grids = set()
    for name, paths in frames.items():
        found = [_read_frame(path) for path in paths]
        if len({(f.values.shape, f.vector, f.grid, f.boundary) for f in found}) > 1:
            raise DataError(f"{folder}: the frames of {name} differ in shape, box or boundary.")
        stacked = np.stack([f.values for f in found], axis=1 if found[0].vector else 0)
        components |= split_vector(folder, name, stacked, found[0].grid.axes, vector=found[0].vector)
        boundaries[renamed(name)] = found[0].boundary
        grids.add(found[0].grid)
    if len(grids) > 1:
        raise DataError(f"{folder}: its fields lie on different grids.")
    return Recorded(folder, components, grids.pop(), boundaries, _dt(folder))


def is_scene(path: Path) -> bool:
    """Whether a path is a folder that holds frames."""
    return path.is_dir() and any(_FRAME.fullmatch(p.name) for p in path.iterdir())


def _frames(folder: Path) -> dict[str, list[Path]]:
    """Field -> its files, in order of time."""
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a Scene folder, but there is none. Correct the path.")
    numbered: dict[str, dict[int, Path]] = {}
    for path in sorted(folder.iterdir()):
        if match := _FRAME.fullmatch(path.name):
            numbered.setdefault(match[1], {})[int(match[2])] = path
    if not numbered:
        raise DataError(f"{folder}: expected frames such as velocity_000000.npz, but there is none.")
    last = max(number for frames in numbered.values() for number in frames)
    for name, frames in numbered.items():
        for number in range(last + 1):
            if number not in frames:
                raise DataError(
                    f"{folder}: frame {number} of {name} is missing, while there are frames up to {last}. "
                    "Copy the whole folder."
                )
    return {name: [frames[n] for n in sorted(frames)] for name, frames in numbered.items()}


def _read_frame(path: Path) -> _Frame:
    stored = read_npz(path)
    try:
        kind = str(stored["field_type"])
        if kind != "CenteredGrid":
            raise DataError(f"{path}: expected values at cell centres, found a {kind}. Resample it first.")
        names, types = stored["dim_names"].tolist(), stored["dim_types"].tolist()
        data = stored["data"]
        axes = tuple(a for a in AXES if a in names)
        spatial = sorted(n for n, kind in zip(names, types, strict=True) if kind == "spatial")
        channels = [n for n, kind in zip(names, types, strict=True) if kind == "channel"]
        if list(axes) != spatial or len(channels) > 1 or len(names) != len(axes) + len(channels):
            raise DataError(f"{path}: expected the dims x, y, z and that of a vector, found {names}.")
        values = data.transpose([names.index(n) for n in (*channels, *axes)])
        bounds = _bounds(stored, axes)
        resolution = values.shape[len(channels) :]
        grid = Grid.of(**{a: (bounds[a], n) for a, n in zip(axes, resolution, strict=True)})
        return _Frame(values, bool(channels), grid, _boundary(path, stored["extrapolation"].item()))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: expected a frame of a PhiFlow Scene, but it is none ({type(error).__name__}: {error})."
        ) from error


def _bounds(stored: Mapping[str, NDArray[Any]], axes: tuple[str, ...]) -> dict[str, float]:
    """Length of the box along each axis; it may begin anywhere."""
    named = stored.get("bounds_item_names", np.array(None))
    order = [str(n) for n in named.tolist()] if named.shape else list(axes)
    size = np.broadcast_to(stored["upper"] - stored["lower"], (len(axes),))
    return {axis: float(size[order.index(axis)]) for axis in axes}


def _boundary(path: Path, facts: Any) -> Boundary:
    """hyco's name of an extrapolation, from what PhiFlow serialises of it."""
    kind = str(facts.get("type")) if isinstance(facts, dict) else str(facts)
    if kind == "constant" and np.all(np.asarray(facts["value"]) == 0):
        return "zero"
    return boundary_named(path, kind)


def boundary_named(path: Path, name: str) -> Boundary:
    """hyco's name of a boundary that PhiFlow names so; raises DataError where there is none."""
    if name not in BOUNDARY_NAMES:
        known = ", ".join(BOUNDARY_NAMES)
        raise DataError(f"{path}: expected one of the boundaries {known}; found {name!r}.")
    return BOUNDARY_NAMES[name]


def _dt(folder: Path) -> float | None:
    """The time step in the description, where there is one."""
    path = folder / "description.json"
    if not path.is_file():
        return None
    try:
        dt = json.loads(path.read_text(encoding="utf-8")).get("Dt")
        return None if dt is None else float(dt)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: expected the facts of a Scene as JSON ({error}). Copy it anew.") from error


def write_scene(
    folder: str | Path,
    array: NDArray[Any],
    *,
    grid: Grid,
    layout: FieldLayout,
    dt: float,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write a trajectory (field, time, *space) as a Scene folder, with `facts` beside its own description.

    The folder appears when it is complete.  Raises StorageError when there is something at that place, or
    when it cannot be written; ValueError for an array that is no such trajectory.
    """
    folder = Path(folder)
    if (array.shape[:1], array.shape[2:]) != ((len(layout.components),), grid.resolution):
        raise ValueError(
            f"a trajectory of {layout.components} on {grid.resolution} cells has the dims (field, time, "
            f"{', '.join(grid.axes)}); got {array.shape}"
        )
    if folder.exists():
        raise StorageError(f"{folder}: is there already. Remove it, or choose another folder.")
    temporary = folder.with_name(f".{folder.name}.{uuid4().hex[:12]}")
    try:
        temporary.mkdir(parents=True)
        for field in layout.fields:
            for frame, values in enumerate(np.moveaxis(array[layout.slice_of(field.name)], 1, 0)):
                _write_frame(temporary / f"{field.name}_{frame:06d}.npz", values, field, grid)
        description = json.dumps({**_description(grid, layout, dt), **(facts or {})}, indent=2)
        (temporary / "description.json").write_text(description, encoding="utf-8")
        os.replace(temporary, folder)
    except OSError as error:
        raise StorageError(
            f"{folder}: cannot be written: {error.strerror}. Correct it, and run again; nothing was left."
        ) from error
    finally:
        with suppress(OSError):
            shutil.rmtree(temporary)


def _description(grid: Grid, layout: FieldLayout, dt: float) -> dict[str, Any]:
    """The facts that HYCO-PhiFlow kept with a Scene, under its names."""
    letters = "".join(f.name[0] * len(f.components(layout.axes)) for f in layout.fields)
    return {
        "Fields": [f.name for f in layout.fields],
        "Fields_Scheme": letters,
        "Dt": dt,
        "Domain": {f"size_{a}": s for a, s in zip(grid.axes, grid.size, strict=True)},
        "Resolution": dict(zip(grid.axes, grid.resolution, strict=True)),
    }


def _write_frame(path: Path, values: NDArray[Any], field: FieldSpec, grid: Grid) -> None:
    """One field (component, *space) of one frame, by PhiFlow."""
    from phi.field import write
    from phiml import math

    from hyco.compat.fields import to_centered

    dims = ("vector", *grid.axes) if field.vector else grid.axes
    tensor = torch.from_numpy(np.array(values if field.vector else values[0], order="C"))
    with math.precision(64 if values.dtype == np.float64 else 32):  # or PhiML would write its own
        write(to_centered(tensor, grid, field.boundary, dims=dims), str(path))
