"""Pressure: the projection of velocities onto those without divergence, and forces that it can balance."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
        velocity: (batch, axis, *space), in length per time.

    Limits: one matrix product per axis, there and back: cells^(1 + 1/d) operations in d dimensions.
    Source: Chorin (1968).
    """
    bases, slopes, inverse = _modes(grid, boundary, velocity.dtype, velocity.device)
    spectra = []
    for component, matrices in zip(velocity.unbind(1), bases, strict=True):
        for axis, matrix in enumerate(matrices):
            component = _transform(component, matrix, axis)
        spectra.append(component)
    pressure = inverse * sum(slope * s for slope, s in zip(slopes, spectra, strict=True))
    gradient = []
    for slope, matrices in zip(slopes, bases, strict=True):
        component = slope * pressure
        for axis, matrix in enumerate(matrices):
            component = _transform(component, matrix.T, axis)
        gradient.append(component)
    return velocity - torch.stack(gradient, dim=1)


def balanced(force: Tensor, grid: Grid, boundary: Boundary) -> Tensor:
    """A force along the last axis, averaged so that pressure can balance it: (batch, *space) both.

        f_i -> (f_{i-1/2} + f_{i+1/2}) / 2,    f_{i+1/2} = (f_i + f_{i+1}) / 2

    with the wall faces of the divergence.  The gradient of a pressure has this form, so that the weight of
    layers that rest upon each other moves nothing.  In a periodic box the mean is taken off: the mean
    pressure gradient, which is free there, carries the net force, or the whole box would fall for ever.
    """
    last = force.shape[-1] - 1
    first, end = force.narrow(-1, 0, 1), force.narrow(-1, last, 1)
    if boundary == "periodic":
        first, end = end, first
    elif boundary == "zero":
        first, end = -first, -end
    around = torch.cat([first, force, end], -1)
    faces = 0.5 * (around[..., 1:] + around[..., :-1])
    averaged = 0.5 * (faces[..., 1:] + faces[..., :-1])
    if boundary == "periodic":
        averaged = averaged - averaged.mean(dim=tuple(range(-grid.rank, 0)), keepdim=True)
    return averaged


def _transform(tensor: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """The sum over one axis of (batch, *space) with the rows of a matrix."""
    return (tensor.movedim(axis + 1, -1) @ matrix).movedim(-1, axis + 1)


@lru_cache(maxsize=16)
def _modes(
    grid: Grid, boundary: Boundary, dtype: torch.dtype, device: torch.device
) -> tuple[list[list[Tensor]], list[Tensor], Tensor]:
    """Per component: the modes along every axis, and the values of its divergence; the inverse Laplacian."""

    def placed(array: NDArray[np.float64]) -> Tensor:
        return torch.as_tensor(array, dtype=dtype, device=device)

    modes = [divergence_modes(n, h, boundary) for n, h in zip(grid.resolution, grid.spacing, strict=True)]
    axes = range(grid.rank)
    bases = [
        [placed(modes[along].velocity if along == axis else modes[along].pressure) for along in axes]
        for axis in axes
    ]
    shapes = [[-1 if along == axis else 1 for along in axes] for axis in axes]
    slopes = [placed(m.values.reshape(shape)) for m, shape in zip(modes, shapes, strict=True)]
    return bases, slopes, placed(inverse_laplacian(grid, boundary))
