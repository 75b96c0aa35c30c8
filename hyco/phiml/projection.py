"""Pressure: the projection of velocities onto those without divergence, and forces that it can balance."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from phiml import math
from phiml.backend import Backend, ComputeDevice
from phiml.math import Tensor, extrapolation, spatial

from hyco.phiml.stencils import EXTRAPOLATION
from hyco.problem.divergence import divergence_modes, inverse_laplacian
from hyco.problem.grid import Boundary, Grid


def make_incompressible(velocity: Tensor, grid: Grid, boundary: Boundary) -> Tensor:
    """The nearest velocity without divergence.

        u_new = u - G p,    D G p = D u,    G = -D^T

    D is the divergence by central fluxes of `hyco.problem.divergence`, in a periodic, closed (zero) or open
    (zero-gradient) box.  So p repeats, has no slope at the walls, or is 0 on them.  p is found in the modes
    in which D is diagonal, to rounding.  The projection is orthogonal: symmetric, idempotent, and never adds
    energy.  Velocities that alternate from cell to cell have no divergence here and stay.

    Args:
        velocity: any batch dims, the axes, and `field` with one component per axis, in length per time.

    Limits: one matrix product per axis, there and back: cells^(1 + 1/d) operations in d dimensions.
    Source: Chorin (1968).
    """
    library = velocity.default_backend
    # where what JAX traces will be, nobody knows; it takes arrays of numpy as its own
    kind = (None, None) if library.name == "jax" else (library, velocity.device)
    bases, slopes, inverse = _modes(grid, boundary, *kind, velocity.dtype.precision)
    spectra = []
    for component, matrices in zip(velocity.field, bases, strict=True):
        for axis, matrix in zip(grid.axes, matrices, strict=True):
            component = math.dot(component, axis, matrix, axis)
        spectra.append(component)
    pressure = inverse * sum(slope * s for slope, s in zip(slopes, spectra, strict=True))
    gradient = []
    for slope, matrices in zip(slopes, bases, strict=True):
        component = slope * pressure
        for axis, matrix in zip(grid.axes, matrices, strict=True):
            component = math.dot(component, _mode(axis), matrix, _mode(axis))
        gradient.append(component)
    return velocity - math.stack(gradient, velocity.shape["field"])


def balanced(force: Tensor, grid: Grid, boundary: Boundary) -> Tensor:
    """A force along the last axis, averaged so that pressure can balance it; any dims, the axes among them.

        f_i -> (f_{i-1/2} + f_{i+1/2}) / 2,    f_{i+1/2} = (f_i + f_{i+1}) / 2

    with the wall faces of the divergence.  The gradient of a pressure has this form, so that the weight of
    layers that rest upon each other moves nothing.  In a periodic box the mean is taken off: the mean
    pressure gradient, which is free there, carries the net force, or the whole box would fall for ever.
    """
    axis = grid.axes[-1]
    upper, lower = {axis: slice(1, None)}, {axis: slice(None, -1)}
    around = force if boundary == "zero" else math.pad(force, {axis: (1, 1)}, EXTRAPOLATION[boundary])
    faces = 0.5 * (around[upper] + around[lower])
    if boundary == "zero":  # walls carry nothing
        faces = math.pad(faces, {axis: (1, 1)}, extrapolation.ZERO)
    averaged = 0.5 * (faces[upper] + faces[lower])
    if boundary == "periodic":
        averaged = averaged - math.mean(averaged, grid.axes)
    return averaged


def _mode(axis: str) -> str:
    """The dim along which the modes of an axis are counted."""
    return f"{axis}_mode"


@lru_cache(maxsize=16)
def _modes(
    grid: Grid, boundary: Boundary, library: Backend | None, device: ComputeDevice | None, bits: int
) -> tuple[list[list[Tensor]], list[Tensor], Tensor]:
    """Per component: the modes along every axis, and the values of its divergence; the inverse Laplacian.

    `library`, `device`: where they are; None: in numpy.
    """

    def placed(array: NDArray[np.float64], *dims: str) -> Tensor:
        held = math.wrap(array.astype(f"float{bits}"), spatial(*dims))
        return held if library is None else math.to_device(math.convert(held, library), device)

    widths = zip(grid.axes, grid.resolution, grid.spacing, strict=True)
    modes = {axis: divergence_modes(cells, width, boundary) for axis, cells, width in widths}
    bases = [
        [
            placed(m.velocity if along == axis else m.pressure, along, _mode(along))
            for along, m in modes.items()
        ]
        for axis in grid.axes
    ]
    slopes = [placed(m.values, _mode(axis)) for axis, m in modes.items()]
    return bases, slopes, placed(inverse_laplacian(grid, boundary), *map(_mode, grid.axes))
