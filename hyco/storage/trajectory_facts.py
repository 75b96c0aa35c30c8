"""What a stored trajectory says about itself, and whether it is the one that is asked for, and usable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isclose
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyco.errors import DataError
from hyco.problem.fields import FieldLayout
from hyco.problem.grid import Grid

REMEDY = "Run `hyco generate` for this configuration, or correct data.data_dir"
RELATIVE_ROUNDING = 1e-9


@dataclass(frozen=True)
class TrajectoryFacts:
    """What a trajectory file says about itself, read without its values.

    Attributes: frames, the initial one included; dt, the time between two of them; boundaries and
    shapes by field; parameters: the scalar ones by value, those that vary in space by their dataset;
    fingerprint of the settings that generated it; extra: what else the writer noted.
    """

    frames: int
    dt: float
    equation: str
    grid: Grid
    shapes: Mapping[str, tuple[int, ...]]
    boundaries: Mapping[str, str]
    parameters: Mapping[str, float | str]
    dtype: np.dtype[Any]
    fingerprint: str
    hyco_version: str
    extra: Mapping[str, Any]


def check_facts(path: Path, facts: TrajectoryFacts, *, grid: Grid, layout: FieldLayout, dt: float) -> None:
    """Raises DataError when a file is of another grid, time step, or set of fields."""
    if facts.frames < 1:
        raise _mismatch(path, "at least one frame", "none")
    if facts.grid.axes != grid.axes or facts.grid.resolution != grid.resolution:
        raise _mismatch(path, f"a grid of {_cells(grid)} cells", _cells(facts.grid))
    if not all(map(_close, facts.grid.size, grid.size)):
        raise _mismatch(path, f"a box of {_sizes(grid)}", _sizes(facts.grid))
    if not _close(facts.dt, dt):
        raise _mismatch(path, f"a time step of {dt:g}", f"{facts.dt:g}")
    _check_fields(path, facts, layout)


def _check_fields(path: Path, facts: TrajectoryFacts, layout: FieldLayout) -> None:
    """Every field of the layout is there, whole, with its boundary."""
    missing = [f.name for f in layout.fields if f.name not in facts.shapes]
    if missing:
        raise _mismatch(path, f"the field {', '.join(missing)}", f"only {', '.join(facts.shapes) or 'none'}")
    for field in layout.fields:
        components = (len(layout.axes),) if field.vector else ()
        shape = (facts.frames, *facts.grid.resolution, *components)
        if facts.shapes[field.name] != shape:
            raise _mismatch(path, f"{field.name} of shape {shape}", f"{facts.shapes[field.name]}")
        found = facts.boundaries[field.name]
        if found != field.boundary:
            raise _mismatch(path, f"{field.name} with a {field.boundary} boundary", f"a {found} one")


def check_finite(path: Path, array: NDArray[Any], layout: FieldLayout) -> None:
    """Raises DataError that names the first value of (field, time, *space) that is not a number."""
    finite = np.isfinite(array)
    if finite.all():
        return
    frame_first = np.moveaxis(finite, 1, 0)
    frame, component, *cell = (int(i) for i in np.argwhere(~frame_first)[0])
    place = ", ".join(f"{a}={i}" for a, i in zip(layout.axes, cell, strict=True))
    bad = int(finite.size - finite.sum())
    raise DataError(
        f"{path}: expected finite values, but {bad} of {finite.size} are not, the first one "
        f"({array[(component, frame, *cell)]}) in {layout.components[component]} of frame {frame} at cell "
        f"({place}). Lower model.physical.dt if the simulation diverged, "
        "then delete the file and run `hyco generate`."
    )


def _mismatch(path: Path, expected: str, came: str) -> DataError:
    """The error of a file that belongs to another problem."""
    return DataError(f"{path}: expected {expected}, got {came}. {REMEDY}.")


def _close(a: float, b: float) -> bool:
    """Equal but for rounding."""
    return isclose(a, b, rel_tol=RELATIVE_ROUNDING)


def _cells(grid: Grid) -> str:
    """`x=64, y=32`."""
    return ", ".join(f"{a}={n}" for a, n in zip(grid.axes, grid.resolution, strict=True))


def _sizes(grid: Grid) -> str:
    """`x=100, y=50`."""
    return ", ".join(f"{a}={s:g}" for a, s in zip(grid.axes, grid.size, strict=True))
