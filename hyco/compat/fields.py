"""PhiFlow fields <-> torch tensors with a hyco `Grid` and a boundary.

Centred fields have one value per cell, as hyco's states do, in the same memory on both sides.  Staggered
fields have the component along each axis on the faces across that axis, and as many faces as PhiFlow
stores: of n cells

    periodic        n        the last face is the first one
    zero-gradient   n + 1    both outer faces
    zero            n - 1    the outer faces are 0

On a periodic box all components have one shape, and PhiFlow keeps them in one array, so that `to_staggered`
copies; elsewhere it does not.
A field has one boundary, periodic, zero-gradient or zero, on all sides and for all components, and a box that
begins at the origin; hyco has no name for any other, and refuses it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from phi.field import Field
from phi.geom import Box, UniformGrid
from phiml import math
from phiml.math import Tensor, channel, dual, spatial
from phiml.math.extrapolation import PERIODIC, ZERO, ZERO_GRADIENT, Extrapolation

from hyco.compat.tensors import SPATIAL, to_phiml, to_torch
from hyco.errors import did_you_mean
from hyco.problem.grid import Boundary, Grid

EXTRAPOLATIONS: Mapping[Boundary, Extrapolation] = {
    "periodic": PERIODIC,
    "zero-gradient": ZERO_GRADIENT,
    "zero": ZERO,
}
FACES: Mapping[Boundary, int] = {"periodic": 0, "zero-gradient": 1, "zero": -1}
VECTOR = "vector"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # in what PhiML prints


def from_centered(field: Field, dims: Sequence[str]) -> tuple[torch.Tensor, Grid, Boundary]:
    """The values of a `CenteredGrid` with their dims in the stated order, its grid, and its boundary.

    The dims are those of `field.values`: the axes, `vector` when it has components, `batch`, `time`.
    Raises ValueError for a field that is not centred on a uniform grid, for dims as `to_torch` does, and
    for a box or an extrapolation that hyco has no name for.
    """
    _check_sampling(field, staggered=False)
    return to_torch(field.values, dims), grid_of(field), boundary_of(field)


def to_centered(
    tensor: torch.Tensor,
    grid: Grid,
    boundary: Boundary,
    *,
    dims: Sequence[str],
    names: Mapping[str, Sequence[str]] | None = None,
) -> Field:
    """The `CenteredGrid` of a tensor whose dims are stated in order.

    A dim `vector` has one component per axis, named by it, unless `names` says otherwise.  Raises ValueError
    when dims or sizes are not those of the grid, or the boundary is unknown.
    """
    _check_boundary(boundary)
    _check_cells(tensor, grid.resolution, grid, dims, "to_centered")
    if VECTOR in dims and VECTOR not in (names or {}):
        names = {**(names or {}), VECTOR: grid.axes}
    return Field(_geometry(grid), to_phiml(tensor, dims, names=names), EXTRAPOLATIONS[boundary])


def from_staggered(field: Field, dims: Sequence[str]) -> tuple[dict[str, torch.Tensor], Grid, Boundary]:
    """The components of a `StaggeredGrid` by axis, each with its dims in the stated order; grid; boundary.

    The dims are those of one component: the axes, and `batch` or `time` where there are such.  Shapes
    differ between the components as the module says.  Raises ValueError as `from_centered` does.
    """
    _check_sampling(field, staggered=True)
    grid, boundary = grid_of(field), boundary_of(field)
    faces = {axis: to_torch(field.values[{f"~{VECTOR}": axis}], dims) for axis in grid.axes}
    return faces, grid, boundary


def to_staggered(
    faces: Mapping[str, torch.Tensor], grid: Grid, boundary: Boundary, *, dims: Sequence[str]
) -> Field:
    """The `StaggeredGrid` of its components by axis; the dims of each are stated in order.

    Raises ValueError unless there is one component per axis with as many faces as the module says.
    """
    _check_boundary(boundary)
    if set(faces) != set(grid.axes):
        raise ValueError(f"to_staggered expected one component per axis {grid.axes}, got {tuple(faces)}.")
    components: dict[str, Tensor] = {}
    for axis in grid.axes:
        shape = face_shape(grid, boundary, axis)
        _check_cells(faces[axis], shape, grid, dims, f"to_staggered, {boundary}, component {axis},")
        components[axis] = to_phiml(faces[axis], dims)
    if len({tensor.dtype for tensor in faces.values()}) > 1:
        raise ValueError(f"to_staggered expected one dtype, got {[t.dtype for t in faces.values()]}.")
    precision = next(iter(components.values())).dtype.precision
    with math.precision(precision):  # otherwise PhiML would round to its own precision
        values = math.stack(components, dual(VECTOR))
    return Field(_geometry(grid), values, EXTRAPOLATIONS[boundary])


def face_shape(grid: Grid, boundary: Boundary, axis: str) -> tuple[int, ...]:
    """How many values the component along `axis` of a staggered field has along every axis."""
    extra = FACES[boundary]
    return tuple(n + extra * (a == axis) for a, n in zip(grid.axes, grid.resolution, strict=True))


def grid_of(field: Field) -> Grid:
    """The hyco grid of a field; ValueError for a box that does not begin at the origin."""
    axes = field.resolution.names
    # the corners, since PhiML would round the size, their difference, to the precision that it is in
    lower, upper = (_numbers(corner, axes) for corner in (field.bounds.lower, field.bounds.upper))
    if any(lower):
        raise ValueError(
            f"hyco's boxes begin at the origin, but that of the field at {lower}. Shift it first."
        )
    return Grid(tuple(axes), upper, tuple(field.resolution.sizes))


def boundary_of(field: Field) -> Boundary:
    """hyco's name of a field's extrapolation; ValueError with PhiFlow's name where there is none."""
    for name, extrapolation in EXTRAPOLATIONS.items():
        if field.boundary == extrapolation:
            return name
    raise ValueError(
        f"hyco has no boundary {_COLOURS.sub('', repr(field.boundary))!r}; it knows "
        f"{', '.join(EXTRAPOLATIONS)}, each on all sides and for all components of a field."
    )


def _numbers(corner: Tensor, axes: Sequence[str]) -> tuple[float, ...]:
    return tuple(float(corner[{VECTOR: axis}].numpy()) for axis in axes)


def _geometry(grid: Grid) -> UniformGrid:
    corners = (np.zeros(grid.rank), np.array(grid.size))
    lower, upper = (math.wrap(c, channel(**{VECTOR: ",".join(grid.axes)})) for c in corners)
    return UniformGrid(spatial(**dict(zip(grid.axes, grid.resolution, strict=True))), Box(lower, upper))


def _check_sampling(field: Field, *, staggered: bool) -> None:
    grids = ("CenteredGrid", "StaggeredGrid")
    found = grids[field.is_staggered] if field.is_grid else f"field on a {type(field.geometry).__name__}"
    if found != grids[staggered]:
        raise ValueError(f"expected a {grids[staggered]}, got a {found}.")


def _check_boundary(boundary: str) -> None:
    if boundary not in EXTRAPOLATIONS:
        raise ValueError(f"unknown boundary {boundary!r}. {did_you_mean(boundary, EXTRAPOLATIONS)}")


def _check_cells(
    tensor: torch.Tensor, shape: tuple[int, ...], grid: Grid, dims: Sequence[str], what: str
) -> None:
    """Raise ValueError unless the stated dims have the axes of the grid in these sizes."""
    expected = dict(zip(grid.axes, shape, strict=True))
    stated = dict(zip(dims, tensor.shape, strict=False))
    found = {d: n for d, n in stated.items() if d in SPATIAL}
    if len(dims) != tensor.ndim or found != expected:
        raise ValueError(
            f"{what} expected {expected} along the axes, was told the dims {tuple(dims)}, and got a tensor "
            f"of sizes {tuple(tensor.shape)}."
        )
