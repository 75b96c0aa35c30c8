"""Pressure: the projection of velocities onto those without divergence, and forces that it can balance."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from phiml import math
from phiml.backend import Backend, ComputeDevice
from phiml.math import Tensor, channel, extrapolation, spatial

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
    modes, inverse = _modes(grid, boundary, *_kind(velocity))
    components = velocity.shape.get_item_names("field")
    spectra = []
    for axis, component in zip(grid.axes, components, strict=True):
        spectrum = velocity.field[component]
        for along, (pressure, flow, _) in modes.items():
            spectrum = math.dot(spectrum, along, flow if along == axis else pressure, along)
        spectra.append(spectrum)
    divergence = sum(values * s for (_, _, values), s in zip(modes.values(), spectra, strict=True))
    potential = divergence * inverse
    excess = {}
    for axis, component in zip(grid.axes, components, strict=True):
        part = modes[axis][2] * potential
        for along, (pressure, flow, _) in modes.items():
            part = math.dot(part, _mode(along), flow if along == axis else pressure, _mode(along))
        excess[component] = part
    return velocity - math.stack(excess, channel("field"))


def balanced(force: Tensor, grid: Grid, boundary: Boundary) -> Tensor:
    """A force along the last axis, averaged so that pressure can balance it; any dims, the axes among them.

        f_i -> (f_{i-1/2} + f_{i+1/2}) / 2,    f_{i+1/2} = (f_i + f_{i+1}) / 2

    with the wall faces of the divergence.  The gradient of a pressure has this form, so that the weight of
    layers that rest upon each other moves nothing.  In a periodic box the mean is taken off: the mean
    pressure gradient, which is free there, carries the net force, or the whole box would fall for ever.
    """
    axis = grid.axes[-1]
    upper, lower = {axis: slice(1, None)}, {axis: slice(None, -1)}
    outside = extrapolation.ANTISYMMETRIC if boundary == "zero" else EXTRAPOLATION[boundary]
    around = math.pad(force, {axis: (1, 1)}, outside)
    faces = 0.5 * (around[upper] + around[lower])
    averaged = 0.5 * (faces[upper] + faces[lower])
    if boundary == "periodic":
        averaged = averaged - math.mean(averaged, grid.axes)
    return averaged


def _mode(axis: str) -> str:
    """The dim along which the modes of an axis are counted."""
    return f"{axis}_mode"


def _kind(tensor: Tensor) -> tuple[Backend, ComputeDevice, int]:
    return tensor.default_backend, tensor.device, tensor.dtype.precision


@lru_cache(maxsize=16)
def _modes(
    grid: Grid, boundary: Boundary, library: Backend, device: ComputeDevice, bits: int
) -> tuple[dict[str, tuple[Tensor, Tensor, Tensor]], Tensor]:
    """Per axis: pressure modes, velocity modes, singular values to multiply spectra by; inverse Laplacian."""

    def placed(array: NDArray[np.float64], *dims: str) -> Tensor:
        held = math.wrap(array.astype(f"float{bits}"), spatial(*dims))
        return math.to_device(math.convert(held, library), device)

    per_axis = {}
    for axis, cells, width in zip(grid.axes, grid.resolution, grid.spacing, strict=True):
        modes = divergence_modes(cells, width, boundary)
        matrices = (placed(m, axis, _mode(axis)) for m in (modes.pressure, modes.velocity))
        per_axis[axis] = (*matrices, placed(modes.values, _mode(axis)))
    return per_axis, placed(inverse_laplacian(grid, boundary), *map(_mode, grid.axes))
