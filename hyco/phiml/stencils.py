"""Advection, diffusion, gradients on uniform grids, by PhiFlow and PhiML; 1-D, 2-D and 3-D.

PhiFlow 3.4.0 carries fields in 2-D and 3-D (`advect.semi_lagrangian`).  Three things it cannot do are done
here with PhiML's tensor operations: interpolation in 1-D (its torch backend raises), diffusion with a
coefficient field in 1-D (raises) and with a zero boundary (nothing flows through, as it does for a scalar
coefficient).  Where PhiFlow's operators work, tests hold these against them.
"""

from __future__ import annotations

from phi.field import CenteredGrid
from phi.geom import Box
from phi.physics import advect as phiflow
from phiml import math
from phiml.math import Tensor, channel, extrapolation

from hyco.errors import ConfigError
from hyco.problem.grid import Boundary, Grid

EXTRAPOLATION = {
    "periodic": extrapolation.PERIODIC,
    "zero-gradient": extrapolation.ZERO_GRADIENT,
    "zero": extrapolation.ZERO,
}


def advect(quantity: Tensor, velocity: Tensor, dt: float, grid: Grid, boundary: Boundary) -> Tensor:
    """Semi-Lagrangian step of first order: every cell takes the value at its departure point.

        q_new(x) = q(x - v(x) dt),    q multilinear between cell centres

    Args:
        quantity: any batch dims, the axes of the grid, and the channel dim `field`.
        velocity: the same, `field` holding one component per axis, in length per time, at the cell centres.
        boundary: of `quantity`: indices wrap (periodic), clamp (zero-gradient), or read 0 outside (zero).

    Source: Courant, Isaacson, Rees (1952).
    """
    if grid.rank == 1:
        return _advect_on_line(quantity, velocity.field[0], dt, grid, boundary)
    if 1 in grid.resolution and boundary != "periodic" and quantity.default_backend.name == "torch":
        raise ConfigError(
            "model.physical.domain: PhiFlow's operations in PyTorch cannot carry a field over the boundary "
            "of an axis of one cell. Leave the axis out, take 2 cells, or set trainer.kernels to auto."
        )
    bounds = Box(**dict(zip(grid.axes, grid.size, strict=True)))
    carrier = math.rename_dims(velocity, "field", channel(vector=",".join(grid.axes)))
    wind = CenteredGrid(carrier, extrapolation.ZERO_GRADIENT, bounds=bounds)
    field = CenteredGrid(quantity, EXTRAPOLATION[boundary], bounds=bounds)
    return phiflow.semi_lagrangian(field, wind, dt).values


def _advect_on_line(quantity: Tensor, velocity: Tensor, dt: float, grid: Grid, boundary: Boundary) -> Tensor:
    (cells,), (width,) = grid.resolution, grid.spacing
    point = math.range_tensor(velocity.shape["x"]) - velocity * (dt / width)
    below = math.floor(point)
    weight = point - below
    result: Tensor | float = 0.0
    for offset, share in ((0, 1.0 - weight), (1, weight)):
        index = math.cast(below, int) + offset
        inside = index % cells if boundary == "periodic" else math.clip(index, 0, cells - 1)
        if boundary == "zero":
            share = math.where(inside == index, share, 0.0)
        result = result + share * math.gather(quantity, inside, "x")
    return result


def diffuse(
    quantity: Tensor, coefficient: Tensor, dt: float, grid: Grid, boundary: Boundary, *, substeps: int
) -> Tensor:
    """Explicit Euler diffusion in `substeps` equal substeps, in conservative form.

        dq/dt = div(c grad q),    flux on a face = min(c_left, c_right) (q_right - q_left) / dx

    Args:
        quantity: any batch dims, the axes of the grid, and channel dims.
        coefficient: scalar, or a tensor with the axes of the grid, in length^2 per time; stable up to
            `hyco.problem.equation.diffusion_limit`.
        boundary: periodic faces join both ends; zero-gradient ends let nothing through; zero ends see 0
            one cell outside, through the coefficient of the boundary cell.
    """
    faces = {axis: _face_coefficient(coefficient, axis, boundary) for axis in grid.axes}
    for _ in range(substeps):
        change: Tensor | float = 0.0
        for axis, width in zip(grid.axes, grid.spacing, strict=True):
            padded = math.pad(quantity, {axis: (1, 1)}, EXTRAPOLATION[boundary])
            flux = faces[axis] * _difference(padded, axis)
            change = change + _difference(flux, axis) * (dt / substeps / width**2)
        quantity = quantity + change
    return quantity


def gradient(potential: Tensor, grid: Grid, boundary: Boundary) -> dict[str, Tensor]:
    """Gradient by central differences: axis -> a tensor of the potential's dims.

        (grad p)_a = (p_{i+1} - p_{i-1}) / (2 dx_a)

    Beyond the ends a periodic potential repeats; any other one keeps its last value.
    """
    outside = EXTRAPOLATION["periodic" if boundary == "periodic" else "zero-gradient"]
    slopes = {}
    for axis, width in zip(grid.axes, grid.spacing, strict=True):
        around = math.pad(potential, {axis: (1, 1)}, outside)
        slopes[axis] = (around[{axis: slice(2, None)}] - around[{axis: slice(None, -2)}]) / (2.0 * width)
    return slopes


def _difference(tensor: Tensor, axis: str) -> Tensor:
    """Upper minus lower neighbour along one axis; one entry fewer."""
    return tensor[{axis: slice(1, None)}] - tensor[{axis: slice(None, -1)}]


def _face_coefficient(coefficient: Tensor, axis: str, boundary: Boundary) -> Tensor:
    """The coefficient on the cells + 1 faces across one axis."""
    if axis not in coefficient.shape:
        return coefficient
    outside = "periodic" if boundary == "periodic" else "zero-gradient"
    around = math.pad(coefficient, {axis: (1, 1)}, EXTRAPOLATION[outside])
    return math.minimum(around[{axis: slice(1, None)}], around[{axis: slice(None, -1)}])
